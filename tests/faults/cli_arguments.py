"""Faults for minilora/cli/arguments.py, each of which its tests must catch."""

FILE = "cli/arguments.py"
TESTS = "test_cli.py"
FAULTS = [  # (original, mutant)
    ('    if value < least:', '    if value < -1:'),
    ('    if not text.strip():', '    if False:'),
    ('Path(text).expanduser()', 'Path(text)'),
    ('    if not all(names):', '    if not any(names):'),
    ('name.strip() for name', 'name for name'),
    ('            trial.write(bytes(_FILE_SIZE))', '            trial.write(bytes(99))'),
    ('            if os.path.lexists(path / file):', '            if False:'),
]  # fmt: skip
