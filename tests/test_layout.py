"""The shape of the package: imports run one way, files stay short."""

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "minilora"
ORDER = (
    "linalg", "scaling", "tables", "adapters.full", "adapters.lora", "adapters.sbora", "adapters.hra",
    "adapters.hra_strict", "adapters.condlora", "adapters", "quantize", "attach", "shapes", "peft_io", "models",
    "models.mlp", "models.transformer", "data", "data.glyphs", "data.text", "data.teacher", "train", "theorems",
    "theorems.linear", "theorems.relu", "theorems.transformer", "theorems.reachable", "analysis", "plots", "tours",
    "tours.method", "tours.letters", "tours.text", "tours.count", "__main__",
)  # fmt: skip
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
}
every_module = pytest.mark.parametrize("module", MODULES)


def imports(path):
    """The names of the modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def code_lines(path):
    """How many lines hold code: docstrings, comments and blank lines do not count."""
    source = path.read_text(encoding="utf-8")
    docstrings = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings |= set(range(node.lineno, node.end_lineno + 1))
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    code = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in silent:
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - docstrings)


def test_every_module_has_a_place_in_the_order():
    assert set(ORDER) == set(MODULES)


@every_module
def test_a_module_imports_only_from_modules_above_it(module):
    allowed = set(ORDER[: ORDER.index(module)])
    own = {name.removeprefix("minilora.") for name in imports(MODULES[module]) if name.startswith("minilora.")}
    assert own & set(ORDER) <= allowed


def test_adapters_do_not_import_each_other_and_models_no_adapters():
    for module, path in MODULES.items():
        if module.startswith(("adapters.", "models.")):
            assert not [name for name in imports(path) if name.startswith("minilora.adapters")], module


def test_only_the_letters_and_the_plots_import_matplotlib():
    users = {module for module, path in MODULES.items() if any(n.split(".")[0] == "matplotlib" for n in imports(path))}
    assert users == {"data.glyphs", "plots"}


def test_importing_the_library_does_not_import_matplotlib():
    code = "import sys, minilora.attach, minilora.train, minilora.models.mlp; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_files_and_functions_stay_short():
    lengths = {module: code_lines(path) for module, path in MODULES.items()}
    assert {module: n for module, n in lengths.items() if n > 150} == {}
    assert {module: n for module, n in lengths.items() if module.startswith("adapters.") and n > 60} == {}
    assert sum(lengths.values()) <= 1600
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.body[0].lineno < 40, f"{module}.{node.name}"


def test_the_packages_are_listed_for_installation():
    listed = (
        (PACKAGE.parent / "setup.cfg").read_text(encoding="utf-8").split("packages =")[1].split("python_requires")[0]
    )
    assert set(listed.split()) == {
        ".".join(path.parent.relative_to(PACKAGE.parent).parts) for path in PACKAGE.rglob("*.py")
    }
