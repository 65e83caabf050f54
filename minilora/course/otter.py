"""Tests and settings for Otter-Grader, which marks hand-ins; `otter generate` makes a zip of them.

A question of Otter's is an exercise. Its public test is `check` with the usual cases, which
students can run too; its hidden one is the same with the teacher's seed, and has the points.
"""

import json

from minilora import __version__
from minilora.course.exercise import Exercise

_SETTINGS = {"show_hidden": False, "show_stdout": False, "pdf": False, "logo": False}
_TEST = '''"""Exercise {number}, {points} points."""

from otter.test_files import test_case

from minilora.course import check

OK_FORMAT = False
name = "{number}"
points = {points}


def require(answer, seed):
    """An error with the verdict, unless the answer holds."""
    if answer is None:
        raise AssertionError("{number}: the notebook does not define {answer}")
    verdict = check("{number}", answer, seed=seed)
    if not verdict:
        raise AssertionError(str(verdict))


@test_case(name="the usual cases", points=0)
def usual_cases(env):
    require(env.get("{answer}"), None)


@test_case(name="other cases", points={points}, hidden=True)
def other_cases(env):
    require(env.get("{answer}"), {seed})
'''


def write_marking(folder, exercises, seed):
    """Write what Otter needs to mark some exercises: tests/, otter_config.json, requirements.txt.

    The points are those of the exercises that a program checks.
    """
    tests = folder / "tests"
    tests.mkdir(parents=True, exist_ok=True)
    for one in exercises:
        if isinstance(one, Exercise):
            text = _TEST.format(number=one.number, points=one.points, answer=one.name, seed=seed)
            name = one.number.replace(".", "_")
            (tests / f"exercise_{name}.py").write_text(text, encoding="utf-8")
    settings = json.dumps(_SETTINGS, indent=2)
    (folder / "otter_config.json").write_text(f"{settings}\n", encoding="utf-8")
    requirement = f"minilora[test]=={__version__}"
    (folder / "requirements.txt").write_text(f"{requirement}\n", encoding="utf-8")
