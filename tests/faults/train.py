"""Faults for minilora/train.py, each of which its tests must catch."""

FILE = "train.py"
TESTS = "test_train.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('grads[parent] = add_outgrads(grads.get(parent), grad)', 'grads[parent] = (grad, False)'),
    ('np.ones_like(value)', '2 * np.ones_like(value)'),
    ('else np.zeros_like(box._value)', 'else np.zeros(1)'),
    ('if not hasattr(end, "_node"):', 'if False:'),
    ('t = state.steps + 1', 't = state.steps + 2'),
    ('(1 - decay[1] ** t)) + eps', '1.0) + eps'),
    ('(lr / (1 - decay[0] ** t))', 'lr'),
    ('(1 - decay[1]) * (g * g)', '(1 - decay[1]) * g'),
    ('if param.shape != grad.shape:', 'if False:'),
    ('theta = flatten(params) - (', 'theta = flatten(params) + ('),
    ('- np.sum(shifted * picked)) / n', '- np.sum(shifted * picked))'),
    ('shifted = logits - highest', 'shifted = logits'),
    ('picked = labels[:, None] ==', 'picked = labels[:, None] >='),
    ('highest = np.max(getval(logits)', 'highest = np.max((logits)'),
    ('labels.min() < 0 or ', ''),
    ('labels.max() >= classes', 'labels.max() > classes'),
    ('return peak * (step + 1) / rise', 'return peak'),
    ('0.5 * (1 + math.cos', '0.5 * (1 - math.cos'),
    ('if not math.isfinite(value):', 'if False:'),
    ('at step {step + 1} of', 'at step {step} of'),
    ('rows = rng.integers(lengths[0], size=batch)', 'rows = np.random.randint(lengths[0], size=batch)'),
    ('if min(lengths) != max(lengths):', 'if False:'),
    ('if sys.stderr.isatty():', 'if True:'),
    ('("" if last else text)', 'text'),
]  # fmt: skip
