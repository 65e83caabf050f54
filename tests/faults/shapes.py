"""Faults for minilora/shapes.py, each of which its tests must catch."""

FILE = "shapes.py"
TESTS = "test_shapes.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('"k": (kv, d)', '"k": (d, d)'),
    ('"v": (kv, d)', '"v": (d, kv)'),
    ('"gate": (hidden, d)', '"gate": (d, hidden)'),
    ('"up": (hidden, d)', '"up": (d, hidden)'),
    ('"down": (d, hidden)', '"down": (hidden, d)'),
    ('sides.get(part, (d, d))', 'sides.get(part, (kv, d))'),
    ('4096, 1024, 14_336', '4096, 4096, 14_336'),
    ('32, 4096, 4096, 11_008', '32, 4096, 4096, 11_080'),
    ('40, 5120, 5120, 13_824', '32, 5120, 5120, 13_824'),
    ('13_015_864_320', '13_015_864_310'),
    ('124_645_632', '124_697_433'),
    ('"attention.self.query", "k"', '"attention.self.query_proj", "k"'),
    ('"o": "attention.output.dense"', '"o": "output.dense"'),
    ('f"mlp.{part}_proj"', 'f"self_attn.{part}_proj"'),
    ('.weight": sides', '": sides'),
    ('range(self.layers)', 'range(1, self.layers)'),
    ('if not targets or not set(targets)', 'if not set(targets)'),
    (' or not set(targets) <= set(self.names)', ''),
    ('np.broadcast_to(np.float32(0), shape)', 'np.zeros(shape, np.float32)'),
    ('@cache\n', ''),
    ('{(key(name), shape) for', '{(name, shape) for'),
    ('{(key(name), shape) for', '{(shape, shape) for'),
    ('{(key(name), shape) for name, shape in shapes.items()}', '[(key(name), shape) for name, shape in shapes.items()]'),
]  # fmt: skip
