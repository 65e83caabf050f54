"""Faults for minilora/tours/letters.py, each of which its tests must catch."""

FILE = "tours/letters.py"
TESTS = "test_tour.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('f"{results[0].trained:,}"', 'f"{results[0].trained + 1:,}"'),
    ('mlp(attached.merge(params), ', 'mlp(weights, '),
    ('100 * before[domain]:.1f} → {100 * result.after', '100 * result.after:.1f} → {100 * before[domain]'),
    ('after, kept = accuracy(logits, ', 'after, kept = accuracy(mlp(weights, to_test[0]), '),
    (', key=kind),\n)', ', ),\n)'),
]  # fmt: skip
