"""Faults for minilora/adapters/hra_strict.py, each of which its tests must catch."""

FILE = "adapters/hra_strict.py"
TESTS = "test_contract.py test_formulas.py test_hra.py test_architectures.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('2.0 * inverse', '1.0 * inverse'),
    ('linear(2.0 * inverse, linear(transposed, x))', '2.0 * linear(params["U"].T, x)'),
    ('_change_of_basis(params["U"]).T)', 'np.eye(self.rank, dtype=x.dtype) + 0 * _change_of_basis(params["U"]))'),
    ('_change_of_basis(params["U"]).T)', '_change_of_basis(params["U"]))'),
    ('inverse = np.linalg.inv(linear(transposed, transposed))', 'inverse = np.eye(self.rank, dtype=x.dtype)'),
    ('inverse = np.linalg.inv(linear(transposed, transposed))', 'inverse = np.linalg.inv(linear(transposed, transposed)) * np.ones(1)'),
    ('            u = u - basis.T @ (basis @ u)\n            u', '            u'),
    ('            u = u - basis.T @ (basis @ u)\n            u = u - basis.T @ (basis @ u)\n', ''),
    ('q = u / np.sqrt(np.sum(u * u))', 'q = u'),
    ('np.concatenate([basis, q[None]])', 'q[None]'),
    ('merged = reflect(merged, q)', 'merged = reflect(merged, params["U"].T[len(basis) - 1])'),
    ('Vt[-self.rank :].T', 'Vt[: self.rank].T'),
    ('np.linalg.svd(dense(W))', 'np.linalg.svd(dense(W), full_matrices=False)'),
    ('np.eye(d_in, self.rank, dtype=W.dtype)', 'np.eye(d_in, self.rank)'),
    ('np.eye(d_in, self.rank, dtype=W.dtype)', 'np.ones((d_in, self.rank), W.dtype)'),
    ('most=d_in)', 'most=d_in + 1)'),
    ('        _change_of_basis(params["U"])  # refuses what forward refuses\n', ''),
    ('    check_columns(U)\n', ''),
    ('    U = getval(U)\n', ''),
    ('unit = U / lengths', 'unit = U'),
    ('/ lengths[:, None]', '/ lengths'),
    ('_SMALLEST = 1e-4', '_SMALLEST = 0.9e-4'),
    ('_SMALLEST = 1e-4', '_SMALLEST = 1.1e-4'),
    ('_, _, Vt = np.linalg.svd(dense(W))', 'Vt = np.linalg.eigh(dense(W).T @ dense(W))[1].T[::-1]'),
]  # fmt: skip
