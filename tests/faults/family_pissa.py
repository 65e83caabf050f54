"""Faults for minilora/family/pissa.py, each of which its tests must catch."""

FILE = "family/pissa.py"
TESTS = "test_family.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('{"R": whole - self.scale * (B @ A)}', '{"R": whole}'),
    ('sigma[: self.rank] / np', 'sigma[: self.rank] * np'),
    ('Vt[: self.rank]\n', 'Vt[-self.rank :]\n'),
    ('return frozen["R"] + self.scale', 'return frozen["R"] - self.scale'),
]  # fmt: skip
