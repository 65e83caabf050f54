"""Faults for minilora/train/tape.py, each of which its tests must catch."""

FILE = "train/tape.py"
TESTS = "test_train.py test_front_door.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('    if params is _MISSING:', '    if False:'),
    ('    _check_arrays(arrays)\n    with', '    with'),
    ('if not isbox(end) or end._trace != trace:', 'if not isbox(end):'),
    ('if not isbox(end) or end._trace != trace:', 'if end._trace != trace:'),
    ('if np.size(getval(end)) != 1:', 'if False:'),
    ('else np.zeros_like(box._value)', 'else np.zeros(1)'),
    ('return end._value, rebuild', 'return end, rebuild'),
    ('one = np.ones_like(getval(end))', 'one = 2 * np.ones_like(getval(end))'),
    ('one = np.ones_like(getval(end))', 'one = np.ones_like(end)'),
    ('one = np.ones_like(getval(end))', 'one = np.ones_like(getval(end), dtype=float)'),
    ('        if node.parents:', '        if True:'),
    ('grads[parent] = add_outgrads(grads.get(parent), grad)', 'grads[parent] = (grad, False)'),
    ('order = tree if order is None else order', 'order = tree'),
    ('        return [leaf for name in order for', '        return [leaf for name in sorted(order)[::-1] for'),
    ('    _check_arrays(leaves(params))', '    pass'),
    ('    if not arrays:', '    if False:'),
    ('if dtype is None or dtype.char not in "fd":', 'if dtype is not None and dtype.char not in "fd":'),
    ('if dtype is None or dtype.char not in "fd":', 'if dtype is None:'),
    ('dtype.char not in "fd":', 'dtype.char not in "efd":'),
    ('dtype.char not in "fd":', 'dtype.char not in "fdl":'),
    ('dtype.char not in "fd":', 'dtype.char not in "fdD":'),
]  # fmt: skip
