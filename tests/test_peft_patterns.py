"""Patterns match as in PEFT, which uses Python's re, and none of them takes long."""

import re
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.counting import calls
from support.golden import DATA, WEIGHTS

from minilora.peft import patterns, read_peft
from minilora.peft.checkpoint import ARRAYS
from minilora.peft.patterns import first_match
from minilora.peft.settings import CONFIG

NAME = "model.decoder.layers.12.self_attn.q_proj"


@pytest.mark.parametrize(
    "pattern",
    [
        "q_proj",
        "12.self_attn.q_proj",
        "^model.decoder.layers.12.self_attn.q_proj",
        r"layers\.12\.self_attn\.q_proj",
        r"layers\.\d+\.self_attn\.q_proj",
        r"layers\.[0-9]+\..*q_proj",
        r".*\.q_proj",
        ".*q_proj",
        "self_attn.(q|k|v|o)_proj",
        "(?:self|cross)_attn.[qkvo]_proj",
        r"layers\.(?:[0-9]|1[0-5])\.self_attn\.q_proj",
        r"(model\.)?decoder\.layers\.\d\d?\.self_attn\.q_proj",
        r"(\w+\.)*q_proj",
        "q_proj$",
        r"\bq_proj\b",
        ".*",
        ".+?",
        "(fc1|fc2|.*_proj)",
        "[^.]*",
        "[a-z_]*.*",
    ],
)
def test_what_people_write_matches(pattern):
    assert first_match({pattern: 3}, [NAME]) == {NAME: 3}
    assert re.match(rf"(.*\.)?({pattern})$", NAME)


@pytest.mark.parametrize(
    "pattern",
    [
        "proj",
        "attn.q_proj",
        "^q_proj",
        r"layers\.\d\.self_attn\.q_proj",
        r"layers\.\d?\.self_attn\.q_proj",
        "self_attn",
        "q.proj.",
        "(k|v|o)_proj",
        r".*\.k_proj",
        "Q_PROJ",
        "",
        "q_proj ",
        "[^q].proj",
    ],
)
def test_what_differs_does_not_match(pattern):
    assert first_match({pattern: 3}, [NAME]) == {}
    assert not re.match(rf"(.*\.)?({pattern})$", NAME)


def test_the_first_pattern_that_matches_counts():
    names = ["layers.0", "layers.1", "layers.2", "head"]
    values = {"0": 1, "layers.[01]": 2, "layers.*": 3}
    assert first_match(values, names) == {"layers.0": 1, "layers.1": 2, "layers.2": 3}


ATOMS = ("a", "b", "0", ".", r"\.", "[ab]", "[^a]", "[]a]", r"[\]0]", r"\d", r"\w", "^", "$", r"\b")
ATOMS += ("\n", "\\\n", "")
AT_MOST_ONCE = ("", "", "?", "??")
QUANTIFIERS = (*AT_MOST_ONCE, "*", "+", "*?", "+?")


def random_pattern(rng, depth):
    """A pattern of any atoms, groups, alternatives and quantifiers; not always a valid one.

    Of repetitions at most two lie within each other: three, such as ((a*)+b?)+, and Python may try
    ways without end even on six characters.
    """
    form = rng.integers(5) if depth else 0
    if form == 0:
        return str(rng.choice(ATOMS)) + str(rng.choice(QUANTIFIERS))
    left = random_pattern(rng, depth - 1)
    if form == 1:
        repeats = sum(left.count(sign) for sign in "*+")
        quantifiers = QUANTIFIERS if repeats < 2 else AT_MOST_ONCE
        return rng.choice(["(", "(?:"]) + left + ")" + rng.choice(quantifiers)
    right = random_pattern(rng, depth - 1)
    if form == 2:
        return f"({left}|{right})"
    return left + rng.choice(["", "", "|"]) + right


@given(st.integers(0, 2**32 - 1))
def test_any_pattern_matches_as_in_python(seed):
    """On names short enough for Python to try all ways; 1,800 patterns."""
    rng = np.random.default_rng(seed)
    for _ in range(30):
        pattern = random_pattern(rng, 4)
        names = {"".join(rng.choice(list("ab0.\n"), rng.integers(7))) for _ in range(8)}
        try:
            compiled = re.compile(rf"(.*\.)?({pattern})$")
        except re.error:
            with pytest.raises((re.error, ValueError)):
                first_match({pattern: 1}, names)
            continue
        expected = {name: 1 for name in names if compiled.match(name)}
        if re.search(r"[*+?]\+", pattern):  # possessive, since Python 3.11
            with pytest.raises(ValueError, match="which is refused"):
                first_match({pattern: 1}, names)
        else:
            assert first_match({pattern: 1}, names) == expected


def test_groups_that_do_not_pair_mean_what_they_mean_in_peft():
    r"""There the pattern stands in (.*\.)?(…)$, so "a)|(b" is an "a" at the start or a "b"."""
    names = ["a", "ab", "x.a", "x.ab", "b", "x.b", "xb"]
    expected = [name for name in names if re.match(r"(.*\.)?(a)|(b)$", name)]
    assert list(first_match({"a)|(b": 1}, names)) == expected


EXPLOSIVE = [
    "([a-z.0-9_]+)+X",
    "(a*)*X",
    "(a|a)*X",
    "(a|aa)+X",
    "((((a+)+)+)+)+X",
    "(.*)*(.*)*(.*)*X",
    ".*" * 40 + "X",
    "(a?)" * 40 + "a" * 40 + "X",
    "(a|b|ab)*" * 20 + "X",
    "(|a|)*" * 30 + "X",
    "(((a?b?)*c?)*d?)*X",
    r"(\w+\.?)+X",
]


class Counted:
    """What an atom matches, and how often it was asked."""

    calls = 0

    def __init__(self, atom):
        self.atom = atom

    def match(self, name, position):
        Counted.calls += 1
        return self.atom.match(name, position)


@pytest.mark.parametrize("pattern", EXPLOSIVE, ids=range(len(EXPLOSIVE)))
def test_no_pattern_takes_more_steps_than_tokens_times_characters(pattern):
    """Counted, not timed: no pair (state, position) comes twice."""
    for name in (NAME, "a" * 60):
        atoms, moves = patterns._automaton(rf"(.*\.)?({pattern})$")
        counted = {state: Counted(atom) for state, atom in atoms.items()}
        Counted.calls = 0
        visited = patterns._visited(counted, moves, name)
        assert len(visited) <= len(moves) * (len(name) + 1)
        assert Counted.calls == sum(state in atoms for state, _ in visited)
        assert first_match({pattern: 1}, [name, f"{name}.X"]) in ({}, {f"{name}.X": 1})


@pytest.mark.parametrize("pattern", EXPLOSIVE[:2])
def test_a_checkpoint_with_a_pattern_that_explodes_is_read(pattern, tmp_path):
    long = "a" * 60
    text = (DATA / "lora" / CONFIG).read_text()
    config = text.replace('"rank_pattern": {}', f'"rank_pattern": {{"{pattern}": 3}}')
    assert config != text
    (tmp_path / CONFIG).write_text(config)
    (tmp_path / ARRAYS).write_bytes((DATA / "lora" / ARRAYS).read_bytes())
    weights = {**WEIGHTS, f"{long}.W": WEIGHTS["layers.0.W"]}
    assert read_peft(tmp_path, weights).adapters["layers.0.W"].rank == 2


@pytest.mark.parametrize(
    "pattern, token",
    [
        ("(?=a)a", "(?"),
        ("(?!a)b", "(?"),
        ("(?<=a)b", "(?"),
        ("(?P<a>x)", "(?"),
        ("(a)|\\1", "\\1"),
        ("(a)|\\x41", "\\x"),
        ("a{2}", "{"),
        ("a{1,3}", "{"),
        ("a{2", "{"),
    ],
)
def test_what_is_refused_is_named(pattern, token):
    assert re.compile(rf"(.*\.)?({pattern})$")
    with pytest.raises(ValueError) as refused:
        first_match({pattern: 1}, ["a"])
    assert f"has {token!r}, which is refused" in str(refused.value)


@pytest.mark.filterwarnings("ignore:Flags not at the start:DeprecationWarning")  # Python 3.10
@pytest.mark.parametrize("pattern", ["(", ")", "[", "*", "a**", "(?P<a>x)(?P<a>y)", "\\", "(?i"])
def test_what_is_no_regular_expression_is_an_error(pattern):
    with pytest.raises((re.error, ValueError)):
        first_match({pattern: 1}, ["a"])


@pytest.mark.parametrize("pattern", ["a*+", "a++", "a?+", "(ab)*+b"])
def test_possessive_quantifiers_are_refused_in_every_python(pattern):
    """Before 3.11 they were no regular expressions; since then they do not match as the others."""
    with pytest.raises((re.error, ValueError)):
        first_match({pattern: 1}, ["a"])


def test_patterns_with_branches_have_a_limit_and_plain_names_have_none():
    """A megabyte of ".*" would take an hour, step by step; a megabyte of names takes a second."""
    for many in ({".*" * 501: 1}, {f".*{i:03}": 1 for i in range(201)}):
        with pytest.raises(ValueError, match=r"^patterns must have at most 1000 characters"):
            first_match(many, [NAME])
    assert first_match({".*" * 500: 1}, [NAME]) == {NAME: 1}
    plain = {rf"^model\.layers\.{i}": i for i in range(100)}
    assert first_match(plain, ["model.layers.7", "layers.7"]) == {"model.layers.7": 7}


@pytest.mark.parametrize("form", ["layers.{}.q_proj", r"^model\.layers\.{}\.q_proj"])
def test_a_pattern_for_each_layer_takes_steps_in_proportion_to_the_layers(form):
    """Counted: four times as many layers, at most six times as many calls."""

    def steps(count):
        names = [f"model.layers.{i}.q_proj" for i in range(1000, 1000 + count)]
        values = {form.format(i): i for i in range(1000, 1000 + count)}
        assert first_match(values, names) == dict(zip(names, values.values()))
        re.purge()  # else those among the last 512 need not be compiled
        return calls(first_match, values, names)

    assert steps(800) < 6 * steps(200)


def test_more_forms_of_patterns_than_there_are_tables_for_match_all_the_same():
    names = ["x" * i + ".q" for i in range(80)]
    assert first_match({name: len(name) for name in names}, names) == {n: len(n) for n in names}


PLAIN_ATOMS = ("a", "b", ".", r"\.", "ab", "]", "}", "-", "\\-")


@given(st.lists(st.sampled_from(PLAIN_ATOMS), max_size=4), st.booleans())
def test_plain_patterns_match_as_in_python(atoms, anchored):
    """On all names of up to four of five characters."""
    pattern = "^" * anchored + "".join(atoms)
    names = ["".join(letters) for n in range(5) for letters in product("ab.-\n", repeat=n)]
    compiled = re.compile(rf"(.*\.)?({pattern})$")
    assert list(first_match({pattern: 1}, names)) == [n for n in names if compiled.match(n)]


def test_patterns_with_branches_on_names_without_end_have_a_limit_too():
    """The names are those of a file, before anybody has compared them with a model."""
    names = [f"model.layers.{i}.q_proj" for i in range(50_000)]
    with pytest.raises(ValueError, match=r"^patterns of 42 characters on names of 1238890 could"):
        first_match({"layers.7.(q|k)_pro[j]": 1, "layers.8.(q|k)_pro[j]": 2}, names)
    assert first_match({"layers.7.q_proj": 1}, names) == {names[7]: 1}
    assert first_match({"layers.7.(q|k)_proj": 1}, names[:1000]) == {names[7]: 1}
