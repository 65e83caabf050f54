"""The text that every Python carries, its tokens and its windows."""

import heapq
import inspect
import string
import textwrap
from pydoc_data.topics import topics

import numpy as np
import pytest

from minilora.data.text import ALPHABET, MODULES, code, decode, encode, prose, split, windows


@pytest.fixture(scope="module")
def texts():
    return {"prose": prose(), "code": code()}


def test_the_alphabet_is_newline_and_the_printable_ascii_characters():
    assert len(ALPHABET) == len(set(ALPHABET)) == 96
    assert set(ALPHABET) == set(string.printable) - set("\t\r\v\f")


def test_decoding_undoes_encoding():
    text = ALPHABET + ALPHABET[::-1]
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
    with pytest.raises(ValueError, match=r"^tokens must be whole numbers in 0 … 95, got"):
        decode(np.array(tokens))


@pytest.mark.parametrize("kind, least", [("prose", 200_000), ("code", 500_000)])
def test_there_is_enough_text_and_nearly_all_of_it_is_in_the_alphabet(kind, least, texts):
    tokens = encode(texts[kind])
    assert least < len(tokens) < 20 * least
    assert sum(character not in ALPHABET for character in texts[kind]) < 1e-2 * len(tokens)
    assert len(set(tokens.tolist())) > 85


def test_prose_holds_every_topic_of_the_manual_in_order(texts):
    assert len(topics) > 50
    place = 0
    for name in sorted(topics):
        place = texts["prose"].index(topics[name], place) + len(topics[name])
    assert place == len(texts["prose"])


def test_code_holds_fifty_modules_in_order(texts):
    names = MODULES.split()
    assert len(names) == len(set(names)) == 50
    assert names == sorted(names)
    assert texts["code"].index(inspect.getsource(heapq)) < texts["code"].index(inspect.getsource(textwrap))
    assert len(texts["code"].split("import ")) > 300


def test_the_last_tenth_is_held_out():
    train, held_out = split(np.arange(1005))
    np.testing.assert_array_equal(np.concatenate([train, held_out]), np.arange(1005))
    assert len(held_out) == 100


@pytest.mark.parametrize("kind, share", [("prose", 0.12), ("code", 0.02)])
def test_hardly_any_of_what_is_held_out_stands_in_the_rest(kind, share, texts):
    """Of pieces of 60 characters of the held-out text: no model can score well on it by what it knows by heart."""
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
    one, two, other = (windows(np.random.default_rng(seed), np.arange(99), 20, 3)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert np.any(one != other)


def test_a_window_may_be_as_long_as_the_text_allows(rng):
    inputs, targets = windows(rng, np.arange(5), 2, 4)
    np.testing.assert_array_equal(inputs, [[0, 1, 2, 3]] * 2)
    np.testing.assert_array_equal(targets, [[1, 2, 3, 4]] * 2)


@pytest.mark.parametrize("name, count, length", [("count", 0, 3), ("length", 2, 0), ("length", 2, 5)])
def test_windows_that_cannot_be_are_a_value_error(name, count, length, rng):
    with pytest.raises(ValueError, match=rf"^{name} "):
        windows(rng, np.arange(5), count, length)
