"""Faults for minilora/models/transformer.py, each of which its tests must catch."""

FILE = "models/transformer.py"
TESTS = "test_transformer.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('np.tri(length, dtype=bool)', 'np.tri(length, k=1, dtype=bool)'),
    ('return np.ones((length, length), dtype=bool)', 'return np.tri(length, dtype=bool)'),
    ('    check_rng(rng)\n    check_float_type', '    check_float_type'),
    ('    check_float_type("dtype", dtype)\n', ''),
    ('np.ones(width, dtype)', 'np.zeros(width, dtype)'),
    ('mask=causal', 'mask=no_mask'),
    ('    depth = _depth(weights)\n', '    depth = len(weights) // len(_BLOCK)\n'),
    ('    check_weights(weights)\n', ''),
    ('depth = max(1, len(weights) // len(_BLOCK))', 'depth = 2'),
    ('for letter in "Wb"),', 'for letter in "W"),'),
    ('    if not callable(mask):', '    if False:'),
    ('allowed.shape == (length, length) and ', ''),
    ('    h = h + _attention(', '    h = _attention('),
    ('layer_norm(weights, f"{name}.norm1", h)', 'h'),
    ('eps=1e-5', 'eps=1e-3'),
    ('weights[f"{name}.gain"] * ', ''),
    ('linear(weights[f"{name}.q.W"], x)', 'linear(weights[f"{name}.k.W"], x)'),
    ('linear(weights[f"{name}.v.W"], x)', '(x @ weights[f"{name}.v.W"].T)'),
    ('.reshape(-1, T, heads, d_h).swapaxes(1, 2)', '.reshape(-1, heads, T, d_h)'),
    ('hidden = relu(linear(weights[f"{name}.up.W"], x) + ', 'hidden = (linear(weights[f"{name}.up.W"], x) + '),
    (' + weights[f"{name}.down.b"]', ''),
    ('    check_rng(rng)\n    check_count', '    check_count'),
    ('    check_count("count", count, least=0)\n', ''),
]  # fmt: skip
