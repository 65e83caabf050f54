"""Faults for minilora/adapters/lora.py, each of which its tests must catch."""

FILE = "adapters/lora.py"
TESTS = "test_contract.py test_formulas.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('return linear(frozen["W"], x) + self.scale * update', 'return linear(frozen["W"], x)'),
    ('+ self.scale * update', '+ update'),
    ('+ self.scale * update', '- self.scale * update'),
    ('+ self.scale * update', '+ np.float64(self.scale) * update'),
    ('return linear(frozen["W"], x) + self.scale * update', 'return linear(self.merge(params, frozen), x)'),
    ('delta = self.scale * (', 'delta = ('),
    ('B = np.zeros((d_out, self.rank), W.dtype)', 'B = normal(rng, (d_out, self.rank), 1, W.dtype)'),
    ('d_in**-0.5, W.dtype', '0.0, W.dtype'),
    ('d_in**-0.5, W.dtype', 'd_out**-0.5, W.dtype'),
    ('(d_out, self.rank), W.dtype)', '(d_out, self.rank))'),
    ('check_matrix(W, self.rank)', 'check_matrix(W)'),
    ('        check_rank(self.rank)\n', ''),
]  # fmt: skip
