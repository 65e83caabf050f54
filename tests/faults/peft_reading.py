"""Faults for minilora/peft/reading.py, each of which its tests must catch."""

FILE = "peft/reading.py"
TESTS = "test_peft.py test_peft_broken.py test_peft_whole.py test_peft_folders.py test_peft_orientation.py"
FAULTS = [  # (original, mutant)
    ('array.T if name in turned else array', 'array'),
    ('        if array.shape != W.shape:\n', '        if False:\n'),
    ('elif not np.array_equal(array, dense(W).astype(array.dtype)):', 'elif False:'),
    ('    _check_complete(config, rest, names, found)\n', ''),
    ('    forms = parameter, f"{parameter}.weight", parameter', '    forms = parameter, parameter'),
    ('        if len(names) == 1 or not any(learned):\n', '        if False:\n'),
    ('not np.array_equal(params["W"], learned[0][1]["W"])', 'False'),
    ('        if parameter.endswith(f".{COUNTER}"):\n', '        if False:\n'),
    ('    if parameter in wanted and not advice:\n', '    if False:\n'),
    ('    if shape != W.shape:\n', '    if False:\n'),
    ('turned = shape == W.shape[::-1]', 'turned = False'),
    ('array.astype(dtype) for', 'array for'),
    ('not all(np.all(np.isfinite(array))', 'not any(np.all(np.isfinite(array))'),
    ('any(path.endswith(modules) for path in owners)', 'any(path in modules for path in owners)'),
    ('    if bias != "all":\n', '    if bias == "all":\n'),
    ('order = [name for name in weights if name in loaded]', 'order = list(loaded)'),
    ('sha256(dense(W).tobytes())', 'sha256(dense(W)[0].tobytes())'),
    ('array.astype(dtype)', 'array.astype(dtype, copy=False)'),
]  # fmt: skip
