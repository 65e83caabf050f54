"""Faults for minilora/adapters/hra_strict.py, each of which its tests must catch."""

FILE = "adapters/hra_strict.py"
TESTS = "test_contract.py test_formulas.py test_hra.py test_shapes.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('linear(2.0 * inverse', 'linear(1.0 * inverse'),
    ('linear(2.0 * inverse, linear(U.T, x))', '2.0 * linear(U.T, x)'),
    ('inverse = np.linalg.inv(U.T @ U)', 'inverse = np.linalg.inv(U.T @ U) * np.float64(1)'),
    ('Q[:, i] -= Q[:, :i] @ (Q[:, :i].T @ Q[:, i])', 'pass'),
    ('for i in range(self.rank):', 'for i in range(self.rank - 1):'),
    ('Vt[-self.rank :].T', 'Vt[: self.rank].T'),
    ('np.linalg.svd(np.asarray(W))', 'np.linalg.svd(np.asarray(W), full_matrices=False)'),
    ('not np.any(unrepeated', 'not np.all(unrepeated'),
    ('np.eye(d_in, self.rank, dtype=W.dtype)', 'np.eye(d_in, self.rank)'),
    ('np.eye(d_in, self.rank, dtype=W.dtype)', 'np.ones((d_in, self.rank), W.dtype)'),
    ('check_rank(self.rank, most=d_in)', 'check_rank(self.rank, most=d_in + 1)'),
    ('        check_independent(U)\n', ''),
    ('        check_independent(params["U"])\n', ''),
    ('    check_columns(U)\n', ''),
    ('unit = U / np.sqrt(np.sum(U * U, axis=0))', 'unit = U'),
    ('10 * len(U.T) * np.finfo(U.dtype).eps', '0.0'),
    ('10 * len(U.T) * np.finfo(U.dtype).eps', '0.5'),
    ('np.array(params["U"])', 'np.asarray(params["U"])'),
]  # fmt: skip
