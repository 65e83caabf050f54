"""Faults for minilora/peft/advice.py, each of which its tests must catch."""

FILE = "peft/advice.py"
TESTS = "test_peft_folders.py"
FAULTS = [  # (original, mutant)
    ('    if not path.exists():\n', '    if False:\n'),
    ('name.startswith(UNFINISHED)', 'name.endswith(UNFINISHED)'),
    ('(_linear_layer)?', ''),
    ('    if inside:\n', '    if False:\n'),
    ('    if "adapter_model.bin" in files:\n', '    if False:\n'),
    ('min(int.from_bytes(file.read(8), "little"), path.stat().st_size)', 'int.from_bytes(file.read(8), "big")'),
]  # fmt: skip
