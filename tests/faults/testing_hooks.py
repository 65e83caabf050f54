"""Faults for minilora/testing/hooks.py."""

FILE = "testing/hooks.py"
TESTS = "test_own_adapter.py"
FAULTS = [  # (original, mutant)
    ('if report.passed and problem:', 'if False:'),
    ('verdict = "holds" if report.passed else "FAILS"', 'verdict = "holds"'),
    ('wrapper=True, tryfirst=True', 'wrapper=True, trylast=True'),
    ('record.update(cases=0, worst=0.0)', 'pass'),
    ('if len(marks) > 1:', 'if False:'),
]  # fmt: skip
