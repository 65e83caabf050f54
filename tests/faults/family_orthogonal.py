"""Faults for minilora/family/orthogonal.py, each of which its tests must catch."""

FILE = "family/orthogonal.py"
TESTS = "test_family.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('identity - full, identity + full', 'identity + full, identity - full'),
    ('return S - np.swapaxes(S, 1, 2)', 'return S + np.swapaxes(S, 1, 2)'),
    ('b = min(self.block, d_in)\n        Q = np', 'b = self.block\n        Q = np'),
    ('params["Q"][::-1], frozen["orders"][::-1]', 'params["Q"], frozen["orders"]'),
    ('x = gather(x, np.argsort(order))', 'x = gather(x, order)'),
    ('reshape((-1, 2, 2**k, max(b // 2, 1)))', 'reshape((-1, 2**k, 2, max(b // 2, 1)))'),
    ('whole = d_in - d_in % (b * 2**k)', 'whole = d_in - d_in % b'),
    ('    if block % 2:\n', '    if block < 0:\n'),
    ('cut @ np.swapaxes(R, 1, 2)', 'cut @ R'),
    ('W[:, len(R) * b :]', '0 * W[:, len(R) * b :]'),
    ('least=2', 'least=1'),
    ('max(b // 2, 1)', 'b // 2'),
]  # fmt: skip
