"""Faults for minilora/adapters/sbora.py, each of which its tests must catch."""

FILE = "adapters/sbora.py"
TESTS = "test_contract.py test_formulas.py test_sbora.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('low = self.scale * pick(x, frozen["cols"])', 'low = self.scale * x[..., : self.rank]'),
    ('low = self.scale * pick(x, frozen["cols"])', 'low = pick(x, frozen["cols"])'),
    ('low = self.scale * linear(params["A"], x)', 'low = linear(params["A"], x)'),
    ('merged[self.region(frozen)] += self.scale * params["B"]', 'merged[self.region(frozen)] += params["B"]'),
    ('merged[self.region(frozen)] += self.scale * params["A"]', 'merged[self.region(frozen)] += params["A"]'),
    ('merged[self.region(frozen)] += self.scale * params["B"]', 'merged = merged + self.scale * params["B"] @ np.eye(merged.shape[1])[frozen["cols"]]'),
    ('merged[self.region(frozen)] += self.scale * params["A"]', 'merged = merged + self.scale * np.eye(len(merged))[:, frozen["rows"]] @ params["A"]'),
    ('merged[self.region(frozen)] += self.scale * params["B"]', 'merged[self.region(frozen)] -= self.scale * params["B"]'),
    ('return slice(None), frozen["cols"]', 'return slice(None), np.sort(frozen["cols"])'),
    ('return frozen["rows"], slice(None)', 'return np.sort(frozen["rows"]), slice(None)'),
    ('return frozen["rows"], slice(None)', 'return slice(None), frozen["rows"]'),
    ('merged = np.array(frozen["W"])', 'merged = np.asarray(frozen["W"])'),
    ('{"B": np.zeros((d_out, self.rank), W.dtype)}', '{"B": np.zeros((d_in, self.rank), W.dtype)}'),
    ('{"B": np.zeros((d_out, self.rank), W.dtype)}', '{"B": np.ones((d_out, self.rank), W.dtype)}'),
    ('{"B": np.zeros((d_out, self.rank), W.dtype)}', '{"B": np.zeros((d_out, self.rank))}'),
    ('choose(rng, self.rank, d_in, self.cols, "cols")', 'choose(rng, self.rank, d_out, self.cols, "cols")'),
    ('choose(rng, self.rank, d_out, self.rows, "rows")', 'choose(rng, self.rank, d_in, self.rows, "rows")'),
    ('choose(rng, self.rank, d_in, self.cols, "cols")', 'np.arange(self.rank)'),
    ('{**frozen, "W": merged})', 'frozen)'),
    ('taken[adapter.region(frozen)] += 1', 'taken[adapter.region(frozen)] = 1'),
    ('if taken.max() > 1 and not overlap:', 'if taken.max() > 1:'),
]  # fmt: skip
