"""Faults for minilora/peft/patterns.py, each of which its tests must catch."""

FILE = "peft/patterns.py"
TESTS = "test_peft_patterns.py"
FAULTS = [  # (original, mutant)
    (r'\[\^?\]?(?:\\.|[^]\\])*\]|', r'\[\^?(?:\\.|[^]\\])*\]|'),
    (r'r"\(\?|\\[0-9xuUN]|\{|[*+?]\+"', r'r"\\[0-9xuUN]|\{|[*+?]\+"'),
    (r'(.*\.)?({pattern})$', r'(.*)?({pattern})$'),
    ('length += len(pattern)', 'length = len(pattern)'),
    ('    if not _PLAIN.fullmatch(pattern):\n', '    if True:\n'),
    ('end = name.removesuffix("\\n")[-len', 'end = name[-len'),
    ('*(place + 1 for place in places)', '*places'),
    ('            if length * characters > _MOST:\n', '            if False:\n'),
    ('["(", *_TOKEN.findall(expression), ")"]', '[*_TOKEN.findall(expression)]'),
    ('        if _REFUSED.fullmatch(token):\n', '        if False:\n'),
    ('last = len(moves) - 1', 'last = len(moves) - 3'),
    ('reached.add((state + 1, found.end()))', 'reached.add((state + 1, position + 1))'),
    ('waiting += reached - visited', 'waiting = list(reached - visited)'),
]  # fmt: skip
