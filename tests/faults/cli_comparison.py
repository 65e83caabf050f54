"""Faults for minilora/cli/comparison.py, each of which its tests must catch."""

FILE = "cli/comparison.py"
TESTS = "test_cli_comparison.py"
FAULTS = [  # (original, mutant)
    ('value + method.strength * penalties', 'value + 0 * penalties'),
    ('if method.four_bits:', 'if not method.four_bits:'),
    ('fnmatchcase(name, pattern) and not isinstance(adapter, Full)', 'name.endswith(".W")'),
    ('rng=rng, key=method.key)', 'rng=rng)'),
]  # fmt: skip
