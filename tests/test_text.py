"""The text that every Python carries, its tokens and its windows."""

import heapq
import inspect
import string
import textwrap
from pydoc_data.topics import topics

import numpy as np
import pytest

from minilora.data.text import CHARACTERS, MODULES, code, decode, encode, prose, split, windows


@pytest.fixture(scope="module")
def texts():
    return {"prose": prose(), "code": code()}


def test_the_characters_are_newline_and_the_printable_ascii_characters():
    assert len(CHARACTERS) == len(set(CHARACTERS)) == 96
    assert set(CHARACTERS) == set(string.printable) - set("\t\r\v\f")


def test_decoding_undoes_encoding():
    text = CHARACTERS + CHARACTERS[::-1]
    tokens = encode(text)
    assert tokens.dtype.kind == "i"
    np.testing.assert_array_equal(tokens, [*range(96), *range(95, -1, -1)])
    assert decode(tokens) == text
    assert encode("").dtype == tokens.dtype
    assert decode(encode("")) == ""


def test_a_tab_becomes_four_spaces():
    assert decode(encode("a\tb\t\n")) == "a    b    \n"


def test_any_other_character_becomes_a_question_mark():
    assert decode(encode("é–x\r\v\x00\x7f\N{SNAKE}?")) == "??x??????"


@pytest.mark.parametrize("tokens", [[96], [-1], [1.0], [True], [0, 1, 2, 200]], ids=str)
def test_decoding_what_is_no_token_is_a_value_error(tokens):
    with pytest.raises(ValueError, match=r"^tokens must be integers from 0 to 95, got"):
        decode(np.array(tokens))


@pytest.mark.parametrize("kind, least", [("prose", 200_000), ("code", 500_000)])
def test_there_is_enough_text_and_nearly_all_of_it_can_be_encoded(kind, least, texts):
    tokens = encode(texts[kind])
    assert least < len(tokens) < 20 * least
    assert sum(character not in CHARACTERS for character in texts[kind]) < 1e-2 * len(tokens)
    assert len(set(tokens.tolist())) > 85


def test_prose_holds_every_topic_of_the_manual_in_order(texts):
    assert len(topics) > 50
    position = 0
    for name in sorted(topics):
        position = texts["prose"].index(topics[name], position) + len(topics[name])
    assert position == len(texts["prose"])


def test_code_holds_fifty_modules_in_order(texts):
    names = MODULES.split()
    assert len(names) == len(set(names)) == 50
    assert names == sorted(names)
    assert texts["code"].index(inspect.getsource(heapq)) < texts["code"].index(
        inspect.getsource(textwrap)
    )
    assert len(texts["code"].split("import ")) > 300


def test_the_last_tenth_is_held_out():
    train, held_out = split(np.arange(1005))
    np.testing.assert_array_equal(np.concatenate([train, held_out]), np.arange(1005))
    assert len(held_out) == 100


@pytest.mark.parametrize("kind, share", [("prose", 0.12), ("code", 0.02)])
def test_hardly_any_of_the_held_out_text_is_in_the_training_part(kind, share, texts):
    """In pieces of 60 characters, so that no model scores well on it by memory."""
    train, held_out = split(texts[kind])
    pieces = [held_out[start : start + 60] for start in range(0, len(held_out) - 60, 150)]
    assert sum(piece in train for piece in pieces) < share * len(pieces)


def test_windows_are_slices_and_their_targets_are_the_tokens_that_come_next(rng):
    tokens = rng.permutation(1000)
    inputs, targets = windows(rng, tokens, 300, 7)
    assert inputs.shape == targets.shape == (300, 7)
    for row, following in zip(inputs, targets):
        start = np.flatnonzero(tokens == row[0])[0]
        np.testing.assert_array_equal(row, tokens[start : start + 7])
        np.testing.assert_array_equal(following, tokens[start + 1 : start + 8])


def test_windows_start_wherever_they_fit(rng):
    """The first token and the last one are both seen, and each start is as likely as another."""
    inputs, targets = windows(rng, np.arange(10), 6000, 4)
    counts = np.bincount(inputs[:, 0])
    assert len(counts) == 6
    assert np.max(targets) == 9
    assert np.all(np.abs(counts - 1000) < 5 * np.sqrt(6000 * (1 / 6) * (5 / 6)))


def test_windows_depend_on_the_generator_alone():
    one, two, other = (
        windows(np.random.default_rng(seed), np.arange(99), 20, 3)[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert np.any(one != other)


def test_a_window_may_be_as_long_as_the_text_allows(rng):
    inputs, targets = windows(rng, np.arange(5), 2, 4)
    np.testing.assert_array_equal(inputs, [[0, 1, 2, 3]] * 2)
    np.testing.assert_array_equal(targets, [[1, 2, 3, 4]] * 2)


@pytest.mark.parametrize(
    "name, count, length", [("count", 0, 3), ("length", 2, 0), ("length", 2, 5)]
)
def test_windows_that_cannot_be_are_a_value_error(name, count, length, rng):
    with pytest.raises(ValueError, match=rf"^{name} must be an integer from 1 "):
        windows(rng, np.arange(5), count, length)


MISTAKES = {
    "encoding bytes": ("text", lambda rng: encode(b"abc")),
    "encoding nothing": ("text", lambda rng: encode(None)),
    "decoding a text": ("tokens", lambda rng: decode("abc")),
    "decoding one token": ("tokens", lambda rng: decode(5)),
    "decoding a table": ("tokens", lambda rng: decode(np.zeros((2, 2), int))),
    "splitting a number": ("tokens", lambda rng: split(5)),
    "splitting nothing": ("tokens", lambda rng: split(None)),
    "windows of a text": ("tokens", lambda rng: windows(rng, "a text", 1, 2)),
    "windows of one token": ("tokens", lambda rng: windows(rng, np.arange(1), 1, 1)),
    "windows of a table": ("tokens", lambda rng: windows(rng, np.zeros((2, 2), int), 1, 1)),
    "a seed": ("rng", lambda rng: windows(0, np.arange(9), 1, 1)),
    "half a window": ("count", lambda rng: windows(rng, np.arange(9), 0.5, 1)),
    "a length of 1.0": ("length", lambda rng: windows(rng, np.arange(9), 1, 1.0)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_a_value_error_that_names_the_argument(mistake, rng):
    name, call = MISTAKES[mistake]
    with pytest.raises(ValueError, match=rf"^{name} must be "):
        call(rng)


def test_a_text_in_place_of_its_tokens_is_a_value_error_that_says_what_to_write(rng):
    with pytest.raises(ValueError, match=r"^tokens must be .* try encode\('a text'\)$"):
        windows(rng, "a text", 1, 2)


def test_tokens_may_be_a_list(rng):
    assert decode([40, 41]) == "GH"
    inputs, targets = windows(rng, [1, 2], 1, 1)
    np.testing.assert_array_equal([inputs, targets], [[[1]], [[2]]])
