"""Faults for minilora/cli/slider.py, each of which its tests must catch."""

FILE = "cli/slider.py"
TESTS = "test_lesson.py"
FAULTS = [  # (original, mutant)
    ('if len(values) < 2:', 'if len(values) < 1:'),
    ('not in range(len(values))', 'not in range(len(values) + 1)'),
    ('draw(plt.figure(figsize=size), values[start])', 'draw(plt.figure(figsize=size), values[0])'),
    ('html.escape(self.name), html.escape(self.alt)', 'self.name, self.alt'),
    ('{pictures[self.start]}', '{pictures[0]}'),
    ('    plt.close(figure)\n', ''),
    ('if total > _MOST_BYTES:', 'if False:'),
]  # fmt: skip
