"""Faults for minilora/data/bert.py, each of which its tests must catch."""

FILE = "data/bert.py"
TESTS = "test_reviews.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('key=len, default=name', 'default=name'),
    ('piece.removesuffix("\\r")', 'piece'),
    ('not in accepted:', 'is None:'),
    ('name.removeprefix("bert.")', 'name'),
    ('.replace(".gamma", ".weight")', ''),
    ('not plain.startswith(_UNUSED)', 'plain != "embeddings.position_ids"'),
    ('    check_heads(config["num_attention_heads"], config["hidden_size"])\n', ''),
    ('config.get(entry, accepted[0])', 'config.get(entry)'),
    ('    if not isinstance(config, dict):', '    if False:'),
    ('    if missing := SPECIAL - vocabulary.keys():', '    if missing := set():'),
    ('    if sorted(vocabulary.values())', '    if False and sorted(vocabulary.values())'),
    ('        if array.shape != expected[name]:', '        if False:'),
    ('    "is_decoder": (False,),\n', ''),
    ('    if len(other) > 0.01 * len(vocabulary):', '    if False:'),
    ('        check_floats(name, array)\n', ''),
]  # fmt: skip
