"""Faults for minilora/data/text.py, each of which its tests must catch."""

FILE = "data/text.py"
TESTS = "test_text.py"
FAULTS = [  # (original, mutant)
    ('range(32, 127)', 'range(32, 126)'),
    ('argparse ast', 'ast argparse'),
    ('for name in sorted(topics))', 'for name in sorted(topics)[1:])'),
    ('MODULES.split()]', 'sorted(MODULES.split(), reverse=True)]'),
    ('    if not isinstance(text, str):', '    if False:'),
    ('text.replace("\\t", "    ")', 'text'),
    ('integers = tokens.dtype.kind in "iu"', 'integers = True'),
    (' or tokens.min() < 0', ''),
    ('len(tokens) - len(tokens) // 10', 'len(tokens) // 10'),
    ('tokens[:cut], tokens[cut:]', 'tokens[:cut], tokens[cut + 1 :]'),
    ('    check_rng(rng)\n', ''),
    ('    if len(tokens) < 2:', '    if False:'),
    ('    if isinstance(tokens, str):\n        raise', '    if False:\n        raise'),
    ('    if np.ndim(tokens) != 1:', '    if False:'),
]  # fmt: skip
