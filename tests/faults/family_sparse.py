"""Faults for minilora/family/sparse.py, each of which its tests must catch."""

FILE = "family/sparse.py"
TESTS = "test_family.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('np.argsort(rng.random((d_out, d_in)), axis=1)', 'rng.integers(0, d_in, (d_out, d_in))'),
    ('params["v"])\n', '-params["v"])\n'),
    ('params["v"] * x[..., frozen["cols"]]', 'x[..., frozen["cols"]]'),
    ('self.rank * (d_out + d_in) // d_out', 'self.rank * (d_out + d_in) // d_in'),
]  # fmt: skip
