"""Faults for minilora/train/tape.py, each of which its tests must catch."""

FILE = "train/tape.py"
TESTS = "test_train.py test_front_door.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('    if params is _MISSING:', '    if False:'),
    ('    _check_arrays(arrays)\n    with', '    with'),
    ('one = np.ones_like(getval(end))', 'one = 2 * np.ones_like(getval(end))'),
    ('        if node.parents:', '        if True:'),
    ('order = tree if order is None else order', 'order = tree'),
    ('        return [leaf for name in order for', '        return [leaf for name in sorted(order)[::-1] for'),
    ('    _check_arrays(leaves(params))', '    pass'),
    ('    if not arrays:', '    if False:'),
    ('if dtype is None or dtype.char not in "fd":', 'if dtype is not None and dtype.char not in "fd":'),
    ('return np.zeros_like(getval(box))', 'return np.zeros(getval(box).shape)'),
    ('{name: _opened(tree[name]) for', '{name: tree[name] for'),
    ('np.zeros_like(getval(box))', 'np.zeros_like(box._value)'),
]  # fmt: skip
