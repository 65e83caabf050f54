"""What is built from this tree: one version, complete lists, no address of a package index."""

import configparser
import importlib
import re
import subprocess
import sys
from pathlib import Path

import minilora

ROOT = Path(__file__).parent.parent
FOLDERS = (".ci", ".github", "minilora", "tests", "tutorials")
SUFFIXES = {"", ".cfg", ".cff", ".in", ".json", ".md", ".py", ".toml", ".yml"}
# A package is installed by its name; where from is for its user to choose.
INDEX_ADDRESS = re.compile(
    r"https?://[^\s\"'`<>)]*(pypi|pythonhosted|npmjs|registry|unpkg|jsdelivr|/simple\b|\.whl|\.tgz)"
)


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def setup():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def lines(value):
    return [line for line in value.splitlines() if line and not line.startswith("#")]


def test_the_version_is_the_same_everywhere():
    assert re.search(r"^version: (.*)$", read("CITATION.cff"), re.M)[1] == minilora.__version__
    assert re.search(r"^## ([\d.]+)", read("CHANGELOG.md"), re.M)[1] == minilora.__version__


def test_every_requirement_of_a_user_has_a_lowest_version():
    config = setup()
    required = config["options"]["install_requires"] + config["options.extras_require"]["test"]
    assert len(lines(required)) == 5
    for line in lines(required):
        assert re.fullmatch(r"\w+>=[\d.]+", line), line


def test_the_same_versions_of_python_are_promised_and_tested():
    promised = re.findall(r"Python :: (3\.\d+)", setup()["metadata"]["classifiers"])
    tested = set(re.findall(r'"(3\.\d+)"', read(".github/workflows/ci.yml")))
    assert tested == set(promised)
    assert setup()["options"]["python_requires"] == f">={promised[0]}"


def test_the_entry_points_are_there():
    found = {}
    for group, value in setup()["options.entry_points"].items():
        for line in lines(value):
            name, _, place = line.partition(" = ")
            module, _, attribute = place.partition(":")
            thing = importlib.import_module(module)
            found[group, name] = getattr(thing, attribute) if attribute else thing
    assert found.keys() == {("console_scripts", "minilora"), ("pytest11", "minilora")}
    assert callable(found["console_scripts", "minilora"])
    assert callable(found["pytest11", "minilora"].pytest_addoption)


def test_the_plugin_imports_nothing_that_pytest_has_not_imported():
    """Other people's pytest runs import it too."""
    code = """
import sys, pytest
before = set(sys.modules)
import minilora.testing.plugin
for name in sorted(set(sys.modules) - before):
    if name.split(".")[0] not in sys.stdlib_module_names:
        print(name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["minilora", "minilora.testing", "minilora.testing.plugin"]


def test_the_sdist_takes_every_folder_whole():
    grafted = re.findall(r"^graft (\S+)$", read("MANIFEST.in"), re.M)
    assert {*grafted, "minilora"} == set(FOLDERS)


def test_no_address_of_a_package_index_is_in_the_tree():
    files = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in FOLDERS:
        files += [path for path in (ROOT / folder).rglob("*") if "_build" not in path.parts]
    read_files = [path for path in files if path.is_file() and path.suffix in SUFFIXES]
    assert len(read_files) > 100
    for path in read_files:
        found = INDEX_ADDRESS.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{path.relative_to(ROOT)}: {found and found[0]}"
