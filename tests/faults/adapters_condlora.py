"""Faults for minilora/adapters/condlora.py, each of which its tests must catch."""

FILE = "adapters/condlora.py"
TESTS = "test_contract.py test_formulas.py test_condlora.py test_weight.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('A = params["Theta_A"] @ W', 'A = params["Theta_A"] @ W.T if W.shape[0] == W.shape[1] else params["Theta_A"] @ W'),
    ('A = params["Theta_A"] @ W', 'A = params["Theta_A"] @ np.ones_like(W)'),
    ('B = W @ params["Theta_B"].T', 'B = np.ones_like(W) @ params["Theta_B"].T'),
    ('low = self.scale * linear(params["Theta_A"], base)', 'low = self.scale * linear(params["Theta_A"], 2 * base)'),
    ('low = self.scale * linear', 'low = linear'),
    ('W = dense(frozen["W"])', 'W = np.asarray(frozen["W"])'),
    ('return W + self.scale * (B @ A)', 'return W + (B @ A)'),
    ('np.zeros((self.rank, d_in), W.dtype)', 'np.zeros((self.rank, d_in))'),
    ('np.zeros((self.rank, d_in), W.dtype)', 'np.ones((self.rank, d_in), W.dtype)'),
    ('d_out**-0.5', 'd_in**-0.5'),
    ('most=min(d_out, d_in)', 'most=max(d_out, d_in)'),
    ('        check_scale(self)\n', '        pass\n'),
    ('B = linear(frozen["W"], params["Theta_B"]).T', 'B = dense(frozen["W"]) @ params["Theta_B"].T'),
]  # fmt: skip
