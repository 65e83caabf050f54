"""Faults for minilora/cli/count.py, each of which its tests must catch."""

FILE = "cli/count.py"
TESTS = "test_cli.py"
FAULTS = [  # (original, mutant)
    ('"sbora-fa": SBoRAFA,\n    "sbora-fb": SBoRAFB', '"sbora-fa": SBoRAFB,\n    "sbora-fb": SBoRAFA'),
    ('partial(HRA, odd=True)', 'HRA'),
    ('    if model not in MODELS:', '    if False:'),
    ('and adapter not in ADAPTERS:', 'and False:'),
    ('kind if name == "condlora" else own_name', 'own_name'),
    ('type=int, default=8', 'type=int, default=4'),
    ('        if rank > d_in:', '        if rank >= d_in:'),
    ('"float16": 16,', '"float16": 32,'),
    ('quantize(example, double=True)', 'quantize(example)'),
    ('/ 1e6', '/ 2**20'),
    ('options.adapter, options.rank', '"lora", options.rank'),
]  # fmt: skip
