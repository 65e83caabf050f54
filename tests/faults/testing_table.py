"""Faults for minilora/testing/table.py: a table that adds up or sorts its lines wrongly."""

FILE = "testing/table.py"
TESTS = "test_own_adapter.py"
FAULTS = [  # (original, mutant)
    ('key = (line.source, line.number, line.statement)', 'key = (line.source, line.number)'),
    ('cases=one.cases + other.cases,', 'cases=other.cases,'),
    ('worst=max(one.worst, other.worst),', 'worst=other.worst,'),
    ('verdict=other.verdict if one.verdict == "holds" else one.verdict,', 'verdict=other.verdict,'),
    ('return line.source, line.number[:1], digits, line.statement', 'return line.source, line.number, line.statement'),
]  # fmt: skip
