"""The shape of the package: imports run one way, names mean one thing, files stay short."""

import ast
import configparser
import io
import subprocess
import sys
import tokenize
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "minilora"
# A module imports only from modules that stand before it.
ORDER = """
    checks ops weight tables
    adapters.scaling adapters.full adapters.lora adapters.sbora adapters.hra adapters.hra_strict
    adapters.condlora adapters
    family.bias family.gains family.frozen_factors family.pissa family.products family.orthogonal
    family.sparse family.reach family
    quantization matching attachment
    architectures.table architectures.counting architectures.names architectures.families
    architectures.entries architectures.from_config architectures.released architectures
    peft.patterns peft.safetensors peft.settings peft.names peft.checkpoint peft.orientation
    peft.reading peft.writing peft.advice peft.files peft
    models models.mlp models.transformer models.encoder
    data data.glyphs data.text data.teacher data.packages data.wordpiece data.bert data.reviews
    train.tape train.optimizer train.loop train
    theorems theorems.chain theorems.linear theorems.relu theorems.witness theorems.transformer
    theorems.reachable
    analysis
    testing.claims testing.table testing.trials testing.rows testing.mistakes testing.contract
    testing.referee testing.hooks testing.door testing.plugin testing testing.__main__
    course.exercise course.case course.guard course.verdict course.checking course.answers
    course.processes course.exercises EXERCISES course.lessons course.otter course.editions course
    cli cli.output cli.lesson cli.slider cli.arguments cli.comparison cli.plots cli.letters cli.text
    cli.reviews cli.real cli.count cli.layers cli.beside_base cli.inspect
    cli.check cli.course cli.family cli.main __main__
""".split()  # noqa: SIM905
EXERCISES = sorted(path.stem for path in (PACKAGE / "course" / "exercises").glob("[a-z]*.py"))
# The checks of the lessons and of the assignment do not import each other.
ORDER[ORDER.index("EXERCISES") : ORDER.index("EXERCISES") + 1] = [
    f"course.exercises.{name}" for name in EXERCISES
]
# Lines of code, without docstrings, comments and blank lines. The package is there to be read, so a
# room stays small: find what can go, or raise its number in the same commit and say why.
BUDGETS = {
    "core": ("checks ops weight quantization matching attachment analysis models train", 1400),
    "theorems": ("theorems", 765),
    "peft": ("peft", 790),
    "testing": ("testing", 800),
    "data": ("data", 450),
    "family": ("family", 405),
}
FILE_LIMIT = 200
ADAPTER_LIMIT = 60
FUNCTION_LIMIT = 40
COLUMNS = 100
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
}
every_module = pytest.mark.parametrize("module", MODULES)


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path):
    """The names of the modules that a file imports."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_constant(node):
    """Whether a statement is nothing but a constant, as a docstring is."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@cache
def code_lines(path):
    """How many lines hold code: docstrings, comments and blank lines do not count."""
    source = path.read_text(encoding="utf-8")
    docstrings = set()
    for node in ast.walk(tree_of(path)):
        text = node.value.value if is_constant(node) else None
        if isinstance(text, str):
            docstrings |= set(range(node.lineno, node.end_lineno + 1))
    silent = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    code = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in silent:
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - docstrings)


def defined(path):
    """Names of functions, classes and constants at the top level of a file."""
    for node in tree_of(path).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id


def test_every_module_has_a_place_in_the_order():
    assert sorted(set(MODULES) - set(ORDER)) == [], "give the new module a place in ORDER"
    assert sorted(set(ORDER) - set(MODULES)) == [], "ORDER names modules that do not exist"


@every_module
def test_a_module_imports_only_from_modules_before_it(module):
    allowed = set(ORDER[: ORDER.index(module)])
    prefix = "minilora."
    own = {
        name.removeprefix(prefix) for name in imports(MODULES[module]) if name.startswith(prefix)
    }
    late = sorted((own & set(ORDER)) - allowed)
    assert late == [], f"{module} imports {late}, which stand after it in ORDER"


def test_adapters_do_not_import_each_other_and_models_and_attachment_no_adapters():
    for module, path in MODULES.items():
        if module.startswith(("adapters.", "models.")) or module in (
            "attachment",
            "weight",
            "quantization",
        ):
            adapters = {name for name in imports(path) if name.startswith("minilora.adapters")}
            others = {name for name in adapters if not name.startswith("minilora.adapters.scaling")}
            assert others == set(), f"{module} imports adapters: {others}"


def test_only_letters_plots_and_lessons_import_matplotlib():
    users = {
        module
        for module, path in MODULES.items()
        if any(name.split(".")[0] == "matplotlib" for name in imports(path))
    }
    assert users == {"data.glyphs", "cli.plots", "cli.lesson", "cli.slider"}


def test_importing_the_library_does_not_import_matplotlib():
    code = "import sys, minilora.attachment, minilora.train, minilora.models.mlp\n"
    code += "sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("room", BUDGETS)
def test_rooms_stay_small(room):
    parts, budget = BUDGETS[room]
    lengths = {
        module: code_lines(path)
        for module, path in MODULES.items()
        if module.split(".")[0] in parts.split()
    }
    total = sum(lengths.values())
    longest = sorted(lengths.items(), key=lambda item: -item[1])[:5]
    advice = "find what can go, or raise BUDGETS here in the same commit and say why"
    assert total <= budget, (
        f"{room} has {total} lines of code, {budget} are allowed: {advice}; longest: {longest}"
    )


@every_module
def test_files_and_functions_stay_short(module):
    path = MODULES[module]
    limit = ADAPTER_LIMIT if module.startswith("adapters.") else FILE_LIMIT
    assert code_lines(path) <= limit, (
        f"{module}: split it, {limit} lines of code are a screen or two"
    )
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef):
            body = node.end_lineno - node.body[0].lineno
            assert body < FUNCTION_LIMIT, f"{module}.{node.name} is too long to be read at once"


@every_module
def test_lines_fit_the_screen(module):
    lines = MODULES[module].read_text(encoding="utf-8").splitlines()
    long = [number for number, line in enumerate(lines, 1) if len(line) > COLUMNS]
    assert long == [], f"{module}: lines {long} are over {COLUMNS} columns"


def test_no_public_name_means_two_things():
    """Commands share add_arguments and run; everything else that is public has one home."""
    homes = defaultdict(set)
    for module, path in MODULES.items():
        if module.startswith("cli.") or module.endswith("__main__"):
            continue
        for name in defined(path):
            if not name.startswith("_"):
                homes[name].add(module)
    twice = {name: sorted(modules) for name, modules in homes.items() if len(modules) > 1}
    assert twice == {}, "rename one of each"


def test_what_only_its_module_uses_begins_with_an_underscore():
    """A public name is used by another file: of the package, the tests or the lessons."""
    readers = [*PACKAGE.rglob("*.py"), *ROOT.glob("tests/**/*.py"), *ROOT.glob("tutorials/**/*.*")]
    readers = [
        path for path in readers if path.suffix in (".py", ".md") and "faults" not in path.parts
    ]
    texts = {path: path.read_text(encoding="utf-8") for path in [*readers, ROOT / "README.md"]}
    lonely = []
    for module, path in MODULES.items():
        for name in defined(path):
            elsewhere = any(name in text for other, text in texts.items() if other != path)
            if not name.startswith("_") and not elsewhere:
                lonely.append(f"{module}.{name}")
    assert lonely == [], "give these a leading underscore, or a user"


def test_rng_is_first_or_given_by_name():
    for module, path in MODULES.items():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef):
                names = [argument.arg for argument in node.args.args if argument.arg != "self"]
                assert "rng" not in names[1:], (
                    f"{module}.{node.name}: put rng first, or make it keyword-only"
                )


def test_the_packages_are_listed_for_installation():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = setup["options"]["packages"]
    on_disk = {".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("*.py")}
    assert set(listed.split()) == on_disk | {"minilora.lessons"}
