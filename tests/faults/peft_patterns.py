"""Faults for minilora/peft/patterns.py, each of which its tests must catch."""

FILE = "peft/patterns.py"
TESTS = "test_peft_patterns.py"
FAULTS = [  # (original, mutant)
    (r'\[\^?\]?(?:\\.|[^]\\])*\]|', r'\[\^?(?:\\.|[^]\\])*\]|'),
    (r'\[\^?\]?(?:\\.|[^]\\])*\]|', r'\[\^?\]?[^]]*\]|'),
    (r'\(\?:?|\\.|[*+?][+?]?|.', r'\(\?:?|\\.|[*+?]|.'),
    ('[*+?][+?]?|.", re.DOTALL)', '[*+?][+?]?|.")'),
    (r'r"\(\?|\\[0-9xuUN]|\{|[*+?]\+"', r'r"\\[0-9xuUN]|\{|[*+?]\+"'),
    (r'r"\(\?|\\[0-9xuUN]|\{|[*+?]\+"', r'r"\(\?|\\[xuUN]|\{|[*+?]\+"'),
    (r'r"\(\?|\\[0-9xuUN]|\{|[*+?]\+"', r'r"\(\?|\\[0-9xuUN]|[*+?]\+"'),
    (r'(.*\.)?({pattern})$', r'(.*)?({pattern})$'),
    (r'(.*\.)?({pattern})$', r'(.*\.)?({pattern})'),
    (r'(.*\.)?({pattern})$', r'({pattern})$'),
    ('length += len(pattern)', 'length = len(pattern)'),
    ('            length += len(pattern)\n', ''),
    ('if length > _LONGEST:', 'if length >= _LONGEST:'),
    ('if name not in value_of and matches(name):', 'if matches(name):'),
    ('["(", *_TOKEN.findall(expression), ")"]', '[*_TOKEN.findall(expression)]'),
    ('        if _REFUSED.fullmatch(token):\n', '        if False:\n'),
    ('start, *bars = groups.pop()', '_, *bars = groups.pop()'),
    ('moves[start].append(bar + 1)', 'moves[start].append(bar)'),
    ('                moves[bar] = [i]\n', ''),
    ('            moves[i] = []\n', ''),
    ('if after[0] in "*?":', 'if after[0] in "*":'),
    ('if after[0] in "*+":', 'if after[0] in "*":'),
    ('if after[0] in "*+":', 'if after[0] in "*+?":'),
    ('moves[i + 1].append(start)', 'moves[i].append(start)'),
    ('last = len(moves) - 1', 'last = len(moves) - 3'),
    ('reached.add((state + 1, found.end()))', 'reached.add((state + 1, position + 1))'),
    ('waiting += reached - visited', 'waiting = list(reached - visited)'),
]  # fmt: skip
