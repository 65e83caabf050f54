"""Faults for minilora/architectures/from_config.py, each of which its tests must catch."""

FILE = "architectures/from_config.py"
TESTS = "test_architectures.py"
FAULTS = [  # (original, mutant)
    ('path / "config.json" if path.is_dir() else path', 'path'),
    ('raise ValueError(f"{file}: {error}") from error', 'raise'),
    ('if entry is True or entries.flag(entry):', 'if entry is True:'),
    ('+ family.head_norms * head_dim', ''),
    ('most=_MOST_LAYERS', 'most=10**12'),
    ('    if not isinstance(config, dict):', '    if False:'),
    ('or "expert" in str(name)', ''),
    ('(learned or name in', '(name in'),
    ('or not first.isidentifier()', ''),
    ('    if heads % key_heads:', '    if False:'),
    ('if head_dim is None and width % heads:', 'if False:'),
    ('heads * head_dim, LARGEST)', '10**30)'),
    ('return heads * head_dim, key_heads * head_dim, head_dim', 'return width, key_heads * head_dim, head_dim'),
]  # fmt: skip
