"""Faults for minilora/peft/writing.py, each of which its tests must catch."""

FILE = "peft/writing.py"
TESTS = "test_peft.py test_peft_whole.py test_peft_orientation.py"
FAULTS = [  # (original, mutant)
    ('found.isdisjoint(paths(module)[:-1])', 'found'),
    ('        if name not in parameter_of:\n', '        if False:\n'),
    ('own = params[attached.keys[name]]', 'own = attached.params[attached.keys[name]]'),
    ('    if not settings:\n', '    if False:\n'),
    ('if own else "all"', 'if not own else "all"'),
    ('if parameter in whole or saved:', 'if parameter in whole:'),
    ('array.T if name in turned else array', 'array'),
    ('config["peft_type"] == "LORA" and turned', 'turned'),
    ('isinstance(adapter, (HRA, HRAStrict))', 'isinstance(adapter, HRAStrict)'),
    ('"apply_GS": strict', '"apply_GS": not strict'),
    ('            if any(path.endswith(module) for path in paths(layer)):\n', '            if False:\n'),
    ('for layer in layers.values() if layer not in modules', 'for layer in layers.values()'),
]  # fmt: skip
