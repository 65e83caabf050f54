"""Faults for minilora/family/bias.py, each of which its tests must catch."""

FILE = "family/bias.py"
TESTS = "test_family.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('W.ndim != 1', 'W.ndim == 2'),
    ('        check_floats("W", W)\n', ''),
]  # fmt: skip
