"""Faults for minilora/family/reach.py, each of which its tests must catch."""

FILE = "family/reach.py"
TESTS = "test_family_reach.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('np.sum(W * T, axis=1)', 'np.sum(T * T, axis=1)'),
    ('np.argsort(-np.abs(E)', 'np.argsort(np.abs(E)'),
    ('T - W) @ np.linalg.pinv(A)', 'T - W) @ A.T'),
    ('/ lengths[:, None]', '/ np.sqrt(lengths)[:, None]'),
    ('T @ frozen["Vt"].T', '(T - W) @ frozen["Vt"].T'),
    ('if T.shape != W.shape or', 'if'),
    ('most=int(np.linalg.matrix_rank(W))', 'most=min(W.shape)'),
    ('rest = squares == 0', 'rest = squares < 1e-3'),
    (' * np.max(sigma)', ''),
]  # fmt: skip
