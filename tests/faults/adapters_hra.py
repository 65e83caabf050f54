"""Faults for minilora/adapters/hra.py, each of which its tests must catch."""

FILE = "adapters/hra.py"
TESTS = "test_contract.py test_formulas.py test_hra.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('0.5 * np.eye(self.rank, dtype=U.dtype)', 'np.eye(self.rank, dtype=U.dtype)'),
    ('0.5 * np.eye(self.rank, dtype=U.dtype)', '0.5 * np.eye(self.rank)'),
    ('np.triu(np.ones((self.rank, self.rank), U.dtype), 1)', 'np.tril(np.ones((self.rank, self.rank), U.dtype), -1)'),
    ('linear(Gamma, linear', 'linear(Gamma.T, linear'),
    ('reflected = x - ', 'reflected = x + '),
    ('for u in params["U"].T:', 'for u in params["U"].T[::-1]:'),
    ('merged = reflect(merged, u)', 'merged = reflect(merged.T, u).T if merged.shape[0] == merged.shape[1] else reflect(merged, u)'),
    ('        check_rank(self.rank)\n', ''),
    ('if self.rank % 2 and not self.odd:', 'if False:'),
    ('if self.rank % 2 and not self.odd:', 'if self.rank % 2:'),
    ('np.repeat(half / np.sqrt(np.sum(half * half, axis=0)), 2, axis=1)', 'np.tile(half / np.sqrt(np.sum(half * half, axis=0)), 2)'),
    ('half / np.sqrt(np.sum(half * half, axis=0))', 'half'),
    ('pairs[:, : self.rank]', 'pairs[:, : self.rank - self.rank % 2]'),
    ('normal(rng, (d_in, (self.rank + 1) // 2), 1.0, W.dtype)', 'normal(rng, (d_in, (self.rank + 1) // 2), 1.0, np.float64)'),
    ('        check_columns(params["U"])\n', ''),
    ('unit = U / np.sqrt(np.sum(U * U, axis=0))', 'unit = U'),
    ('- np.eye(U.shape[1], dtype=U.dtype)', '- 0.0'),
    ('np.eye(U.shape[1], dtype=U.dtype)', 'np.eye(U.shape[1])'),
    ('return np.sum(gram * gram)', 'return np.sqrt(np.sum(gram * gram))'),
]  # fmt: skip
