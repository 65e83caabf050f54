"""Text that every Python carries: prose, from its own manual, and code, from its own library. Both as small numbers.

A character is a token: newline and the 95 printable ASCII characters, 96 in all. A model of text sees a window of T
tokens and is to tell, at each place, the token that comes next:

    inputs   "The w"          tokens[start : start + T]
    targets  "he wo"          tokens[start + 1 : start + T + 1]

The texts differ a little from one version of Python to the next, so no number that is measured on them is exact.
"""

import sysconfig
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

from minilora.linalg import check_count

ALPHABET = "\n" + "".join(chr(point) for point in range(32, 127))
TOKEN = {character: token for token, character in enumerate(ALPHABET)}

# Pure Python, and one file each, in Python 3.10 and all that follow.
MODULES = """argparse ast base64 bdb bisect calendar cmd code codeop configparser contextlib copy csv dataclasses
    difflib dis doctest enum filecmp fileinput fnmatch fractions functools getopt gettext glob graphlib gzip heapq
    inspect ipaddress linecache mailbox mimetypes numbers optparse pickle platform pprint queue random shlex shutil
    statistics subprocess tempfile textwrap tokenize traceback weakref"""


def prose():
    """What `help("…")` says about Python's statements, operators and types, in alphabetical order of the topics."""
    return "\n".join(topics[name] for name in sorted(topics))


def code():
    """The source of fifty modules of the standard library, one after the other."""
    library = Path(sysconfig.get_path("stdlib"))
    return "\n".join((library / f"{name}.py").read_text(encoding="utf-8") for name in MODULES.split())


def encode(text):
    """Tokens (n,) from 0 to 95 of a text. A tab becomes four spaces; a character outside ALPHABET becomes "?"."""
    return np.array([TOKEN.get(character, TOKEN["?"]) for character in text.replace("\t", "    ")], np.int64)


def decode(tokens):
    """The text of tokens (n,). Raises ValueError when one is not a whole number from 0 to 95."""
    tokens = np.asarray(tokens)
    if tokens.size and (tokens.dtype.kind not in "iu" or tokens.min() < 0 or tokens.max() >= len(ALPHABET)):
        raise ValueError(f"tokens must be whole numbers in 0 … {len(ALPHABET) - 1}, got {tokens}")
    return "".join(ALPHABET[token] for token in tokens)


def split(tokens):
    """(to train on, held out): the held-out part is the last tenth, rounded down.

    The manual repeats itself: 8 to 9 % of the held-out prose, in pieces of 60 characters, stands in the rest as well.
    Of the held-out code it is less than 1 %.
    """
    cut = len(tokens) - len(tokens) // 10
    return tokens[:cut], tokens[cut:]


def windows(rng, tokens, count, length):
    """inputs and targets, both (count, length): windows that start at random places, and the same one token later.

    Raises ValueError when count is below 1, or when length is not from 1 to one less than the number of tokens.
    """
    check_count("count", count)
    check_count("length", length, most=len(tokens) - 1)
    starts = rng.integers(len(tokens) - length, size=count)
    found = tokens[starts[:, None] + np.arange(length + 1)]
    return found[:, :-1], found[:, 1:]
