"""Faults for minilora/data/bert.py, each of which its tests must catch."""

FILE = "data/bert.py"
TESTS = "test_reviews.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('key=len, default=name', 'default=name'),
    ('text.removesuffix("\\n").split("\\n")', 'text.split()'),
    ('        if config.get(word) != value:', '        if False:'),
    ('name.removeprefix("bert.")', 'name'),
    ('.replace(".gamma", ".weight")', ''),
    ('not plain.startswith(_UNUSED)', 'plain != "embeddings.position_ids"'),
    ('    check_heads(heads, width)\n', ''),
    ('    if sorted(vocabulary.values())', '    if False and sorted(vocabulary.values())'),
    ('        if array.shape != expected[name]:', '        if False:'),
    ('    if config.get("is_decoder"):', '    if False:'),
    ('    _check_uncased(vocabulary)\n', ''),
    ('        check_floats(name, array)\n', ''),
]  # fmt: skip
