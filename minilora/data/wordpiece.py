"""BERT's tokens: text in lower case, words split into the longest pieces that the vocabulary has.

    "Unfathomably good!"  ->  [CLS] un ##fat ##hom ##ably good ! [SEP]

Devlin et al., 2018, arXiv 1810.04805, the uncased models; greedy longest match is WordPiece of Wu
et al., 2016, arXiv 1609.08144, section 4.1. Accents are dropped, and every punctuation mark and
Chinese character is a word of its own.
"""

import unicodedata

import numpy as np

from minilora.checks import check_count, check_texts

SPECIAL = {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}
_LONGEST = 100  # characters; a longer word is unknown
_CHINESE = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F))
_CHINESE += ((0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))


def tokenize(sentences, vocabulary, length):
    """tokens (N, length) and mask, True for a token and False for padding.

    sentences: N strings. vocabulary: {piece: token}, with [PAD], [UNK], [CLS] and [SEP]. A sentence
    of more than `length` tokens loses its end, but not its [SEP].

    Raises ValueError when sentences are not strings, the vocabulary lacks one of these four, or
    length is not an integer of at least 2.
    """
    check_texts("sentences", sentences)
    check_count("length", length, least=2)
    if not isinstance(vocabulary, dict) or not vocabulary.keys() >= SPECIAL:
        found = f"{type(vocabulary).__name__} {list(vocabulary or ())!r:.80}"
        raise ValueError(f"vocabulary must be a dict with {sorted(SPECIAL)}, got {found}")
    tokens = np.full((len(sentences), length), vocabulary["[PAD]"], np.int32)
    mask = np.zeros(tokens.shape, bool)
    for row, text in enumerate(sentences):
        pieces = [piece for word in words(text) for piece in word_pieces(word, vocabulary)]
        found = ["[CLS]", *pieces[: length - 2], "[SEP]"]
        tokens[row, : len(found)] = [vocabulary[piece] for piece in found]
        mask[row, : len(found)] = True
    return tokens, mask


def words(text):
    """The words of a text in lower case and without accents; a punctuation mark is a word."""
    decomposed = unicodedata.normalize("NFD", text)
    spaced = "".join(map(_spaced, decomposed))
    lowered = "".join(map(str.lower, spaced))  # one by one: at a word's end, Σ is σ and not ς
    return lowered.split()


def word_pieces(word, vocabulary):
    """The pieces of a word, each the longest that fits; all but the first begin with ##."""
    pieces = []
    start = 0
    while start < len(word) <= _LONGEST:
        prefix = "##" if start else ""
        ends = range(len(word), start, -1)
        end = next((end for end in ends if prefix + word[start:end] in vocabulary), start)
        if end == start:
            return ["[UNK]"]
        pieces.append(prefix + word[start:end])
        start = end
    return pieces or ["[UNK]"]


def _spaced(character):
    """A character of a decomposed text: kept, dropped, or with spaces around it."""
    kind = unicodedata.category(character)
    if character in "\t\n\r":  # the only control characters that are kept
        return character
    if kind in ("Mn", "Cc", "Cf", "Co", "Cs") or character == "\N{REPLACEMENT CHARACTER}":
        return ""
    symbol = character.isascii() and character.isprintable() and not character.isalnum()
    chinese = any(first <= ord(character) <= last for first, last in _CHINESE)
    return f" {character} " if symbol or chinese or kind[0] == "P" else character
