"""The README stays true: its commands, its code, its table and its map of files."""

import re
from pathlib import Path

import numpy as np

from minilora.__main__ import main
from minilora.attach import attach
from minilora.models.mlp import init_mlp
from minilora.tours import letters

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_two_commands_are_there():
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert [command.split("-m ")[-1] for command in commands] == ["minilora", "pytest"]


def test_the_code_runs_as_it_stands(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert "Trained: 1,124 numbers" in capsys.readouterr().out
    assert {name: W.shape for name, W in names["deployed"].items()} == {
        name: W.shape for name, W in names["weights"].items()
    }
    assert all(isinstance(W, np.ndarray) for W in names["deployed"].values())


def test_the_table_has_the_methods_of_the_tour_and_their_counts(rng):
    """Accuracies depend a little on the machine; names and counts do not."""
    block = README.split("<!-- tour -->")[1].split("<!-- end -->")[0]
    lines = block[block.index("accuracy in %") :].splitlines()[1:]
    weights = init_mlp(rng, letters.WIDTHS)
    for method, line in zip(letters.METHODS, lines):
        trained = attach(weights, method.adapters, rng, method.key).trained
        assert line.split("  ")[0] == method.name
        assert f" {trained:,} " in line
    assert not lines[len(letters.METHODS)].startswith(" ")
    assert "old kept:" in lines[len(letters.METHODS)]


def test_the_count_is_what_the_command_prints(capsys):
    (command,) = re.findall(r"^\.venv/bin/python -m minilora (count .*)$", README, re.MULTILINE)
    assert main(command.split()) == 0
    assert f"```text\n{capsys.readouterr().out}```" in README


def test_every_file_that_is_named_exists():
    named = re.findall(r"`(minilora/[\w/.]+)`", README) + re.findall(r"\]\((tutorials/[\w/.]+)\)", README)
    assert len(named) > 15
    for name in named:
        assert (ROOT / name).exists(), name


def test_the_map_names_every_file_of_the_package():
    for path in (ROOT / "minilora").rglob("[!_]*.py"):
        name = path.relative_to(ROOT).as_posix()
        folder = path.parent.relative_to(ROOT).as_posix() + "/"
        assert f"`{name}`" in README or f"`{folder}`" in README or path.name in ("tables.py", "plots.py"), name
