"""How Sphinx makes the site out of the tutorials and of the docstrings:

    pip install -e '.[docs]'
    sphinx-build -W tutorials tutorials/_build/html

Each tutorial is run while its page is built. Neither the build nor the finished site needs a
network: the one script for formulas, MathJax, comes with a package of the [docs] extra. The folder
_site has the extensions that know the tutorials and the package, and the style sheet.
"""

import os
import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path

HERE = Path(__file__).parent
MATHJAX = ("sphinx-mathjax-offline", "sphinx-mathjax-offline/static/mathjax/tex-svg.js")

sys.path.insert(0, str(HERE))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.pop("MPLBACKEND", None)  # figures get onto a page by a notebook's own backend only

project = "minilora"
author = copyright = "the minilora developers"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "_site.notebooks",
    "_site.boxes",
    "_site.reference",
]
exclude_patterns = ["_build", "_site", "assignment", "conf.py", "figures", "solutions"]

smartquotes = False
html_theme = "furo"
html_title = "minilora"
html_static_path = ["_site/static", "_build/static"]
html_css_files = ["minilora.css"]
html_js_files = [("formulas.js", {"defer": "defer"})]
html_copy_source = False
highlight_language = "none"  # indented lines of docstrings are formulas; cells are Python anyway
mathjax_path = "tex-svg.js"

nb_custom_formats = {".py": "_site.notebooks.read"}
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


def copy_mathjax():
    """MathJax's script, which draws formulas as SVG, for the finished site."""
    static = HERE / "_build" / "static"
    static.mkdir(parents=True, exist_ok=True)
    package, script = MATHJAX
    shutil.copy(distribution(package).locate_file(script), static / mathjax_path)


def setup(app):
    """Called by Sphinx."""
    copy_mathjax()
