"""Faults for minilora/adapters/lora.py, each of which its tests must catch."""

FILE = "adapters/lora.py"
TESTS = "test_formulas.py test_weight.py test_contract.py test_lora.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('return linear(frozen["W"], x) + linear(params["B"], low)', 'return linear(frozen["W"], x)'),
    ('return linear(frozen["W"], x) + linear(params["B"], low)', 'return linear(self.merge(params, frozen), x)'),
    ('linear(frozen["W"], x) +', 'linear(dense(frozen["W"]), x) +'),
    ('low = self.scale * linear', 'low = linear'),
    ('low = self.scale * linear', 'low = -self.scale * linear'),
    ('delta = self.scale * (', 'delta = ('),
    ('dense(frozen["W"]) + delta', 'frozen["W"] + delta'),
    ('B = np.zeros((d_out, self.rank), W.dtype)', 'B = normal(rng, (d_out, self.rank), 1, W.dtype)'),
    ('d_in**-0.5, W.dtype', '0.0, W.dtype'),
    ('d_in**-0.5, W.dtype', 'd_out**-0.5, W.dtype'),
    ('(d_out, self.rank), W.dtype)', '(d_out, self.rank))'),
    ('        check_scale(self)\n', '        pass\n'),
    ('self.rank if self.alpha is None', '1 if self.alpha is None'),
    ('return float(self.scaling(alpha, self.rank))', 'return self.scaling(alpha, self.rank)'),
]  # fmt: skip
