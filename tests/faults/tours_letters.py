"""Faults for minilora/tours/letters.py, each of which its tests must catch."""

FILE = "tours/letters.py"
TESTS = "test_tour.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('rows.append((name, f"{first.trained:,}"', 'rows.append((name, f"{first.trained + 1:,}"'),
    ('merged_logits = mlp(attached.merge(params)', 'merged_logits = mlp((weights)'),
    ('100 * before[domain]:.1f} → {100 * result.after', '100 * result.after:.1f} → {100 * before[domain]'),
    ('after=accuracy(logits, to_test[1])', 'after=accuracy(mlp(weights, to_test[0]), to_test[1])'),
    (', key=kind),\n)', ', ),\n)'),
]  # fmt: skip
