"""Faults for minilora/__main__.py, each of which its tests must catch."""

FILE = "__main__.py"
TESTS = "test_shapes.py test_tour.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('if chosen.seed < 0 or chosen.model:', 'if chosen.model:'),
    ('if chosen.seed < 0 or chosen.model:', 'if chosen.seed < 0:'),
    ('except (ValueError, OSError) as error:', 'except ValueError as error:'),
    ('except (ValueError, OSError) as error:', 'except OSError as error:'),
    ('choices=("letters", "text", "count"), ', ''),
    ('if chosen.what == "count":', 'if chosen.what == "counts":'),
    ('if chosen.what == "letters":', 'if False:'),
    ('type=int, default=8', 'type=int, default=4'),
    ('chosen.targets and chosen.targets.split(",")', 'chosen.targets'),
    ('chosen.adapter, chosen.rank', '"lora", chosen.rank'),
]  # fmt: skip
