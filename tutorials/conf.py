"""How Sphinx makes the site out of the tutorials and of the docstrings:

    pip install -e '.[docs]'
    sphinx-build -W tutorials tutorials/_build/html

Each tutorial is run while its page is built. The finished site needs no network: its one script for formulas, MathJax,
is fetched here once, from the npm registry, and its checksum is compared.
"""

import hashlib
import io
import os
import re
import tarfile
import urllib.request
from pathlib import Path

import jupytext

HERE = Path(__file__).parent
BUILD = HERE / "_build"
PACKAGE = HERE.parent / "minilora"
MATHJAX = "https://registry.npmjs.org/mathjax/-/mathjax-3.2.2.tgz"
MATHJAX_SHA256 = "d4295dc33744836935c1399feece5159577b34c5c8ffb9f1c6324cd82e03a882"  # of es5/tex-svg.js in it

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
highlight_language = "none"  # what is indented in docstrings is mathematics; the cells of notebooks are Python anyway
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
div.cell_output img { max-width: 100%; height: auto; background: white; }
"""


def fetch_mathjax():
    """tex-svg.js, which draws formulas, out of the npm package."""
    with urllib.request.urlopen(MATHJAX, timeout=120) as answer:
        packed = io.BytesIO(answer.read())
    with tarfile.open(fileobj=packed) as archive:
        script = archive.extractfile("package/es5/tex-svg.js").read()
    if hashlib.sha256(script).hexdigest() != MATHJAX_SHA256:
        raise ValueError(f"{MATHJAX} does not hold the tex-svg.js that this site was made with")
    return script


def write_static_files():
    """MathJax, unless it is there, and the style sheet."""
    static = BUILD / "static"
    static.mkdir(parents=True, exist_ok=True)
    (static / "minilora.css").write_text(CSS, encoding="utf-8")
    if not (static / mathjax_path).exists():
        (static / mathjax_path).write_bytes(fetch_mathjax())


def write_notebooks():
    """Each tutorial as a notebook, to be downloaded from its page."""
    folder = BUILD / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    for script in HERE.glob("[0-9][0-9]_*.py"):
        notebook = jupytext.reads(HEADER + script.read_text(encoding="utf-8"), fmt="py:percent")
        jupytext.write(notebook, folder / f"{script.stem}.ipynb")


def write_api_pages():
    """A page for each file of the package, and one that lists them."""
    folder = HERE / "api"
    folder.mkdir(exist_ok=True)
    lines = ["# Reference", "", "Every public name, from the docstrings in the code.", ""]
    entries = []
    for path in sorted(PACKAGE.rglob("[!_]*.py")):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        title = f"{module}\n{'=' * len(module)}\n\n"
        (folder / f"{module}.rst").write_text(f"{title}.. automodule:: {module}\n   :members:\n", encoding="utf-8")
        entries.append(module)
    lines += ["```{toctree}", ":maxdepth: 1", "", *entries, "```", ""]
    (folder / "index.md").write_text("\n".join(lines), encoding="utf-8")


def prepare_tutorial(app, document, source):
    """Say that a tutorial is Python, add links to its downloads, and let links to source files lead to their pages."""
    if re.match(r"\d\d_", document):
        links = f"{{download}}`notebook <_build/notebooks/{document}.ipynb>` · {{download}}`script <{document}.py>`"
        cell = f"\n# %% [markdown]\n# *Download this page:* {links}\n\n# %%\n"
        text = HEADER + source[0].replace("\n# %%\n", cell, 1)
        source[0] = re.sub(r"\]\(\.\./([\w/]+)\.py\)", lambda found: f"](api/{found[1].replace('/', '.')}.rst)", text)


def as_paragraphs(app, what, name, thing, options, lines):
    """Docstrings are plain text. Indented lines in them are formulas, kept as they stand; all else is prose."""
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines).strip("\n"))
    lines[:] = [line for paragraph in paragraphs for line in (*as_rst(paragraph), "")]


def as_rst(paragraph):
    """One paragraph of plain text in reStructuredText."""
    rows = paragraph.split("\n")
    nested = any(re.match(r" +- ", row) for row in rows)
    if nested or (rows[0][:2] not in ("- ", "1.") and any(row.startswith(" ") for row in rows)):
        return ["::", "", *(f"    {row}" for row in rows)]
    return [escaped(row) for row in rows]


def escaped(row):
    """A line of prose, with what stands in backquotes as code and no other mark-up."""
    parts = re.split(r"`+", row)
    return "".join(f"``{part}``" if i % 2 else re.sub(r"([\\*|_])", r"\\\1", part) for i, part in enumerate(parts))


def setup(app):
    """Called by Sphinx."""
    write_static_files()
    write_notebooks()
    write_api_pages()
    app.connect("source-read", prepare_tutorial)
    app.connect("autodoc-process-docstring", as_paragraphs)
