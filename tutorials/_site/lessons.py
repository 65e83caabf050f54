"""What the site reads in a lesson's script: titles, alternative texts, and what it imports.

A lesson is plain Python, `tutorials/NN_name.py`. The site relies on these habits:

    # # LoRA by hand: two thin matrices     a title; what stands before the colon is its short one,
                                            for the side bar, of at most TITLE_LIMIT characters
    # alt: Loss against steps, four curves  above plt.show(): the figure in words, for those who
    plt.show()                              cannot see it; it may go on in the comment lines below
    # %% tags=["hide-input"]                code that only draws: folded
    # %% tags=["hide-cell"]                 a solution, in tutorials/solutions: folded, with output
    # > **Theorem (Eckart–Young).** …       a box; also **What do you expect?**
"""

import ast
import re
from pathlib import Path

from minilora.course.lessons import lesson_files, number_of, title_of

FOLDER = Path(__file__).parent.parent
TITLE_LIMIT = 32
FOLDS = ("hide-input", "hide-cell")
_NUMBERED = re.compile(r"\d\d_\w+")


def is_lesson(document):
    """Whether a page of this name, without its suffix, is a lesson."""
    return _NUMBERED.fullmatch(document) is not None


def text_of(script):
    """The whole script."""
    return script.read_text(encoding="utf-8")


def short_title(script):
    """The title up to its colon, which the side bar has."""
    return title_of(text_of(script)).partition(": ")[0]


def drawn(text):
    """For each plt.show() of a script or a cell: what `# alt:` above it says, or ""."""
    found = []
    for block in re.findall(r"((?:^ *#.*\n)*)^ *plt\.show\(\)", text, re.MULTILINE):
        words = " ".join(line.strip(" #") for line in block.splitlines())
        found.append(words.partition("alt: ")[2])
    return found


def imported(text):
    """(module, name) for every `from minilora… import name` of a script."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "minilora":
            yield from ((node.module, alias.name) for alias in node.names)


def named(text):
    """The modules of the package that a text names as `minilora/….py`."""
    files = re.findall(r"`(minilora/[\w/]+)\.py`", text)
    return {file.replace("/", ".") for file in files}


def broken_formulas(text):
    r"""Displayed formulas with both `\tag` and a line break.

    Sphinx puts a formula with a line break into a `split`, in which MathJax refuses a tag. In a
    matrix, `\cr` breaks a line as well.
    """
    prose = re.sub(r"^# ?", "", text, flags=re.MULTILINE)
    formulas = re.findall(r"\$\$.*?\$\$", prose, re.DOTALL)
    return [formula for formula in formulas if r"\tag" in formula and r"\\" in formula]


def numbered_title(script):
    """The short title with the number in front."""
    return f"{number_of(script)}. {short_title(script)}"


def table(needs):
    """The lessons as the start page lists them. needs: {"02_name": lessons that it builds on}."""
    rows = ["| | lesson | | builds on |", "|---|---|---|---|"]
    for script in lesson_files():
        head, _, rest = title_of(text_of(script)).partition(": ")
        numbers = ", ".join(str(int(one[:2])) for one in needs[script.stem])
        rows.append(f"| {number_of(script)} | [{head}]({script.name}) | {rest} | {numbers} |")
    return "\n".join(rows)


def contents():
    """The toctree of the lessons, which the side bar shows."""
    entries = [f"{numbered_title(script)} <{script.stem}>" for script in lesson_files()]
    return "\n".join(["```{toctree}", ":caption: Lessons", ":hidden:", "", *entries, "```"])
