"""The lessons as files, with their solutions, with stubs to be filled in, or with neither.

A lesson is a script in cells, `tutorials/NN_name.py`; `tutorials/solutions/NN_name.py` has its
solutions, in cells that begin with `# Solution 1: …` to 3. An installed package has all of the
folder that lessons need, as `minilora/lessons`.
"""

import re
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent
_CELL = re.compile(r"^(?=# %%)", re.MULTILINE)
_EXERCISE = re.compile(r"^# ### Exercise (\d) ", re.MULTILINE)
_SOLUTION = re.compile(r"^# Solution (\d): ", re.MULTILINE)


def lesson_data(name):
    """The path of a file or folder that comes with the lessons, such as "results/real.json".

    It is the same in a clone of the repository and in an installed package, whatever folder a
    lesson runs in.
    """
    installed = _PACKAGE / "lessons"
    folder = installed if installed.is_dir() else _PACKAGE.parent / "tutorials"
    return folder / name


def lesson_files():
    """The scripts of all lessons, in order."""
    return sorted(lesson_data("").glob("[0-9][0-9]_*.py"))


def number_of(script):
    """The number of a lesson, with which its file's name begins."""
    return int(Path(script).stem[:2])


def _solutions_of(script):
    """{1: cells, 2: cells, 3: cells}: the solutions of a lesson, each a text of whole cells."""
    script = Path(script)
    text = (script.parent / "solutions" / script.name).read_text(encoding="utf-8")
    found = {}
    for cell in _CELL.split(text)[1:]:
        match = _SOLUTION.search(cell)
        number = int(match[1]) if match else max(found)
        found[number] = found.get(number, "") + cell
    return {number: cells.rstrip() + "\n\n" for number, cells in found.items()}


def with_cells(text, cells):
    """A lesson's text with cells after its exercises; cells: {1: text, 2: text, 3: text}."""
    parts = []
    for cell in _CELL.split(text):
        match = _EXERCISE.search(cell)
        parts.append(cell)
        if match and int(match[1]) in cells:
            parts[-1] = cell.rstrip() + "\n\n"
            parts.append(cells[int(match[1])])
    return "".join(parts)


def with_solutions(script, text=None):
    """The text of a lesson with its solutions after the exercises."""
    text = Path(script).read_text(encoding="utf-8") if text is None else text
    return with_cells(text, _solutions_of(script))


def with_links(text, suffix):
    """A lesson's text whose links to other lessons lead to files with a suffix, ".ipynb"."""
    return re.sub(r"\]\((\d\d_\w+)\.py\b", rf"](\1{suffix}", text)


def title_of(text):
    """The title of a lesson's text."""
    return re.search(r"^# # (.*)$", text, re.MULTILINE)[1]
