"""Faults for minilora/architectures/entries.py, each of which its tests must catch."""

FILE = "architectures/entries.py"
TESTS = "test_architectures.py"
FAULTS = [  # (original, mutant)
    ('if len(found) == 2 and', 'if False and'),
    ('        if not found:\n            raise', '        if not found:\n            return None\n            raise'),
    ('check_count(self._aliases.get(name, name), value, most, least)', 'pass'),
    ('usually_null and self.value(name) is None', 'self.value(name) is None'),
    ('if not isinstance(value, bool):', 'if False:'),
    ('value.lower().split("|")', 'value.split("|")'),
    ('if not isinstance(words, list) or', 'if False and'),
    ('    if not file.is_file():', '    if file.exists() and not file.is_file():'),
    ('    if file.stat().st_size > _MOST_BYTES:', '    if False:'),
    ('except (ValueError, RecursionError)', 'except ValueError'),
]  # fmt: skip
