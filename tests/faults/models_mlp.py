"""Faults for minilora/models/mlp.py, each of which its tests must catch."""

FILE = "models/mlp.py"
TESTS = "test_models.py test_train.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('if layer > 0:', 'if layer > 1:'),
    ('return np.maximum(x, 0)', 'return abs(x)'),
    ('return np.maximum(x, 0)', 'return x'),
    ('g * (y > 0)', 'g * (y >= 0)'),
    ('g * (y > 0)', 'g * y'),
    ('g * (y > 0)', 'g * np.where(y > 0, 1.0, 0.0)'),
    (' + weights[f"layers.{layer}.b"]', ''),
    ('(2 / d_in) ** 0.5', '(1 / d_in) ** 0.5'),
    ('min(widths) < 1', 'min(widths) < 0'),
]  # fmt: skip
