"""Faults for minilora/tours/text.py, each of which its tests must catch."""

FILE = "tours/text.py"
TESTS = "test_tour.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    (' / math.log(2)', ''),
    ('return places[:-1], places[1:]', 'return places[:-1], places[:-1]'),
    ('key=kind', 'key=str'),
    ('Method("LoRA", "r=8", {LINEAR: LoRA(rank=8)}', 'Method("LoRA", "r=8", {LINEAR: LoRA(rank=4)}'),
    ('tied=False', 'tied=True'),
    ('outcomes, shown = {}, {"before"', 'outcomes, shown = {}, {"earlier"'),
]  # fmt: skip
