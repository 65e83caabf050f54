"""Faults for minilora/tables.py, each of which its tests must catch."""

FILE = "tables.py"
TESTS = "test_attach.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('cell.rjust(width)', 'cell'),
    ('row[0].ljust(widths[0])', 'row[0].rjust(widths[0])'),
]  # fmt: skip
