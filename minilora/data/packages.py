"""Files that come from the Python package index: found in a folder, and compared before use.

Nothing here downloads. A `Package` names its file, the checksum of the file, and the command that
fetches it; the file is read where it lies, and nothing in it is ever run.
"""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple


class Package(NamedTuple):
    """A file of a package, with the command that puts it into the folder `real`."""

    file: str
    sha256: str
    command: str


def locate(package, folder):
    """The path of a package's file in the folder.

    Raises ValueError, with the command that fetches it, when it is missing or another file.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise ValueError(f"folder must be a path, got {folder!r:.80}")
    path = Path(folder, package.file)
    if problem := _problem(path, package):
        raise ValueError(f"{path}: {problem}; this fetches it: {package.command}")
    return path


def _problem(path, package):
    """What is wrong with the file, or an empty string."""
    try:
        found = _digest(path)
    except OSError as error:
        return error.strerror or str(error)
    if found != package.sha256:
        return f"its SHA-256 is {found[:12]}…, expected {package.sha256[:12]}…"
    return ""


def _digest(path):
    """The SHA-256 of a file, read piece by piece, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
