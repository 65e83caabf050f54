"""Faults for minilora/family/sparse.py, each of which its tests must catch."""

FILE = "family/sparse.py"
TESTS = "test_family.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('np.argsort(rng.random((d_out, d_in)), axis=1)', 'rng.integers(0, d_in, (d_out, d_in))'),
    ('+= params["v"]', '= params["v"]'),
    ('params["v"] * x[..., frozen["cols"]]', 'x[..., frozen["cols"]]'),
    ('merged = np.array(dense(frozen["W"]))', 'merged = dense(frozen["W"])'),
]  # fmt: skip
