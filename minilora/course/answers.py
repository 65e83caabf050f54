"""Read answers from a file: a script, a notebook, or a lesson with answers written into it.

A plain script is run as it is. Of a notebook, and of a script in cells (`# %%`), only imports,
functions, classes, constants and the derivatives of primitives (autograd's `defvjp`) are taken, so
that nothing is trained again.
"""

import ast
import json
import tokenize
from pathlib import Path

_KEPT = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)


class UnreadableError(Exception):
    """The file cannot be read as answers; the message says why."""


def _read_source(path):
    """(source, in_cells) of a file of answers.

    Raises UnreadableError when there is no such file, or it is neither a script nor a notebook.
    """
    path = Path(path)
    try:
        if path.suffix == ".ipynb":
            return _notebook_source(path), True
        with tokenize.open(path) as file:
            source = file.read()
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror or error}") from None
    except (SyntaxError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path} is no Python script: {error}") from None
    return source, "\n# %%" in f"\n{source}"


def _notebook_source(path):
    """The code of all cells, without the lines that only IPython understands."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError):
        raise UnreadableError(f"{path} is no Jupyter notebook") from None
    lines = "\n".join(code).splitlines()
    return "\n".join(
        "" if line.lstrip().startswith(("%", "!", "?")) or line.rstrip().endswith("?") else line
        for line in lines
    )


def parse(path):
    """The syntax tree of what is run of a file.

    Raises UnreadableError, also when the syntax is wrong.
    """
    source, in_cells = _read_source(path)
    try:
        tree = ast.parse(source, filename=str(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if getattr(error, "lineno", None) else ""
        reason = getattr(error, "msg", None) or error
        raise UnreadableError(f"{path}{line}: {type(error).__name__}: {reason}") from None
    tree.in_cells = in_cells
    if in_cells:
        tree.body = [node for node in tree.body if _is_definition(node)]
    return tree


def _is_definition(node):
    """Whether a statement is an import, a function, a class, `RANK = 4` or `defvjp(…)`."""
    if isinstance(node, _KEPT):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return isinstance(node.value.func, ast.Name) and node.value.func.id == "defvjp"
    if not isinstance(node, ast.Assign):
        return False
    try:
        ast.literal_eval(node.value)
    except ValueError:
        return False
    return True


def names_in(tree):
    """The names that a file gives to functions, classes and values."""
    found = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def run(tree, path, wanted=None):
    """What a file defines, {name: value}; whatever the file raises is raised.

    Of a notebook, and of a script in cells, a definition that needs what is not run is left out;
    what it raises is raised if it is the wanted name.
    """
    namespace = {"__name__": Path(path).stem, "__file__": str(path)}
    if not tree.in_cells:
        exec(compile(tree, str(path), "exec"), namespace)
        return namespace
    for node in tree.body:
        one = ast.Module([node], type_ignores=[])
        try:
            exec(compile(one, str(path), "exec"), namespace)
        except Exception:
            if wanted in names_in(one):
                raise
    return namespace
