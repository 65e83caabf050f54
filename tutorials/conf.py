"""How Sphinx makes the site out of the tutorials and of the docstrings:

    pip install -e '.[docs]'
    sphinx-build -W tutorials tutorials/_build/html

Each tutorial is run while its page is built. Neither the build nor the finished site needs a
network: the one script for formulas, MathJax, comes with a package of the [docs] extra.
"""

import importlib
import inspect
import os
import re
import shutil
from importlib.metadata import distribution
from pathlib import Path

import jupytext

import minilora

HERE = Path(__file__).parent
BUILD = HERE / "_build"
PACKAGE = HERE.parent / "minilora"
MATHJAX = ("sphinx-mathjax-offline", "sphinx-mathjax-offline/static/mathjax/tex-svg.js")

project = "minilora"
author = copyright = "the minilora developers"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "conf.py", "figures"]

smartquotes = False
html_theme = "furo"
html_title = "minilora"
html_static_path = ["_build/static"]
html_css_files = ["minilora.css"]
html_copy_source = False
highlight_language = "none"  # indented lines of docstrings are formulas; cells are Python anyway
mathjax_path = "tex-svg.js"

nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_output_stderr = "error"
nb_merge_streams = True
nb_code_prompt_show = "Show the solution"
nb_code_prompt_hide = "Hide the solution"
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

HEADER = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

"""
CSS = """
.content { width: 51em; }
div.highlight pre { font-size: 75%; }
div.cell_output pre { font-size: 75%; line-height: 1.35; }
div.highlight-none pre { font-size: 72%; line-height: 1.4; white-space: pre-wrap; }
div.math { overflow-y: hidden; }
div.cell_output img { max-width: 100%; height: auto; background: white; }
"""


def write_static_files():
    """MathJax's script, which draws formulas as SVG, and the style sheet."""
    static = BUILD / "static"
    static.mkdir(parents=True, exist_ok=True)
    (static / "minilora.css").write_text(CSS, encoding="utf-8")
    package, script = MATHJAX
    shutil.copy(distribution(package).locate_file(script), static / mathjax_path)


def write_notebooks():
    """Each tutorial as a notebook, to be downloaded from its page."""
    folder = BUILD / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    for script in HERE.glob("[0-9][0-9]_*.py"):
        notebook = jupytext.reads(HEADER + script.read_text(encoding="utf-8"), fmt="py:percent")
        jupytext.write(notebook, folder / f"{script.stem}.ipynb")


def write_api_pages():
    """A page for each file of the package, one for each folder, and one that lists them."""
    folder = HERE / "api"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    entries = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        is_package = path.stem == "__init__"
        if path.stem.startswith("_") and not is_package:
            continue
        module = module.removesuffix(".__init__")
        members = "" if is_package else "   :members:\n"  # what a folder exports is in its files
        page = f"{module}\n{'=' * len(module)}\n\n.. automodule:: {module}\n{members}"
        (folder / f"{module}.rst").write_text(page, encoding="utf-8")
        entries.append(module)
    (folder / "index.md").write_text(api_index(sorted(entries)), encoding="utf-8")


def api_index(entries):
    """The first page of the reference: what `from minilora import …` finds, and all files."""
    lines = ["# Reference", "", "Every public name, from the docstrings in the code.", ""]
    lines += ["## The front door", "", "`from minilora import …` finds these names:", ""]
    lines += ["| name | what it is |", "|---|---|"]
    for name in minilora.__all__:
        thing = getattr(minilora, name)
        summary = " ".join(inspect.getdoc(thing).split("\n\n")[0].split())
        link = f"{{py:obj}}`{name} <{thing.__module__}.{name}>`"
        lines.append(f"| {link} | {escaped(summary, '*|_$<[', '`')} |")
    lines += ["", "## All files", "", "```{toctree}", ":maxdepth: 1", "", *entries, "```", ""]
    return "\n".join(lines)


def prepare_tutorial(app, document, source):
    """Say that a tutorial is Python, and add links to its downloads and to the files it names."""
    if re.match(r"\d\d_", document):
        notebook = f"{{download}}`notebook <_build/notebooks/{document}.ipynb>`"
        script = f"{{download}}`script <{document}.py>`"
        links = f"*Download this page:* {notebook} · {script}"
        cell = f"\n# %% [markdown]\n# {links}\n\n# %%\n"
        text = HEADER + source[0].replace("\n# %%\n", cell, 1)
        source[0] = re.sub(r"^# .*`minilora/.*", link_files, text, flags=re.MULTILINE)


def link_files(line):
    """A line of prose in which every `minilora/….py` leads to its page of the reference."""
    parts = re.split(r"`minilora/([\w/]+)\.py`", line[0])
    for i in range(1, len(parts), 2):
        page = parts[i].replace("/", ".")
        parts[i] = f"[`minilora/{parts[i]}.py`](api/minilora.{page}.rst)"
    return "".join(parts)


def skip_fields(app, what, name, thing, skip, options):
    """Leave out the fields of named tuples: their docstrings are "Alias for field number 0"."""
    is_field = str(getattr(thing, "__doc__", "")).startswith("Alias for field number")
    return True if is_field else None


def as_paragraphs(app, what, name, thing, options, lines):
    """Docstrings are plain text: indented lines in them are formulas, and all else is prose."""
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines).strip("\n"))
    if what in ("class", "function"):
        paragraphs += shorter_import(name)
    lines[:] = [line for paragraph in paragraphs for line in (*as_rst(paragraph), "")]


def shorter_import(name):
    """How to import a function or class, if not from the file that defines it."""
    *parents, last = name.split(".")
    for depth in range(1, len(parents)):
        package = ".".join(parents[:depth])
        if last in getattr(importlib.import_module(package), "__all__", ()):
            return [f"Import it with `from {package} import {last}`."]
    return []


def as_rst(paragraph):
    """One paragraph of plain text in reStructuredText."""
    rows = paragraph.split("\n")
    nested = any(re.match(r" +- ", row) for row in rows)
    if nested or (rows[0][:2] not in ("- ", "1.") and any(row.startswith(" ") for row in rows)):
        return ["::", "", *(f"    {row}" for row in rows)]
    return [escaped(row) for row in rows]


def escaped(row, special="*|_", ticks="``"):
    """A line of prose, with what stands in backquotes as code and no other mark-up."""
    parts = re.split(r"`+", row)
    for i, part in enumerate(parts):
        if i % 2:
            parts[i] = f"{ticks}{part}{ticks}"
        else:
            parts[i] = re.sub(rf"([\\{re.escape(special)}])", r"\\\1", part)
    return "".join(parts)


def setup(app):
    """Called by Sphinx."""
    write_static_files()
    write_notebooks()
    write_api_pages()
    app.connect("source-read", prepare_tutorial)
    app.connect("autodoc-process-docstring", as_paragraphs)
    app.connect("autodoc-skip-member", skip_fields)
