"""Faults for minilora/family/frozen_factors.py, each of which its tests must catch."""

FILE = "family/frozen_factors.py"
TESTS = "test_family.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('self.scale * (params["B"] @ frozen["A"])', '(params["B"] @ frozen["A"])'),
    ('{"W": W, "A": A}', '{"W": dense(W), "A": A}'),
    ('sigma[: self.rank], Vt[: self.rank]', 'sigma[: self.rank], Vt[-self.rank :]'),
    ('check_rank(self.rank, min(check_matrix("W", W)))', 'check_matrix("W", W)'),
    ('frozen["B"] @ params["R"] @', 'frozen["B"] @ params["R"].T @'),
    ('np.full(self.rank, 0.1, W.dtype)', 'np.full(self.rank, 0.0, W.dtype)'),
    ('low = params["d"] * linear', 'low = linear'),
    ('n = -(-least // self.rank)', 'n = least // self.rank'),
    ('change if change.shape == W.shape else change.T', 'change'),
    ('* frozen["A"] * params["gamma"][:, None]\n    right', '* frozen["A"]\n    right'),
    ('(right.T, left.T)', '(left, right)'),
    ('A = normal(rng, (self.rank, d_in), d_in**-0.5, W.dtype)\n        return {"B"', 'A = normal(rng, (self.rank, d_in), d_out**-0.5, W.dtype)\n        return {"B"'),
    ('B = normal(rng, (d_out, self.rank), self.rank**-0.5', 'B = normal(rng, (d_out, self.rank), d_out**-0.5'),
    ('np.full((n, least), 1 / most', 'np.full((n, least), 1 / least'),
]  # fmt: skip
