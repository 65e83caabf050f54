"""What an exercise is, and where to find it by its number.

`exercises/lesson_04.py` holds those of lesson 4, and `exercises/assignment.py` those of the
assignment, "A.1" and so on. One that a program can check is a function of a `Case`, which draws the
inputs, calls the answer and compares:

    @exercise("4.2", "undo(merged, params, frozen, kept)", hint="merge replaces r columns.")
    def undo(case):
        '''undo(merge(params, frozen), …) is W, bitwise identical.'''

One that nobody can check by program says what to hand in, and how to mark it.
"""

import textwrap
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

_CASES = 200
_POINTS = {"1": 1, "2": 2, "3": 3}  # easy, medium, hard
_PACKAGE = "minilora.course.exercises"


class Exercise(NamedTuple):
    """An exercise whose answer is a function or a class."""

    number: str  # "4.2": the second of lesson 4
    signature: str  # "undo(merged, params, frozen, kept)", or "class Held"
    says: str  # what the answer must do, in one paragraph
    hint: str
    try_case: object  # a function of a Case, which raises RefusedError
    cases: int  # how many are tried, unless time runs out
    points: int  # what it is worth

    @property
    def name(self):
        """The name that the answer must have."""
        return self.signature.removeprefix("class ").partition("(")[0]

    @property
    def stub(self):
        """The beginning of an answer, which raises NotImplementedError."""
        is_class = self.signature.startswith("class ")
        head = self.signature if is_class else f"def {self.signature}"
        says = textwrap.fill(f'"""{self.says}"""', 88, break_on_hyphens=False)
        body = "" if is_class else "\n    raise NotImplementedError"
        return f"{head}:\n{textwrap.indent(says, '    ')}{body}"


class OpenExercise(NamedTuple):
    """An exercise that a teacher marks."""

    number: str
    hand_in: str  # what to hand in
    rubric: tuple  # (points, what they are given for)

    @property
    def points(self):
        """The sum of the rubric."""
        return sum(points for points, _ in self.rubric)


def exercise(number, signature, *, hint, cases=_CASES, points=None):
    """A decorator that makes an `Exercise` of a function of a case; its docstring is `says`.

    points: of a lesson's three, the easy one has 1, the medium one 2 and the hard one 3.
    """
    points = _POINTS[number[-1]] if points is None else points

    def make(try_case):
        says = " ".join(try_case.__doc__.split())
        return Exercise(number, signature, says, hint, try_case, cases, points)

    return make


def exercises_of(lesson):
    """The exercises of one lesson, an integer, or of the assignment, "A", in order; () if none."""
    name = "assignment" if lesson == "A" else f"lesson_{int(lesson):02}"
    if name not in _modules():
        return ()
    values = vars(import_module(f"{_PACKAGE}.{name}")).values()
    found = [value for value in values if isinstance(value, (Exercise, OpenExercise))]
    return tuple(sorted(found, key=lambda one: one.number))


def all_exercises():
    """Every exercise, by lesson and number, and then those of the assignment."""
    lessons = [int(name[-2:]) for name in _modules() if name != "assignment"]
    return [one for lesson in [*lessons, "A"] for one in exercises_of(lesson)]


def find(number):
    """The exercise that a program can check with this number, such as "4.2".

    Raises ValueError with the numbers that there are.
    """
    lesson = str(number).partition(".")[0]
    found = exercises_of(lesson) if lesson.isdecimal() or lesson == "A" else ()
    for one in found:
        if one.number == number:
            if isinstance(one, OpenExercise):
                raise ValueError(f"exercise {number} is marked by a person: {one.hand_in}")
            return one
    checked = [one.number for one in found or all_exercises() if isinstance(one, Exercise)]
    raise ValueError(f"number must be one of {', '.join(checked)}, got {number!r}")


def _modules():
    folder = import_module(_PACKAGE).__path__
    return sorted(module.name for module in iter_modules(folder))
