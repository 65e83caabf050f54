"""Faults for minilora/train/optimizer.py, each of which its tests must catch."""

FILE = "train/optimizer.py"
TESTS = "test_train.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('    check_params(params)\n', ''),
    ('    check_form("grads", grads, params)\n', ''),
    ('    check_positive("lr", lr)\n', ''),
    ('    if not isinstance(state, AdamState):', '    if False:'),
    ('g = flatten(grads, params)', 'g = flatten(grads)'),
    ('if state.mean.shape != g.shape:', 'if False:'),
    ('beta1, beta2 = decay', 'beta2, beta1 = decay'),
    ('beta1, beta2 = decay', 'beta1, beta2 = 0.9, 0.999'),
    ('t = state.steps + 1', 't = state.steps + 2'),
    ('beta1 * state.mean + (1 - beta1) * g', 'beta1 * state.mean + g'),
    ('(1 - beta2) * (g * g)', '(1 - beta2) * g'),
    ('np.sqrt(square / (1 - beta2**t)) + eps', 'np.sqrt(square) + eps'),
    ('np.sqrt(square / (1 - beta2**t)) + eps', 'np.sqrt(square / (1 - beta2**t) + eps)'),
    ('+ eps', '+ 1e-8'),
    ('(lr / (1 - beta1**t))', 'lr'),
    ('theta = flatten(params) - (', 'theta = flatten(params) + ('),
    ('AdamState(t, mean, square)', 'AdamState(t, square, mean)'),
    ('leaf.ravel() for leaf in leaves(tree, order)', 'leaf.ravel() for leaf in leaves(tree)'),
    ('vector[start:end]', 'vector[:end]'),
    ('.astype(leaf.dtype, copy=False)', ''),
]  # fmt: skip
