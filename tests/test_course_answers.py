"""What an answer does wrong costs its own exercise and gets a sentence, never a traceback."""

import json
import subprocess
import sys

import numpy as np
import pytest

from minilora.course.case import Case, RefusedError
from minilora.course.checking import check
from minilora.course.lessons import lesson_files, with_solutions
from minilora.course.processes import check_all, check_file

RIGHT = """
import numpy as np

def cheaper_side(shapes, budget):
    one = sum(min(shape) for shape in shapes.values())
    return one, budget // one

def longest_columns(gradient, r):
    return tuple(np.argsort(-np.linalg.norm(gradient, axis=0))[:r].tolist())
"""
BODY = "    one = sum(min(shape) for shape in shapes.values())\n    return one, budget // one\n"
# What stands in place of the body of cheaper_side, and words of the verdict.
BROKEN = {
    "hang": ("    while True: pass\n", "cheaper_side is not done after 5 s"),
    "exit": ("    raise SystemExit(0)\n", "cheaper_side calls exit"),
    "crash": ("    import os; os._exit(0)\n", "the process ended with code 0 before its time"),
    "interrupt": ("    raise KeyboardInterrupt\n", "cheaper_side raises KeyboardInterrupt"),
    "error": ("    return 1 / 0\n", "cheaper_side raises ZeroDivisionError"),
    "recursion": ("    return cheaper_side(shapes, budget)\n", "raises RecursionError"),
    "print": (f"    print(shapes)\n{BODY}", "cheaper_side prints"),
    "mutation": (f"    shapes['more'] = (1, 1)\n{BODY}", "changes its argument number 1"),
    "unfinished": ("    raise NotImplementedError\n", "cheaper_side is not written yet"),
    "nothing": ("    return None\n", "it must return two integers"),
}
PATCH = """
import numpy as np
np.linalg.norm = lambda *a, **k: 0.0
"""


def file_of(tmp_path, text, name="answers.py"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def command(*words, folder):
    return subprocess.run(
        [sys.executable, "-m", "minilora", "check", *map(str, words)],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_answer_gets_a_sentence_and_costs_no_other(kind, tmp_path):
    body, words = BROKEN[kind]
    path = file_of(tmp_path, RIGHT.replace(BODY, body))
    verdicts = check_all(path)
    assert not verdicts["4.1"].holds
    assert words in verdicts["4.1"].text
    assert "Traceback" not in verdicts["4.1"].text
    assert verdicts["4.3"].holds


def test_an_answer_that_replaces_a_function_of_numpy_is_refused(tmp_path):
    verdict = check_file("4.1", file_of(tmp_path, RIGHT + PATCH))
    assert "the answer replaces numpy.linalg.norm" in verdict.text


class Liar:
    """Equal to everything, of every shape."""

    def __eq__(self, other):
        return True

    def __getattr__(self, name):
        return self

    def __call__(self, *arguments):
        return self


class LyingArray(np.ndarray):
    """An array that says that it is equal."""

    def __eq__(self, other):
        return np.ones(self.shape, bool)


def test_a_result_that_lies_is_refused():
    assert "returns a Liar" in check("4.1", lambda shapes, budget: Liar()).text
    lie = check("2.1", lambda A, B, M: (A.view(LyingArray), (B @ M).view(LyingArray)))
    assert "returns a LyingArray" in lie.text


def test_an_answer_of_another_signature_is_told_so():
    assert "must take 2 arguments" in check("4.1", lambda shapes: 1).text
    assert "must be a function or a class" in check("4.1", 3).text


def test_a_file_that_is_not_python_or_lacks_the_name_gets_a_sentence(tmp_path):
    path = file_of(tmp_path, "def cheaper_side(:\n")
    assert "line 1: SyntaxError" in check_file("4.1", path).text
    path = file_of(tmp_path, "cheaper = 1\n")
    assert "does not define cheaper_side" in check_file("4.1", path).text


def test_of_a_notebook_only_definitions_are_run(tmp_path):
    cells = [
        {"cell_type": "code", "source": ["%matplotlib inline\n", "raise ValueError('trains')\n"]},
        {"cell_type": "markdown", "source": ["text"]},
        {"cell_type": "code", "source": RIGHT.splitlines(keepends=True)},
    ]
    path = file_of(tmp_path, json.dumps({"cells": cells}), "answers.ipynb")
    assert check_file("4.1", path).holds


def test_the_command_counts_points_and_writes_them(tmp_path):
    file_of(tmp_path, RIGHT.replace("budget // one", "budget / one"))
    done = command("answers.py", "--all", "--json", "marks.json", folder=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stdout.rstrip().endswith("1 of 2 hold, 3 of 4 points")
    marks = json.loads((tmp_path / "marks.json").read_text(encoding="utf-8"))
    assert (marks["points"], marks["of"]) == (3, 4)
    assert [marks["exercises"][number]["holds"] for number in ("4.1", "4.3")] == [False, True]
    assert command("4.3", "answers.py", folder=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("4.9", "answers.py"), "number must be one of 4.1, 4.2, 4.3, got '4.9'"),
        (("4.1",), "one FILE is needed"),
        (("4.1", "missing.py"), "cannot read missing.py"),
        (("empty.py", "--all"), "empty.py answers no exercise"),
    ],
)
def test_a_mistake_in_the_command_is_named(words, says, tmp_path):
    file_of(tmp_path, "", "empty.py")
    file_of(tmp_path, RIGHT)
    done = command(*words, folder=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_the_list_shows_what_is_there_and_how_far_a_file_is(tmp_path):
    file_of(tmp_path, RIGHT)
    listed = command("--list", folder=tmp_path).stdout
    assert "4.1  1 p.  cheaper_side(shapes, budget)" in listed
    progress = command("--list", "answers.py", folder=tmp_path).stdout
    assert "4.1  holds 1 p." in progress and "4.2  -     2 p." in progress


@pytest.mark.parametrize(
    ("got", "expected", "words"),
    [
        (np.array([np.nan]), np.array([1.0]), "x is wrong"),
        (np.array([np.inf]), np.array([1.0]), "x is wrong"),
        (np.ones((2, 1)), np.ones((1, 2)), r"x must have the shape \(1, 2\)"),
        (np.array(1.0), 1.0, "x must be a number"),
        (float("nan"), 1.0, "x must be finite"),
        (True, 1, "x must be a number"),
        (1.0 + 1e-6, 1.0, "x is wrong"),
    ],
)
def test_what_is_nearly_equal_is_refused(got, expected, words):
    case = Case(None, None, None, "f")
    with pytest.raises(RefusedError, match=f"^{words}"):
        case.same("x", got, expected)
    case.same("x", expected, expected)


def test_bits_are_compared_with_shape_and_dtype():
    case = Case(None, None, None, "f")
    ones = np.ones(2, np.float32)
    with pytest.raises(RefusedError, match=r"^x must be float32, and is float64"):
        case.bitwise("x", ones.astype(np.float64), ones)
    with pytest.raises(RefusedError, match=r"^x must be bitwise identical"):
        case.bitwise("x", -0 * ones, 0 * -ones)


def test_a_lesson_with_its_solutions_in_it_is_a_right_hand_in(tmp_path):
    script = lesson_files()[3]
    verdicts = check_all(file_of(tmp_path, with_solutions(script), script.name))
    assert set(verdicts) == {"4.1", "4.2", "4.3"}
    assert [verdict.text for verdict in verdicts.values() if not verdict.holds] == []


def test_in_cells_an_answer_that_cannot_be_defined_says_why(tmp_path):
    text = "# %%\ndef cheaper_side(shapes, budget=unknown):\n    return 1, 2\n" + RIGHT
    path = file_of(tmp_path, text.replace("def cheaper_side(shapes, budget):", "def other(s, b):"))
    assert "NameError: name 'unknown' is not defined" in check_file("4.1", path).text
    assert check_file("4.3", path).holds
