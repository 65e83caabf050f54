"""Options that several commands have, and the checks behind them."""

import argparse
import os
import tempfile
from contextlib import suppress
from pathlib import Path

_FILE_SIZE = 1 << 18  # bytes; more than a figure takes


class UsageError(Exception):
    """A mistake of the user that parsing cannot see: usage, the message, exit code 2."""


def add_training_options(parser):
    """--seed and --fast, for commands that train."""
    parser.add_argument(
        "--seed",
        type=_seed_number,
        default=0,
        metavar="N",
        help="seed of everything that is drawn at random (%(default)s)",
    )
    parser.add_argument(
        "--fast",
        action="store_true",
        help="train less: seconds instead of minutes, lower accuracy",
    )


def add_out_option(parser, default):
    """--out, for commands that draw two figures."""
    parser.add_argument(
        "--out",
        type=folder,
        default=Path(default),
        metavar="FOLDER",
        help="folder for the two figures (%(default)s)",
    )


def _seed_number(text):
    """An integer from 0 up, for argparse."""
    return _integer_from(0, text)


def _integer_from(least, text):
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"must be an integer from {least} up, got {text!r}")
    return value


def positive(text):
    """An integer from 1 up, for argparse."""
    return _integer_from(1, text)


def folder(text):
    """A path with ~ expanded, for argparse."""
    if not text.strip():
        raise argparse.ArgumentTypeError("must name a folder, got ''; the current folder is '.'")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


def comma_separated(text):
    """A list of names, for argparse: "q,v" -> ["q", "v"]."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"must be names with a comma between them, got {text!r}")
    return names


def check_folder(path, files, argument="--out"):
    """Raise UsageError unless files of these names can be written into the folder; leaves no trace.

    Writes a file of the size of a figure, because a disk may be full or read-only. argument: which
    one names the folder, for the message.
    """
    created = [parent for parent in (path, *path.parents) if not os.path.exists(parent)]
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path, prefix="minilora-") as trial:
            trial.write(bytes(_FILE_SIZE))
            trial.flush()
        for file in files:
            if os.path.lexists(path / file):
                with open(path / file, "ab"):
                    pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        place = getattr(error, "filename", None) or path
        if str(place) != str(path):
            reason = f"{reason} ({place})"
        raise UsageError(f"argument {argument}: cannot write into {path}: {reason}") from error
    finally:
        for parent in created:
            with suppress(OSError):
                parent.rmdir()
