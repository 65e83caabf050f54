"""A lesson as a notebook: for its page, and to be downloaded. A Sphinx extension.

The page of a lesson is a notebook that is run while the site is built. `read` makes it, and adds to
the cells what Sphinx needs to know and a script cannot say: prompts and alternative texts.
"""

import re

import jupytext

from _site import lessons
from _site.map import start_page
from minilora.course.editions import as_notebook, student_text
from minilora.course.lessons import lesson_files, with_solutions

DOWNLOADS = lessons.FOLDER / "_build" / "notebooks"


def read(text):
    """The notebook of a script, for its page."""
    notebook = as_notebook(text)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            describe(cell)
    return notebook


def describe(cell):
    """Give a code cell the prompt of its fold, and its figure an alternative text."""
    options = {}
    if "hide-input" in cell.metadata.get("tags", ()):
        options["code_prompt_show"] = "Show the drawing code"
        options["code_prompt_hide"] = "Hide the drawing code"
    words = [alt for alt in lessons.drawn(cell.source) if alt]
    if words:
        options["image"] = {"alt": "; ".join(words)}
    if options:
        cell.metadata["mystnb"] = options


def write_downloads():
    """Each lesson as a notebook for students, with room for their answers."""
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    for script in lesson_files():
        notebook = as_notebook(student_text(script))
        jupytext.write(notebook, DOWNLOADS / f"{script.stem}.ipynb")


def prepare_page(app, document, source):
    """Add to a lesson links to its downloads and to the files that it names; list the lessons."""
    if document == "index":
        texts = {script.stem: lessons.text_of(script) for script in lesson_files()}
        titles = {script.stem: lessons.numbered_title(script) for script in lesson_files()}
        source[0] = source[0].replace("<!-- lessons -->", lessons.contents())
        source[0] = source[0].replace("<!-- map -->", start_page(texts, titles))
    if lessons.is_lesson(document):
        notebook = f"{{download}}`notebook <_build/notebooks/{document}.ipynb>`"
        script = f"{{download}}`script <{document}.py>`"
        cell = f"\n# %% [markdown]\n# *Download this page:* {notebook} · {script}\n\n# %%"
        lesson = with_solutions(lessons.FOLDER / f"{document}.py", source[0])
        text = re.sub(r"\n# %%(?! \[markdown\])", cell, lesson, count=1)
        source[0] = re.sub(r"^# .*`minilora/.*", _link_files, text, flags=re.MULTILINE)


def _link_files(line):
    """A line of prose in which every `minilora/….py` leads to its page of the reference."""
    parts = re.split(r"`minilora/([\w/]+)\.py`", line[0])
    for i in range(1, len(parts), 2):
        page = parts[i].replace("/", ".")
        parts[i] = f"[`minilora/{parts[i]}.py`](api/minilora.{page}.rst)"
    return "".join(parts)


def setup(app):
    """Called by Sphinx."""
    write_downloads()
    app.connect("source-read", prepare_page)
    return {"parallel_read_safe": True}
