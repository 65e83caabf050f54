"""Faults for minilora/cli/text.py, each of which its tests must catch."""

FILE = "cli/text.py"
TESTS = "test_cli_comparison.py"
FAULTS = [  # (original, mutant)
    (' / math.log(2)', ''),
    ('return found[:-1], found[1:]', 'return found[:-1], found[:-1]'),
    ('key=kind', 'key=str'),
    ('Method("LoRA", "r=8", {LINEAR: LoRA(rank=8)}', 'Method("LoRA", "r=8", {LINEAR: LoRA(rank=4)}'),
    ('tied=False', 'tied=True'),
    ('shown = {"before": weights}', 'shown = {"earlier": weights}'),
]  # fmt: skip
