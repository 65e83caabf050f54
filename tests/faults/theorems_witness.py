"""Faults for minilora/theorems/witness.py, each of which its tests must catch."""

FILE = "theorems/witness.py"
TESTS = "test_theorems_relu.py"
FAULTS = [  # (original, mutant)
    ('+ 2 * z[:, :, None]', '- 2 * z[:, :, None]'),
    ('(z < 0) &', '(z > 0) &'),
    ('np.linalg.matrix_rank(W) < len(W)', 'np.linalg.matrix_rank(W) < len(W) - 1'),
]  # fmt: skip
