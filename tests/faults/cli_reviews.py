"""Faults for minilora/cli/reviews.py, each of which its tests must catch."""

FILE = "cli/reviews.py"
TESTS = "test_real.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('"encoder.*.query.weight", "encoder.*.value.weight"', '"encoder.*.query.weight", "encoder.*.key.weight"'),
    ('LINEAR = ("encoder.*.self.*.weight", "encoder.*.dense.weight")', 'LINEAR = ("encoder.*.self.*.weight",)'),
    ('rng = np.random.default_rng(seed)', 'rng = np.random.default_rng(0)'),
    ('merged[name] - W', 'merged[name]'),
    ('    value_and_grad(lambda own: loss(attached.bind(own), *rows), params)\n', ''),
]  # fmt: skip
