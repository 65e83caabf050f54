"""Faults for minilora/cli/count.py, each of which its tests must catch."""

FILE = "cli/count.py"
TESTS = "test_cli.py"
FAULTS = [  # (original, mutant)
    ('"sbora-fa": SBoRAFA,\n    "sbora-fb": SBoRAFB', '"sbora-fa": SBoRAFB,\n    "sbora-fb": SBoRAFA'),
    ('partial(HRA, odd=True)', 'HRA'),
    ('    if model not in MODELS:', '    if False:'),
    ('and adapter not in ADAPTERS:', 'and False:'),
    ('kind if name == "condlora" else own_name', 'own_name'),
    ('kind if name == "condlora" else own_name', 'kind'),
    ('type=int, default=8', 'type=int, default=4'),
    ('rank=8', 'rank=16'),
    ('        if rank > d_in:', '        if rank >= d_in:'),
    ('        if rank > d_in:', '        if False:'),
    ('count / architecture.total', 'count / 7e9'),
    ('_megabytes(4 * count)', '_megabytes(2 * count)'),
    ('_megabytes(8 * count)', '_megabytes(4 * count)'),
    ('{len(shapes)} matrices', '{len(counts)} matrices'),
    ('"float16": 16,', '"float16": 32,'),
    ('quantize(example, double=True)', 'quantize(example)'),
    ('2 * (architecture.total - linear_size)', '0'),
    ('linear_size * each / 8', 'architecture.total * each / 8'),
    ('/ 1e6', '/ 2**20'),
    ('architecture.shapes(targets)', 'architecture.shapes()'),
    ('options.adapter, options.rank', '"lora", options.rank'),
]  # fmt: skip
