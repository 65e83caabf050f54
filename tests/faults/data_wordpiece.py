"""Faults for minilora/data/wordpiece.py, each of which its tests must catch."""

FILE = "data/wordpiece.py"
TESTS = "test_reviews.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('_LONGEST = 100', '_LONGEST = 99'),
    ('least=2)', 'least=1)'),
    ('not isinstance(vocabulary, dict) or ', ''),
    (' or not vocabulary.keys() >= SPECIAL', ''),
    ('    check_texts("sentences", sentences)\n', ''),
    ('pieces[: length - 2]', 'pieces[: length - 1]'),
    ('mask[row, : len(found)] = True', 'mask[row] = True'),
    ('unicodedata.normalize("NFD", text)', 'text'),
    ('"".join(map(str.lower, spaced))', 'spaced'),
    ('"".join(map(str.lower, spaced))', 'spaced.lower()'),
    ('prefix = "##" if start else ""', 'prefix = "##"'),
    ('ends = range(len(word), start, -1)', 'ends = range(start + 1, len(word) + 1)'),
    ('            return ["[UNK]"]', '            return [*pieces, "[UNK]"]'),
    ('return pieces or ["[UNK]"]', 'return pieces'),
    ('    if character in "\\t\\n\\r":', '    if False:'),
    ('("Mn", "Cc"', '("Cc"'),
    ('kind in ("Mn", "Cc", "Cf", "Co", "Cs")', 'kind == "Mn" or kind[0] == "C"'),
    ('symbol or chinese or kind[0] == "P"', 'symbol or kind[0] == "P"'),
    ('symbol or chinese or kind[0] == "P"', 'chinese or kind[0] == "P"'),
    ('symbol or chinese or kind[0] == "P"', 'symbol or chinese'),
]  # fmt: skip
