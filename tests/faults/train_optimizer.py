"""Faults for minilora/train/optimizer.py, each of which its tests must catch."""

FILE = "train/optimizer.py"
TESTS = "test_train.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('    check_params(params)\n', ''),
    ('    check_form("grads", grads, params)\n', ''),
    ('    check_positive("lr", lr)\n', ''),
    ('leaf.ravel() for leaf in leaves(tree, order)', 'leaf.ravel() for leaf in leaves(tree)'),
    ('vector[start:end]', 'vector[:end]'),
    ('isinstance(state, AdamState)', 'isinstance(state, tuple)'),
    ('isinstance(beta, Real) and 0', '0'),
    ('beta1, beta2 = decay', 'beta1, beta2 = sorted(decay)'),
]  # fmt: skip
