"""Faults for minilora/peft/checkpoint.py, each of which its tests must catch."""

FILE = "peft/checkpoint.py"
TESTS = "test_peft.py test_peft_broken.py"
FAULTS = [  # (original, mutant)
    ('"A": "lora_A.weight", "B": "lora_B.weight"', '"A": "lora_B.weight", "B": "lora_A.weight"'),
    ('"bias": ("none",)', '"bias": ("none", "all")'),
    ('.removesuffix(".W")', '.removesuffix(".b")'),
    ('    if not callable(layer_of):\n', '    if False:\n'),
    ('if np.ndim(W) == 2 else None', ''),
    ('if value and word not in _KNOWN', 'if value and word in _KNOWN'),
    ('_per_layer(config, layers, "r", "rank_pattern")', '_per_layer(config, layers, "r", "no_pattern")'),
    ('        if name not in layers:\n', '        if False:\n'),
    ('params[attached.keys[name]]', 'attached.params[attached.keys[name]]'),
    ('base_model.model.{layer}', 'base_model.{layer}'),
    ('config.get(patterns) or {}', 'config.get(patterns, {})'),
    ('config.get(common)) for', 'config.get(common, 8)) for'),
    ('    check_rank(rank)\n', ''),
    (' and alpha is not None', ''),
    ('{"A": (r, d_in), "B": (d_out, r)}', '{"A": (r, d_out), "B": (d_in, r)}'),
    ('    with np.errstate(all="ignore"):\n', '    if True:\n'),
    ('isinstance(adapter, (HRA, HRAStrict))', 'isinstance(adapter, HRAStrict)'),
    ('"apply_GS": strict', '"apply_GS": not strict'),
    ('if unlike and any(', 'if False and any('),
    ('"|".join(map(re.escape, settings))', '"|".join(settings)'),
]  # fmt: skip
