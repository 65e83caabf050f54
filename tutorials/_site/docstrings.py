"""Docstrings are plain text: indented lines in them are formulas, and all else is prose."""

import importlib
import re


def skip_fields(app, what, name, thing, skip, options):
    """Leave out the fields of named tuples: their docstrings are "Alias for field number 0"."""
    is_field = str(getattr(thing, "__doc__", "")).startswith("Alias for field number")
    return True if is_field else None


def as_paragraphs(app, what, name, thing, options, lines):
    """Turn the lines of a docstring into reStructuredText, and say how a name is imported."""
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
    items = [i for i, row in enumerate(rows) if row.startswith("- ")]
    if items and all(re.match(r"- | {2}\S", row) for row in rows[items[0] :]):
        rows.insert(items[0], "")  # the line that introduces a list is a paragraph of its own
        return [escaped(row) for row in rows]
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
