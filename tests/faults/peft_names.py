"""Faults for minilora/peft/names.py, each of which its tests must catch."""

FILE = "peft/names.py"
TESTS = "test_peft.py test_peft_whole.py test_peft_folders.py"
FAULTS = [  # (original, mutant)
    ('last in ("W", "weight", "b", "bias")', 'last in ("W", "weight")'),
    ('    if not callable(layer_of):\n', '    if False:\n'),
    ('        if np.ndim(W) != 2:\n', '        if False:\n'),
    ('kind = "bias" if last', 'kind = "weight" if last'),
    ('            names[layer] = name\n            continue\n', '            pass\n'),
    ('names.setdefault(f"{layer}.weight", name) != name', 'names.setdefault(f"{layer}.weight", name) is None'),
    ('(name, *more) in others.items() if not more', '(name, *more) in others.items()'),
    ('for i in range(1, len(parts) + 1)', 'for i in range(1, len(parts))'),
    ('return first if len(names) <= 3 else', 'return first if len(names) >= 3 else'),
    ('        if alike > length:\n', '        if alike >= length:\n'),
]  # fmt: skip
