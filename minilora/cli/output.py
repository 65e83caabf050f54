"""Printing that cannot lose work: any encoding, no stdout at all, a closed pipe, a full disk.

A stdout that is piped or redirected has the encoding of its system, on Windows often cp1252 or
cp437, which lack some of → − λ. They are spelled out, "->", "-" and "lambda", instead of raising.
"""

import codecs
import errno
import io
import os
import sys
import unicodedata
from contextlib import suppress

from minilora.tables import aligned

_SPELLED = {
    "→": "->",
    "−": "-",
    "–": "-",
    "×": "x",
    "·": "*",
    "…": "...",
    "≤": "<=",
    "≥": ">=",
    "√": "sqrt ",
    "°": " degrees",
    "±": "+-",
    "∞": "inf",
    "⁻": "^-",
    "‖": "||",
    "²": "^2",
    "ᵀ": "^T",
    "∝": "~",
    "\N{COMBINING MACRON}": "_bar",
}
_HANDLER = "minilora.spelled_out"


class OutputError(Exception):
    """Stdout takes no more text; the cause is the OSError that says why."""


def survive_any_output():
    """From now on, printing raises for no character, nor when stdout or stderr is missing.

    Affects this process's stdout and stderr; call it at the start of a script.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # pythonw, or closed by the shell
            setattr(sys, name, _Nowhere())
        elif hasattr(stream, "reconfigure"):  # not so in notebooks, which take every character
            stream.reconfigure(errors=_HANDLER)


def print_line(text):
    """Print text and a line break at once. Raises OutputError when stdout takes no more."""
    try:
        print(text, flush=True)
    except OSError as error:
        raise OutputError from error


def flush_output():
    """Send on what was printed so far. Raises OutputError when stdout takes no more."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise OutputError from error


class PatientPrinter:
    """Prints lines until stdout takes no more; then it stays silent, so that files can be written.

    Call it with a line. Call `raise_error` at the end.
    """

    def __init__(self):
        self._error = None

    def __call__(self, text):
        """Print a line, unless an earlier one has failed."""
        if self._error is None:
            try:
                print_line(text)
            except OutputError as error:
                self._error = error

    def raise_error(self):
        """Raise the OutputError that was held back, if any."""
        if self._error is not None:
            raise self._error


class _Nowhere(io.TextIOBase):
    """A stream that drops what it is given."""

    def write(self, text):
        """Drop the text."""
        return len(text)


def close_output(error):
    """Drop what stdout did not take, for an OutputError; returns its cause, None for a closed pipe.

    Without this, Python tries to print the rest when it exits and complains.
    """
    with suppress(OSError, AttributeError):  # a stdout in memory has no file number
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    cause = error.__cause__
    # Windows calls a closed pipe an invalid argument.
    closed_pipe = isinstance(cause, BrokenPipeError) or cause.errno == errno.EINVAL
    return None if closed_pipe else cause


def printable(text):
    """The text with an escape such as \\x1b for all that could move or colour what is printed.

    For names from a file: line breaks, control characters, marks that reverse the text's direction.
    """
    return "".join(c if c.isprintable() or c == " " else repr(c)[1:-1] for c in text)


def counted(count, word):
    """A number and a word, in the plural unless the number is 1."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def table(rows):
    """Rows of cells as `aligned` lines, which stay aligned where stdout lacks a character.

    Cells are made `printable`.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    spelled = []
    for row in rows:
        cells = [printable(cell) for cell in row]
        spelled.append([cell.encode(encoding, _HANDLER).decode(encoding) for cell in cells])
    return aligned(spelled)


def _spell_out(error):
    """What a codec does with characters that it lacks: see `codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(map(_spelled, missing)), error.end


def _spelled(character):
    """ASCII for one character, such as "lambda" for λ and 1 for ₁; "?" when nothing is known."""
    if character in _SPELLED:
        return _SPELLED[character]
    words = unicodedata.name(character, "").split()
    if words[:1] == ["GREEK"] and "LETTER" in words[:3]:
        letter = words[3].lower().replace("lamda", "lambda")
        return letter.capitalize() if "CAPITAL" in words else letter
    base = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return base or "?"


codecs.register_error(_HANDLER, _spell_out)
