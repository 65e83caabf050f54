"""Which layers a regular expression matches, in a time that is bounded for every expression.

PEFT gives layers a rank or an alpha of their own under regular expressions for the end of a name:
"0" and "layers.[02]" both match "model.layers.0". The expressions come with a file, which is
untrusted input, and Python's `re` tries one way to match after the other: on "([a-z]+)+X" their
number doubles with every letter of the name. Thompson's automaton follows all ways at once. Its
states are the tokens of the expression, and every pair (state, position in the name) is visited at
most once, so m tokens on n characters take at most (m + 1) (n + 1) steps.

A file may have a pattern for each of 10,000 layers. One of characters and "." alone is compared
only with the names that end in the same characters, in the same places.

What the automaton knows: characters, escapes, ".", classes, anchors, groups, "|", and "*", "+",
"?", lazy or not. Look-around, back-references, flags, counts like {1,2} and possessive quantifiers
are refused.

Thompson, 1968, Regular expression search algorithm, CACM 11(6).
"""

import re
from collections import defaultdict
from functools import partial

_TOKEN = re.compile(r"\[\^?\]?(?:\\.|[^]\\])*\]|\(\?:?|\\.|[*+?][+?]?|.", re.DOTALL)
_REFUSED = re.compile(r"\(\?|\\[0-9xuUN]|\{|[*+?]\+")
_PLAIN = re.compile(r"\^?(?:\\[^\w\n]|[^()|*+?{\[^$\\\n])+")
_TABLES = (
    50  # of names, one for all plain patterns with as many characters and "." in the same places
)
_LONGEST = 1000  # characters in all the patterns of a setting that need the automaton
_MOST = 5 * 10**7  # steps, the product of those characters and of the characters of all names


def first_match(patterns, names):
    """{name: value} for the names that a pattern matches, with the value of the first that does.

    patterns: {pattern: value}. A pattern matches a name, or the end of it that follows a dot.

    Raises re.error for a pattern that is not a regular expression; ValueError for one that is
    refused (see above), or when those with a group, "|" or a quantifier have over 1,000 characters
    in all, or could take over 50 million steps on these names.
    """
    value_of = {}
    length = 0
    characters = sum(map(len, names))
    tables = {}
    for pattern, value in patterns.items():
        expression = rf"(.*\.)?({pattern})$"  # as in PEFT
        matches = re.compile(expression).match
        if re.search(r"[()|*+?{]", pattern):  # else it can match in one way only, found at once
            length += len(pattern)
            if length > _LONGEST:
                raise ValueError(f"patterns must have at most {_LONGEST} characters, got {length}")
            if length * characters > _MOST:
                problem = f"patterns of {length} characters on names of {characters}"
                raise ValueError(f"{problem} could take over {_MOST:,} steps")
            matches = partial(_matches, *_automaton(expression))
        for name in _candidates(tables, pattern, names):
            if name not in value_of and matches(name):
                value_of[name] = value
    return value_of


def _candidates(tables, pattern, names):
    """Names among which are all that a pattern matches; few for a plain one.

    tables: {(characters of a pattern, places of "." in it): {what is between these places: names}}.
    """
    if not _PLAIN.fullmatch(pattern):
        return names
    tokens = re.findall(r"\\?.", pattern.removeprefix("^"))
    places = [i for i, token in enumerate(tokens) if token == "."]
    form = len(tokens), *places
    if form not in tables:
        if len(tables) == _TABLES:  # more would take too much memory
            return names
        tables[form] = defaultdict(list)
        for name in names:
            end = name.removesuffix("\n")[-len(tokens) :]  # "$" matches before it too
            tables[form][_between(places, end)].append(name)
    return tables[form][_between(places, "".join(token[-1] for token in tokens))]


def _between(places, text):
    """The pieces of a text before, between and after some places."""
    starts = [0, *(place + 1 for place in places)]
    return tuple(text[start:end] for start, end in zip(starts, [*places, len(text)]))


def _automaton(expression):
    """Thompson's automaton of a regular expression: (atoms, moves).

    atoms: state -> what must match to come from it to state + 1, one character or an anchor.
    moves: for every state, those to which it leads without reading a character.
    """
    tokens = ["(", *_TOKEN.findall(expression), ")"]
    atoms = {}
    moves = [[i + 1] for i in range(len(tokens))]
    groups = []  # of those that are open, where they begin and where their "|" are
    for i, (token, after) in enumerate(zip(tokens, [*tokens[1:], "the end"])):
        start = i  # of what a quantifier after this token would repeat
        if _REFUSED.fullmatch(token):
            raise ValueError(f"the pattern in {expression!r:.200} has {token!r}, which is refused")
        if token in ("(", "(?:"):
            groups.append([i])
        elif token == "|":
            groups[-1].append(i)
        elif token == ")":
            start, *bars = groups.pop()
            for bar in bars:
                moves[start].append(bar + 1)
                moves[bar] = [i]
        elif token[0] not in "*+?":
            atoms[i] = re.compile(token)
            moves[i] = []
        if after[0] in "*?":
            moves[start].append(i + 1)
        if after[0] in "*+":
            moves[i + 1].append(start)
    return atoms, [*moves, []]


def _matches(atoms, moves, name):
    last = len(moves) - 1
    return any(state == last for state, _ in _visited(atoms, moves, name))


def _visited(atoms, moves, name):
    """Every pair (state, position in the name) that an automaton reaches."""
    visited = {(0, 0)}
    waiting = [(0, 0)]
    while waiting:
        state, position = waiting.pop()
        reached = {(target, position) for target in moves[state]}
        if state in atoms and (found := atoms[state].match(name, position)):
            reached.add((state + 1, found.end()))
        waiting += reached - visited
        visited |= reached
    return visited
