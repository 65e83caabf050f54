"""Faults for minilora/cli/count.py, each of which its tests must catch."""

FILE = "cli/count.py"
TESTS = "test_cli.py"
FAULTS = [  # (original, mutant)
    ('"sbora-fa": SBoRAFA,\n    "sbora-fb": SBoRAFB', '"sbora-fa": SBoRAFB,\n    "sbora-fb": SBoRAFA'),
    ('partial(HRA, odd=True)', 'HRA'),
    ('    if options.model is None:', '    if False:'),
    ('if isinstance(model, str) and model in MODELS:', 'if isinstance(model, str) and model in MODELS and not os.path.exists(model):'),
    ('if isinstance(model, (str, os.PathLike)) and os.path.exists(model):', 'if True:'),
    ('and adapter not in ADAPTERS:', 'and False:'),
    ('parameters of {architecture.counted}.', 'parameters.'),
    ('kind if name == "condlora" else own_name', 'own_name'),
    ('type=int, default=8', 'type=int, default=4'),
    ('        if rank > d_in:', '        if rank >= d_in:'),
    ('"float16": 16,', '"float16": 32,'),
    ('quantize(example, double=True)', 'quantize(example)'),
    ('/ 1e6', '/ 2**20'),
    ('options.adapter, options.rank', '"lora", options.rank'),
]  # fmt: skip
