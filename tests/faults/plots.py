"""Faults for minilora/plots.py, each of which its tests must catch."""

FILE = "plots.py"
TESTS = "test_tour.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('metadata={"Software": None})', 'metadata={"Software": None}) if False else open(file, "w").close()'),
]  # fmt: skip
