"""Faults for minilora/matching.py, each of which its tests must catch."""

FILE = "matching.py"
TESTS = "test_attach.py test_front_door.py"
FAULTS = [  # (original, mutant)
    ('    if not isinstance(adapters, dict):', '    if not hasattr(adapters, "items"):\n        adapters = {"*.W": adapters}\n    if not isinstance(adapters, dict):'),
    ('        if not isinstance(pattern, str):', '        if False:'),
    ('    if isinstance(adapter, type):', '    if False:'),
    ('for part in ("init", "forward", "merge")', 'for part in ("init", "forward")'),
    ('    if re.sub(r"([*?[])", r"[\\1]", literal) == pattern:\n', '    if False:\n'),
    ('re.sub(r"([*?[])", r"[\\1]", literal) == pattern', 'literal == pattern'),
]  # fmt: skip
