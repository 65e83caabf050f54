"""Faults for minilora/family/products.py, each of which its tests must catch."""

FILE = "family/products.py"
TESTS = "test_family.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('(first * second)', '(first + second)'),
    ('"B2": np.zeros_like(B1)', '"B2": B1.copy()'),
    ('params["B1"][:, :, None] * params["B2"][:, None, :]', 'params["B2"][:, :, None] * params["B1"][:, None, :]'),
    ('np.kron(params["C"], params["B"] @ params["A"])', 'np.kron(params["B"] @ params["A"], params["C"])'),
    ('range(math.isqrt(n), 0, -1)', 'range(n, 0, -1)'),
    ('update = C @ linear', 'update = linear'),
    ('B1 = normal(rng, (d_out, self.rank), 0.1', 'B1 = normal(rng, (d_out, self.rank), 0.01'),
    ('(normal(rng, (self.rank, d_in), 1.0, W.dtype) for _ in range(2))', '[normal(rng, (self.rank, d_in), 1.0, W.dtype)] * 2'),
    ('(i / d_in) ** 0.5', '(o / d_out) ** 0.5'),
    ('isqrt(n)', 'isqrt(n - 1) or 1'),
]  # fmt: skip
