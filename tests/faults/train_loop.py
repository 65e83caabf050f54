"""Faults for minilora/train/loop.py, each of which its tests must catch."""

FILE = "train/loop.py"
TESTS = "test_train.py test_front_door.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('    if misplaced:', '    if False:'),
    ('    check_rng(rng)\n', ''),
    ('    check_count("steps", steps)\n    check_count("step"', '    check_count("step"'),
    ('    check_count("step", step, most=steps - 1, least=0)\n', ''),
    ('return peak * (step + 1) / rise', 'return peak'),
    ('rise = max(1, round(warmup * steps))', 'rise = round(warmup * steps)'),
    ('    check_labels(labels, *check_logits(logits))\n', ''),
    ('    if not np.all(np.isfinite(logits)):', '    if False:'),
    ('if _is_terminal(sys.stderr):', 'if True:'),
    ('("" if last else text)', 'text'),
    ('stream is None or ', ''),
    ('hasattr(stream, "buffer") and ', ''),
    ('not isinstance(data, (tuple, list)) or not data', 'not data'),
    ('if not hasattr(array, "shape") or array.ndim < 1:', 'if not hasattr(array, "shape"):'),
    ('rng.integers(length, size=batch)', 'rng.integers(max(1, length - 1), size=batch)'),
]  # fmt: skip
