"""The reference: a page for each file of the package, made from its docstrings. A Sphinx extension.

Each page leads to the file's source and to the lessons that name the file or import from it.
"""

import functools
import importlib
import inspect
import shutil
from collections import defaultdict

import minilora
from _site import docstrings, lessons
from minilora.course.lessons import lesson_files

PAGES = lessons.FOLDER / "api"
PACKAGE = lessons.FOLDER.parent / "minilora"


@functools.cache
def files():
    """module -> its file, for every file of the package whose name has no underscore in front."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        if path.stem == "__init__" or not path.stem.startswith("_"):
            found[module.removesuffix(".__init__")] = path
    return dict(sorted(found.items()))


def write_pages():
    """Write every page anew."""
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir()
    readers = lessons_of_modules()
    for module, path in files().items():
        text = page(module, path, readers[module])
        (PAGES / f"{module}.rst").write_text(text, encoding="utf-8")
    (PAGES / "index.md").write_text(index(), encoding="utf-8")


def page(module, path, readers):
    """The page of one file. What a folder exports is in its files, so it has no members itself."""
    is_package = path.stem == "__init__"
    lines = [module, "=" * len(module), ""]
    if has_source_page(module):
        place = path.relative_to(PACKAGE.parent).as_posix()
        source = f"../_modules/{module.replace('.', '/')}.html"
        lines += [f"| Source: `{place} <{source}>`__"]
    if readers:
        links = [f":doc:`{title} <../{stem}>`" for title, stem in readers]
        lines += [f"| {'Lessons' if len(links) > 1 else 'Lesson'}: {', '.join(links)}"]
    lines += ["", f".. automodule:: {module}", *([] if is_package else ["   :members:"]), ""]
    return "\n".join(lines)


def has_source_page(module):
    """Whether viewcode shows a file: it does if a public function or class is defined there."""
    return any(
        inspect.isroutine(thing) or inspect.isclass(thing)
        for name, thing in vars(importlib.import_module(module)).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == module
    )


def lessons_of_modules():
    """module -> (numbered title, page) of each lesson that names it or imports from it."""
    readers = defaultdict(list)
    for script in lesson_files():
        text = lessons.text_of(script)
        modules = lessons.named(text)
        modules |= {home(module, name) for module, name in lessons.imported(text)}
        for module in modules:
            readers[module].append((lessons.numbered_title(script), script.stem))
    return readers


def home(module, name):
    """The file that defines what `from module import name` finds, which may be a file itself."""
    if f"{module}.{name}" in files():
        return f"{module}.{name}"
    place = getattr(getattr(importlib.import_module(module), name), "__module__", module)
    return place if place in files() else module


def index():
    """The first page of the reference: what `from minilora import …` finds, and all files."""
    lines = ["# Reference", "", "Every public name, from the docstrings in the code.", ""]
    lines += ["## The front door", "", "`from minilora import …` finds these names:", ""]
    lines += ["| name | what it is |", "|---|---|"]
    for name in minilora.__all__:
        thing = getattr(minilora, name)
        summary = " ".join(inspect.getdoc(thing).split("\n\n")[0].split())
        link = f"{{py:obj}}`{name} <{thing.__module__}.{name}>`"
        lines.append(f"| {link} | {docstrings.escaped(summary, '*|_$<[', '`')} |")
    entries = [f"{module.removeprefix('minilora.')} <{module}>" for module in files()]
    lines += ["", "## All files", "", "```{toctree}", ":maxdepth: 1", "", *entries, "```", ""]
    return "\n".join(lines)


def setup(app):
    """Called by Sphinx."""
    write_pages()
    app.connect("autodoc-process-docstring", docstrings.as_paragraphs)
    app.connect("autodoc-skip-member", docstrings.skip_fields)
    return {"parallel_read_safe": True}
