"""Faults for minilora/models/mlp.py, each of which its tests must catch."""

FILE = "models/mlp.py"
TESTS = "test_models.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('    check_rng(rng)\n', ''),
    ('    check_float_type("dtype", dtype)\n', ''),
    ('not isinstance(widths, (tuple, list)) or ', ''),
    (' or len(widths) < 2:', ':'),
    ('        check_count(f"widths[{position}]", width)\n', '        pass\n'),
    ('(2 / d_in) ** 0.5', '(1 / d_in) ** 0.5'),
    ('(2 / d_in) ** 0.5', '(2 / d_out) ** 0.5'),
    ('np.zeros(d_out, dtype)', 'np.ones(d_out, dtype)'),
    ('np.zeros(d_out, dtype)', 'np.zeros(d_out)'),
    ('    check_weights(weights)\n', ''),
    ('    check_names(weights, _names(depth))\n', ''),
    ('depth = max(1, len(weights) // 2)', 'depth = len(weights) // 2'),
    ('if layer > 0:', 'if layer > 1:'),
    ('            x = relu(x)\n', '            x = x * 1\n'),
    (' + weights[f"layers.{layer}.b"]', ''),
    ('for part in "Wb"}', 'for part in "W"}'),
]  # fmt: skip
