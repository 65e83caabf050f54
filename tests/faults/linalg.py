"""Faults for minilora/linalg.py, each of which its tests must catch."""

FILE = "linalg.py"
TESTS = "test_models.py test_contract.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('return x @ W.T', 'return x @ W'),
    ('    check_width(x, W.shape)\n', ''),
    ('if np.ndim(x) == 0 or np.shape(x)[-1] != d_in:', 'if np.shape(x)[-1] != d_in:'),
    ('if isinstance(rank, bool) or whole < 1:', 'if whole < 1:'),
    ('if isinstance(rank, bool) or whole < 1:', 'if isinstance(rank, bool) or whole < 0:'),
    ('if rank > min(d_out, d_in):', 'if rank > max(d_out, d_in):'),
    ('np.all(np.isfinite(W))', 'not np.any(np.isnan(W))'),
    ('np.all(np.isfinite(W))', 'not np.any(np.isinf(W))'),
    ('W.dtype.kind != "f"', 'W.dtype.kind == "c"'),
    ('* scale).astype(dtype)', '* scale)'),
]  # fmt: skip
