"""Faults for minilora/peft/files.py, each of which its tests must catch."""

FILE = "peft/files.py"
TESTS = "test_peft.py test_peft_broken.py test_peft_folders.py test_peft_orientation.py"
FAULTS = [  # (original, mutant)
    ('    check_named_weights(weights)\n', ''),
    ('.decode("utf-8")', '.decode("latin-1")'),
    ('    check_no_pointer(CONFIG, text)\n', ''),
    ('    with suppress(FileNotFoundError):', '    if True:'),
    ('> _PATIENCE', '> 0'),
    ('old and all(path.name in ours and path.is_file()', 'old and all(path.is_file()'),
    ('    if not isinstance(config, dict):\n', '    if False:\n'),
    ('dense(W).T if name in turned else W', 'W'),
    ('    if not isinstance(folder, (str, os.PathLike)):\n', '    if False:\n'),
    ('    if not isinstance(attached, Attached):\n', '    if False:\n'),
    ('        if not isinstance(getattr(W, "dtype", None), np.dtype):\n', '        if False:\n'),
    ('folder.mkdir(parents=True, exist_ok=True)', 'folder.mkdir(exist_ok=True)'),
    ('        (folder / CONFIG).unlink(missing_ok=True)\n', ''),
    ('for name in (CONFIG, ARRAYS):', 'for name in (ARRAYS, CONFIG):'),
]  # fmt: skip
