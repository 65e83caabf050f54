"""Faults for minilora/peft/files.py, each of which its tests must catch."""

FILE = "peft/files.py"
TESTS = "test_peft.py test_peft_broken.py"
FAULTS = [  # (original, mutant)
    ('    check_named_weights(weights)\n', ''),
    ('.read_text("utf-8")', '.read_text("latin-1")'),
    ('    if not isinstance(folder, (str, os.PathLike)):\n', '    if False:\n'),
    ('    if not isinstance(attached, Attached):\n', '    if False:\n'),
    ('folder.mkdir(parents=True, exist_ok=True)', 'folder.mkdir(exist_ok=True)'),
    ('            Path(aside, name).write_bytes(content)\n', '            (folder / name).write_bytes(content)\n            Path(aside, name).write_bytes(content)\n'),
]  # fmt: skip
