"""The lists in tests/faults are up to date; `python tests/mutants.py` tries every fault."""

import mutants
import pytest

LISTS = sorted((mutants.ROOT / "tests" / "faults").glob("*.py"))
every_list = pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)


@every_list
def test_every_fault_can_be_put_into_the_source(path):
    """Its original occurs, its mutant is valid Python and differs, and its tests are there."""
    problems = [mutants.problem_with(fault) for fault in mutants.read_faults(path)]
    assert [problem for problem in problems if problem] == []


@every_list
def test_no_fault_is_listed_twice(path):
    faults = mutants.read_faults(path)
    assert len(faults) == len(set(faults))


GOOD = mutants.Fault("checks.py", "test_faults.py", "import math\n", "import cmath as math\n")


@pytest.mark.parametrize(
    "change, problem",
    [
        ({}, ""),
        ({"file": "nowhere.py"}, "minilora/nowhere.py is not there"),
        (
            {"tests": "test_faults.py test_no.py"},
            "checks.py: tests/test_no.py is not there",
        ),
        ({"original": "no such line"}, "checks.py: 'no such line' does not occur"),
        ({"mutant": "import math\n"}, "checks.py: 'import math\\n' is replaced by itself"),
        ({"mutant": "import\n"}, "checks.py: 'import\\n' is not valid Python"),
    ],
    ids=["good", "file", "tests", "original", "mutant", "syntax"],
)
def test_what_is_out_of_date_is_named(change, problem):
    found = mutants.problem_with(GOOD._replace(**change))
    assert found.startswith(problem)
    assert bool(found) == bool(problem)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Two files with tests, and a function that writes the list of faults of one of them."""
    (tmp_path / "minilora").mkdir()
    (tmp_path / "tests" / "faults").mkdir(parents=True)
    for name in ("one", "two"):
        (tmp_path / "minilora" / f"{name}.py").write_text("x = 1\n")
        (tmp_path / "tests" / f"test_{name}.py").write_text("")
    monkeypatch.setattr(mutants, "ROOT", tmp_path)

    def write_faults(name, *pairs):
        lines = [f'FILE = "{name}.py"', f'TESTS = "test_{name}.py"', f"FAULTS = {list(pairs)}"]
        (tmp_path / "tests" / "faults" / f"{name}.py").write_text("\n".join(lines))

    return write_faults


def test_all_that_is_out_of_date_is_reported(tree, capsys):
    """Two stale faults of three: both are named, and the exit code is 1; without them it is 0."""
    tree("one", ("x = 1", "x = 2"), ("y = 1", "y = 2"), ("z = 1", "z = 2"))
    assert mutants.main(["--check"]) == 1
    printed = capsys.readouterr().out
    assert "1 of 3 faults are up to date" in printed
    assert "one.py: 'y = 1' does not occur" in printed
    assert "one.py: 'z = 1' does not occur" in printed
    tree("one", ("x = 1", "x = 2"))
    assert mutants.main(["--check"]) == 0


@pytest.mark.parametrize(
    "codes, failing, stale, expected, summary",
    [
        ({}, "", False, 0, "2 of 2 faults tried: 2 caught, 0 missed"),
        ({"x = 3": 0}, "", False, 1, "2 of 2 faults tried: 1 caught, 1 missed"),
        ({"x = 3": 2}, "", False, 1, "1 of 2 faults tried: 1 caught, 0 missed"),
        ({}, "", True, 1, "2 of 2 faults tried: 2 caught, 0 missed"),
        ({}, "test_two.py", False, 1, "1 of 1 faults tried: 1 caught, 0 missed"),
    ],
    ids=["all caught", "one missed", "one cannot be run", "one out of date", "failing tests"],
)
def test_faults_are_tried_whatever_happens_to_others(
    codes, failing, stale, expected, summary, tree, monkeypatch, capsys
):
    """By pytest's exit codes: 1 is caught, 0 missed, others are trouble."""
    tree("one", ("x = 1", "x = 2"), *[("y = 1", "y = 2")] * stale)
    tree("two", ("x = 1", "x = 3"))

    def try_all(faults, end=None):
        for fault in faults:
            if fault.mutant:
                yield fault, codes.get(fault.mutant, 1)
            else:
                yield fault, int(fault.tests == failing)

    monkeypatch.setattr(mutants, "try_all", try_all)
    assert mutants.main([]) == expected
    printed = capsys.readouterr().out
    assert summary in printed
    trouble = failing or stale or 2 in codes.values()
    assert ("out of date" in printed) == bool(trouble)


def test_the_words_choose_files(capsys):
    mutants.main(["--check", "data/text"])
    in_one = len(mutants.read_faults(mutants.ROOT / "tests" / "faults" / "data_text.py"))
    assert f" of {in_one} faults are up to date" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        mutants.main(["--check", "nowhere"])
    assert "no file with faults has one of nowhere in its name" in capsys.readouterr().err
