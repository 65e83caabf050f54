"""Faults for minilora/adapters/__init__.py, each of which its tests must catch."""

FILE = "adapters/__init__.py"
TESTS = "test_front_door.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('raise TypeError(f"{adapter.__name__} takes', 'raise ValueError(f"{adapter.__name__} takes'),
    ('@functools.wraps(construct)\n    def', 'def'),
    ('({hint}): {error}"', '({hint})"'),
    ('", ".join(field.name for field in dataclasses.fields(adapter)) or "no arguments"', '"other arguments"'),
    ('HRAStrict, LoRA, SBoRAFA, SBoRAFB):', 'HRAStrict, SBoRAFA, SBoRAFB):'),
    ('if "__init__()" not in str(error)', 'if False'),
    ('type(self) is not adapter', 'type(self) is adapter'),
]  # fmt: skip
