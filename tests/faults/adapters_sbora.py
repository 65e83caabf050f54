"""Faults for minilora/adapters/sbora.py, each of which its tests must catch."""

FILE = "adapters/sbora.py"
TESTS = "test_contract.py test_formulas.py test_sbora.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('low = self.scale * gather(x, frozen["cols"])', 'low = self.scale * x[..., : self.rank]'),
    ('low = self.scale * gather(x, frozen["cols"])', 'low = gather(x, frozen["cols"])'),
    ('low = self.scale * linear(params["A"], x)', 'low = linear(params["A"], x)'),
    ('self.scale * params["B"])', 'params["B"])'),
    ('self.scale * params["A"])', 'params["A"])'),
    ('add_at(dense(frozen["W"]), self.region(frozen), self.scale * params["B"])', 'dense(frozen["W"]) + self.scale * params["B"] @ np.eye(frozen["W"].shape[1])[frozen["cols"]]'),
    ('add_at(dense(frozen["W"]), self.region(frozen), self.scale * params["A"])', 'dense(frozen["W"]) + self.scale * np.eye(frozen["W"].shape[0])[:, frozen["rows"]] @ params["A"]'),
    ('self.scale * params["B"])', '-self.scale * params["B"])'),
    ('return slice(None), frozen["cols"]', 'return slice(None), np.sort(frozen["cols"])'),
    ('return frozen["rows"], slice(None)', 'return np.sort(frozen["rows"]), slice(None)'),
    ('return frozen["rows"], slice(None)', 'return slice(None), frozen["rows"]'),
    ('{"B": np.zeros((d_out, self.rank), W.dtype)}', '{"B": np.zeros((d_in, self.rank), W.dtype)}'),
    ('{"B": np.zeros((d_out, self.rank), W.dtype)}', '{"B": np.ones((d_out, self.rank), W.dtype)}'),
    ('{"B": np.zeros((d_out, self.rank), W.dtype)}', '{"B": np.zeros((d_out, self.rank))}'),
    ('_choose(rng, self.rank, d_in, self.cols, "cols")', '_choose(rng, self.rank, d_out, self.cols, "cols")'),
    ('_choose(rng, self.rank, d_out, self.rows, "rows")', '_choose(rng, self.rank, d_in, self.rows, "rows")'),
    ('cols = _choose(rng, self.rank, d_in, self.cols, "cols")', 'cols = np.arange(self.rank)'),
    ('        object.__setattr__(self, "cols", as_indices("cols", self.cols, self.rank))\n', ''),
    ('object.__setattr__(self, "rows", as_indices("rows", self.rows, self.rank))', 'as_indices("rows", self.rows, self.rank)'),
    ('        check_scale(self)\n        object.__setattr__(self, "cols"', '        object.__setattr__(self, "cols"'),
    ('    check_rank(rank, most=width)\n', ''),
    ('replace=False', 'replace=True'),
    ('rng.choice(width,', 'rng.choice(width - 1,'),
    ('as_indices(name, given, rank, width)', 'as_indices(name, given, rank)'),
    ('np.array(as_indices(name, given, rank, width))', 'np.sort(as_indices(name, given, rank, width))'),
    ('np.array(as_indices', 'np.uint8(as_indices'),
]  # fmt: skip
