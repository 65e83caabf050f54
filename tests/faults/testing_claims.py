"""Faults for minilora/testing/claims.py: checks that let anything pass."""

FILE = "testing/claims.py"
TESTS = "test_own_adapter.py"
FAULTS = [  # (original, mutant)
    ('if not error <= tolerance:', 'if error > tolerance:'),
    ('if not value >= margin:', 'if value < margin:'),
    ('if not margin > 0:', 'if False:'),
    ('if not holds:', 'if False:'),
    ('record["cases"] += 1', 'pass'),
    ('max(record["worst"], float(share))', 'float(share)'),
]  # fmt: skip
