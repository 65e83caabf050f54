"""Faults for minilora/__init__.py, each of which its tests must catch."""

FILE = "__init__.py"
TESTS = "test_front_door.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('from importlib import import_module\n', 'from importlib import import_module\n\nimport numpy\n'),
    ('        raise AttributeError(\n', '        return None\n        raise AttributeError(\n'),
    ("{', '.join(__all__)}", 'more'),
    ('return sorted(set(globals()) | set(__all__))', 'return sorted(set(globals()))'),
]  # fmt: skip
