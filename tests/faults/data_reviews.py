"""Faults for minilora/data/reviews.py, each of which its tests must catch."""

FILE = "data/reviews.py"
TESTS = "test_reviews.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('.split("\\r\\n")', '.splitlines()'),
    ('np.array(ratings, float)', 'np.array(ratings)'),
    ('    check_positive("least", least)\n', ''),
    ('    if np.shape(ratings) != (len(texts),):', '    if False:'),
    ('if abs(rating) >= least:', 'if rating >= least:'),
    ('int(rating > 0)', 'int(rating > 1)'),
    ('_PARTS[place % 10]', '_PARTS[len(text) % 10]'),
    ('_sentences(sorted(rows))', '_sentences(rows)'),
    ('_PARTS = ["test"] * 3', '_PARTS = ["test"]'),
]  # fmt: skip
