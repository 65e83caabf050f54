"""Faults for minilora/tables.py, each of which its tests must catch."""

FILE = "tables.py"
TESTS = "test_attach.py test_tour.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('cell.rjust(n) if i else', ''),
]  # fmt: skip
