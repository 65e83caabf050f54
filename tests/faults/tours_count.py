"""Faults for minilora/tours/count.py, each of which its tests must catch."""

FILE = "tours/count.py"
TESTS = "test_shapes.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('"sbora-fa": SBoRAFA, "sbora-fb": SBoRAFB', '"sbora-fa": SBoRAFB, "sbora-fb": SBoRAFA'),
    ('partial(HRA, odd=True)', 'HRA'),
    ('(None, *ADAPTERS)', '(*ADAPTERS, None, "dora")'),
    ('        if given not in known:', '        if False:'),
    ('kind if name == "condlora" else own_name', 'own_name'),
    ('kind if name == "condlora" else own_name', 'kind'),
    ('rank=8', 'rank=16'),
    ('count / chosen.total:.3%', 'count / linear:.3%'),
    ('megabytes(4 * count)', 'megabytes(2 * count)'),
    ('megabytes(8 * count)', 'megabytes(4 * count)'),
    ('{len(shapes)} matrices', '{len(counts)} matrices'),
    ('{"float16": 16,', '{"float16": 32,'),
    ('quantize(sample, double=True)', 'quantize(sample)'),
    ('2 * (chosen.total - linear) + linear', 'linear'),
    ('linear * bits / 8', 'chosen.total * bits / 8'),
    ('/ 1e6', '/ 2**20'),
    ('chosen.shapes(targets)', 'chosen.shapes()'),
]  # fmt: skip
