"""Faults for minilora/architectures/table.py, each of which its tests must catch."""

FILE = "architectures/table.py"
TESTS = "test_architectures.py"
FAULTS = [  # (original, mutant)
    ('"k": (self.kv_width, self.width)', '"k": (self.width, self.width)'),
    ('"v": (self.kv_width, self.width)', '"v": (self.width, self.kv_width)'),
    ('"q": (self.q_width, self.width)', '"q": (self.width, self.width)'),
    ('"o": (self.width, self.q_width)', '"o": (self.q_width, self.width)'),
    ('self.q_width + 2 * self.kv_width', '3 * self.q_width'),
    ('(2 * self.hidden, self.width)', '(self.hidden, self.width)'),
    ('if parts and all(', 'if all('),
    ('            parts = list(targets)\n', '            parts = targets\n'),
]  # fmt: skip
