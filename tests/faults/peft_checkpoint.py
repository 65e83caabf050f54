"""Faults for minilora/peft/checkpoint.py, each of which its tests must catch."""

FILE = "peft/checkpoint.py"
TESTS = "test_peft.py test_peft_broken.py test_peft_whole.py test_peft_folders.py"
FAULTS = [  # (original, mutant)
    ('"A": "lora_A.weight", "B": "lora_B.weight"', '"A": "lora_B.weight", "B": "lora_A.weight"'),
    ('PREFIX = "base_model.model."', 'PREFIX = "base_model."'),
    ('    check_settings(config)\n', ''),
    ('        if not np.all(np.isfinite(array)):\n', '        if False:\n'),
    ('        elif ".original_module." in name:\n', '        elif False:\n'),
    ('        elif array.dtype not in _FLOATS:\n', '        elif False:\n'),
    ('    if _matrix(name.replace(".default", ""))[1]:\n', '    if False:\n'),
    ('elif not np.array_equal(rest.setdefault(_parameter(name), array), array):', 'elif rest.setdefault(_parameter(name), array) is None:'),
    ('    if not params:\n', '    if False:\n'),
    ('    if any(part.startswith(("lora_", "hra_")) for part in name.split(".")):\n', '    if False:\n'),
    ('(".modules_to_save.default.", ".modules_to_save.", ".base_layer.")', '(".modules_to_save.default.", ".modules_to_save.")'),
    ('array.shape[_RANK_AXIS[letter]] == adapter.rank', 'True'),
    ('        and array.dtype in _FLOATS\n', ''),
]  # fmt: skip
