"""Faults for minilora/tours/method.py, each of which its tests must catch."""

FILE = "tours/method.py"
TESTS = "test_tour.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('value + method.strength * sum', 'value + 0 * sum'),
    ('if method.four_bits:', 'if not method.four_bits:'),
    ('any(fnmatchcase(name, pattern) for pattern in method.adapters)', 'name.endswith(".W")'),
    ('attach(weights, method.adapters, rng, method.key)', 'attach(weights, method.adapters, rng)'),
]  # fmt: skip
