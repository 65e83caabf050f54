"""Faults for minilora/adapters/sbora.py, each of which its tests must catch."""

FILE = "adapters/sbora.py"
TESTS = "test_contract.py test_formulas.py test_sbora.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('update = linear(params["B"], pick(x, frozen["cols"]))', 'update = linear(params["B"], x[..., : self.rank])'),
    ('return base + scale_of(self) * update', 'return base + update'),
    ('merged[self.region(frozen)] += scale_of(self) * params["B"]', 'merged[self.region(frozen)] += params["B"]'),
    ('merged[self.region(frozen)] += scale_of(self) * params["A"]', 'merged[self.region(frozen)] += params["A"]'),
    ('merged[self.region(frozen)] += scale_of(self) * params["B"]', 'merged = merged + scale_of(self) * params["B"] @ np.eye(merged.shape[1])[frozen["cols"]]'),
    ('merged[self.region(frozen)] += scale_of(self) * params["A"]', 'merged = merged + scale_of(self) * np.eye(len(merged))[:, frozen["rows"]] @ params["A"]'),
    ('merged[self.region(frozen)] += scale_of(self) * params["B"]', 'merged[self.region(frozen)] -= scale_of(self) * params["B"]'),
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
