"""Faults for minilora/family/orthogonal.py, each of which its tests must catch."""

FILE = "family/orthogonal.py"
TESTS = "test_family.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('identity - full, identity + full', 'identity + full, identity - full'),
    ('return S - np.swapaxes(S, 1, 2)', 'return S + np.swapaxes(S, 1, 2)'),
    ('b = min(self.block, d_in)\n        Q = np', 'b = self.block\n        Q = np'),
    ('params["Q"][::-1], frozen["orders"][::-1]', 'params["Q"], frozen["orders"]'),
    ('[..., np.argsort(order)]', '[..., order]'),
    ('np.arange(d_in) % b**k', 'np.arange(d_in) // b**k'),
    ('least=2', 'least=1'),
]  # fmt: skip
