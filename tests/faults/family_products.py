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
]  # fmt: skip
