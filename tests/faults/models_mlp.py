"""Faults for minilora/models/mlp.py, each of which its tests must catch."""

FILE = "models/mlp.py"
TESTS = "test_models.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('    check_rng(rng)\n', ''),
    ('    check_float_type("dtype", dtype)\n', ''),
    ('    check_weights(weights)\n', ''),
    ('    check_names(weights, _names(depth))\n', ''),
    ('for part in "Wb"}', 'for part in "W"}'),
]  # fmt: skip
