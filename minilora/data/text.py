"""Text that every Python carries: prose, from its own manual, and code, from its own library.

A character is a token: newline and the 95 printable ASCII characters, 96 in all. A model of text
sees a window of T tokens and predicts, at each position, the token that comes next:

    inputs   "The w"          tokens[start : start + T]
    targets  "he wo"          tokens[start + 1 : start + T + 1]

The texts differ a little from one version of Python to the next, so no result that is measured on
them is exact.
"""

import sysconfig
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

from minilora.checks import check_count, check_rng

CHARACTERS = "\n" + "".join(chr(point) for point in range(32, 127))
_TOKEN = {character: token for token, character in enumerate(CHARACTERS)}

# Pure Python, and one file each, in Python 3.10 and all that follow.
MODULES = """argparse ast base64 bdb bisect calendar cmd code codeop configparser contextlib copy
    csv dataclasses difflib dis doctest enum filecmp fileinput fnmatch fractions functools getopt
    gettext glob graphlib gzip heapq inspect ipaddress linecache mailbox mimetypes numbers optparse
    pickle platform pprint queue random shlex shutil statistics subprocess tempfile textwrap
    tokenize traceback weakref"""


def prose():
    """What `help("…")` says about Python's statements, operators and types, sorted by topic."""
    return "\n".join(topics[name] for name in sorted(topics))


def code():
    """The source of the fifty modules of the standard library in MODULES, one after the other."""
    library = Path(sysconfig.get_path("stdlib"))
    files = [library / f"{name}.py" for name in MODULES.split()]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def encode(text):
    """The tokens (n,) of a text, integers from 0 to 95.

    A tab becomes four spaces; a character outside CHARACTERS becomes "?".

    Raises ValueError when text is not a str.
    """
    if not isinstance(text, str):
        raise ValueError(f"text must be a str, got {type(text).__name__}: {text!r:.80}")
    unknown = _TOKEN["?"]
    characters = text.replace("\t", "    ")
    return np.array([_TOKEN.get(character, unknown) for character in characters], np.int64)


def decode(tokens):
    """The text of tokens (n,). Raises ValueError unless all are integers from 0 to 95."""
    tokens = _as_sequence(tokens)
    integers = tokens.dtype.kind in "iu"
    if tokens.size and (not integers or tokens.min() < 0 or tokens.max() >= len(CHARACTERS)):
        last = len(CHARACTERS) - 1
        raise ValueError(f"tokens must be integers from 0 to {last}, got {tokens}")
    return "".join(CHARACTERS[token] for token in tokens)


def split(tokens):
    """(training part, held-out part) of tokens or of a text; held out is the last tenth.

    The manual repeats itself: 8 to 9 % of the held-out prose, in pieces of 60 characters, occurs in
    the training part as well. Of the held-out code it is less than 1 %.

    Raises ValueError unless tokens is a text or has one axis.
    """
    if not isinstance(tokens, str):
        tokens = _as_sequence(tokens)
    cut = len(tokens) - len(tokens) // 10
    return tokens[:cut], tokens[cut:]


def windows(rng, tokens, count, length):
    """inputs and targets (count, length): windows at random positions, and the same a token later.

    Raises ValueError unless rng is a generator, tokens has one axis, count is an integer of at
    least 1, and length an integer from 1 to one less than the number of tokens.
    """
    check_rng(rng)
    tokens = _as_sequence(tokens)
    if len(tokens) < 2:
        raise ValueError(f"tokens must be at least 2, an input and a target, got {len(tokens)}")
    check_count("count", count)
    check_count("length", length, most=len(tokens) - 1)
    starts = rng.integers(len(tokens) - length, size=count)
    positions = starts[:, None] + np.arange(length + 1)
    found = tokens[positions]
    return found[:, :-1], found[:, 1:]


def _as_sequence(tokens):
    """Tokens as an array. Raises ValueError unless it has one axis."""
    if isinstance(tokens, str):
        raise ValueError(
            f"tokens must be an array of tokens, got a str: try encode({tokens!r:.20})"
        )
    if np.ndim(tokens) != 1:
        raise ValueError(f"tokens must be an array with one axis, got {tokens!r:.80}")
    return np.asarray(tokens)
