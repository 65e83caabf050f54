"""Run tutorials as a student starts them, with their solutions, beside the other tests."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).parent.parent.parent / "tutorials"
TUTORIALS = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
LONG = 15  # seconds; a tutorial that takes more is run by `pytest -m long`
_ENCODINGS = ("ascii", "cp1252")

# What other packages deprecate among themselves is theirs. plt.show() has nothing to do without a
# screen, and matplotlib says so where it thinks that there is one.
_FILTERS = (
    "error",
    "ignore::DeprecationWarning",
    "error::DeprecationWarning:__main__",
    "ignore:FigureCanvasAgg is non-interactive:UserWarning",
)
_WARNINGS = [f"-W{filter}" for filter in _FILTERS]


def encoding_for(script):
    """Every second tutorial prints in the one encoding, the others in the other."""
    return _ENCODINGS[TUTORIALS.index(script) % len(_ENCODINGS)]


def stated_seconds(script):
    """How long a tutorial says that it takes to run."""
    text = script.read_text(encoding="utf-8")
    return int(re.search(r"(\d+)\s(?:# )?seconds\s(?:# )?to\s(?:# )?run", text)[1])


def run(script):
    """The finished process of a tutorial with its solutions; __file__ is the tutorial's own."""
    encoding = encoding_for(script)
    code = f"""
from minilora.course.lessons import with_solutions
script = {str(script)!r}
names = {{"__name__": "__main__", "__file__": script}}
exec(compile(with_solutions(script), script, "exec"), names)
"""
    environment = {
        **os.environ,
        "MPLBACKEND": "agg",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONIOENCODING": encoding,
    }
    return subprocess.run(
        [sys.executable, *_WARNINGS, "-c", code],
        cwd=script.parent,
        env=environment,
        capture_output=True,
        encoding=encoding,
        errors="replace",
    )


class Runs:
    """Tutorials that run in the background, the longest first, each on a core.

    spared: cores that are left to other tests.
    """

    def __init__(self, scripts, spared):
        self._pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - spared))
        longest_first = sorted(scripts, key=stated_seconds, reverse=True)
        self._runs = {script: self._pool.submit(run, script) for script in longest_first}

    def finished(self, script):
        """The finished process of a tutorial."""
        return self._runs[script].result()

    def stop(self):
        """Start no more."""
        self._pool.shutdown(cancel_futures=True)
