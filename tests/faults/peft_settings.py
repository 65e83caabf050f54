"""Faults for minilora/peft/settings.py, each of which its tests must catch."""

FILE = "peft/settings.py"
TESTS = "test_peft.py test_peft_broken.py test_peft_folders.py test_peft_whole.py"
FAULTS = [  # (original, mutant)
    ('    if config.get("peft_type") not in ("LORA", "HRA"):\n', '    if False:\n'),
    ('        if not isinstance(config.get(patterns) or {}, dict):\n', '        if False:\n'),
    ('if value and word not in _KNOWN:', 'if value and word in _KNOWN:'),
    ('start.lower() if isinstance(start, str) else start', 'start'),
    ('"orthogonal", "mica")', '"orthogonal", "mica", "pissa")'),
    ('    if config.get("bias") and config["bias"] not in _BIASES:\n', '    if False:\n'),
    ('    if unknown := [word for', '    if unknown := [] and [word for'),
    ('for word in _ABOUT if about.get(word)', 'for word in about if about.get(word)'),
    ('_per_layer(config, layers, "r", "rank_pattern")', '_per_layer(config, layers, "r", "no_pattern")'),
    ('config.get(patterns) or {}', 'config.get(patterns, {})'),
    ('config.get(common)) for', 'config.get(common, 8)) for'),
    ('    check_rank(rank)\n', ''),
    (' and alpha is not None', ''),
    ('alpha_over_sqrt_rank if config.get("use_rslora")', 'alpha_over_sqrt_rank if config.get("use_dora")'),
    ('if unlike and any(', 'if False and any('),
    ('"|".join(map(re.escape, settings))', '"|".join(settings)'),
]  # fmt: skip
