"""Faults for minilora/adapters/lora.py, each of which its tests must catch."""

FILE = "adapters/lora.py"
TESTS = "test_contract.py test_formulas.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('return linear(frozen["W"], x) + scale_of(self) * update', 'return linear(frozen["W"], x)'),
    ('+ scale_of(self) * update', '+ update'),
    ('+ scale_of(self) * update', '- scale_of(self) * update'),
    ('+ scale_of(self) * update', '+ np.float64(scale_of(self)) * update'),
    ('return linear(frozen["W"], x) + scale_of(self) * update', 'return linear(self.merge(params, frozen), x)'),
    ('delta = scale_of(self) * (', 'delta = ('),
    ('B = np.zeros((d_out, self.rank), W.dtype)', 'B = normal(rng, (d_out, self.rank), 1, W.dtype)'),
    ('d_in**-0.5, W.dtype', '0.0, W.dtype'),
    ('d_in**-0.5, W.dtype', 'd_out**-0.5, W.dtype'),
    ('(d_out, self.rank), W.dtype)', '(d_out, self.rank))'),
    ('most=min(d_out, d_in)', 'most=max(d_out, d_in)'),
    ('        scale_of(self)\n', '        pass\n'),
]  # fmt: skip
