"""Faults for minilora/family/gains.py, each of which its tests must catch."""

FILE = "family/gains.py"
TESTS = "test_family.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('return params["l"] * linear(frozen["W"], x)', 'return linear(frozen["W"], x)'),
    ('return params["l"][:, None] * dense', 'return params["l"][:, None] ** 2 * dense'),
    ('np.ones(d_out, W.dtype)', 'np.ones(d_out)'),
    ('2.0 * linear(frozen["W"], A).T + B', 'linear(frozen["W"], A).T + B'),
    ('self.scale * (params["B"] @ params["A"])', '(params["B"] @ params["A"])'),
    ('np.sum(V * V, axis=1)', 'np.sum(V * V, axis=0)'),
    ('change = (params["z"] - 1.0) * frozen["sigma"]', 'change = params["z"] * frozen["sigma"]'),
    ('params["z"] * frozen["sigma"])) @', 'params["z"] + frozen["sigma"] - 1)) @'),
    ('d_in**-0.5', 'self.rank**-0.5'),
    ('getval(squares) > 0', 'getval(squares) > 1e-6'),
]  # fmt: skip
