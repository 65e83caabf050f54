"""Faults for minilora/testing/claims.py: checks that let anything pass, or are not counted."""

FILE = "testing/claims.py"
TESTS = "test_own_adapter.py"
FAULTS = [  # (original, mutant)
    ('error <= tolerance, error', 'not error > tolerance, error'),
    ('error = float(np.max(error))', 'error = float(np.min(error))'),
    ('value >= margin, margin', 'not value < margin, margin'),
    ('if not margin > 0:', 'if False:'),
    ('if not holds:', 'if False:'),
    ('max(record["worst"], share)', 'share'),
]  # fmt: skip
