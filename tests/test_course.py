"""Exercises that answer back: right answers hold, wrong ones are refused for the right reason."""

import importlib.util
import re
import tracemalloc
from pathlib import Path

import pytest

from minilora.course import checking
from minilora.course.answers import names_in, parse, run
from minilora.course.checking import check, check_exercise
from minilora.course.exercise import Exercise, all_exercises, exercises_of
from minilora.course.lessons import lesson_data, lesson_files, number_of, with_solutions

HERE = Path(__file__).parent
LESSONS = {number_of(script): script for script in lesson_files()}
ASSIGNMENT = lesson_data("assignment")
CHECKED = [one for one in all_exercises() if isinstance(one, Exercise)]


def wrong_answers():
    """(number, answer, words of the verdict) for every wrong answer of tests/course."""
    for file in sorted((HERE / "course").glob("wrong_*.py")):
        spec = importlib.util.spec_from_file_location(file.stem, file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for number, answers in module.WRONG.items():
            for answer, words in answers:
                yield pytest.param(number, answer, words, id=f"{number}-{answer.__name__}")


WRONG = list(wrong_answers())
every_exercise = pytest.mark.parametrize("one", CHECKED, ids=[one.number for one in CHECKED])


def home_of(one):
    """The file that poses an exercise, and the one that answers it."""
    lesson = one.number.partition(".")[0]
    if lesson == "A":
        return ASSIGNMENT / "lora_and_one_more.py", ASSIGNMENT / "good.py"
    script = LESSONS[int(lesson)]
    return script, script.parent / "solutions" / script.name


@every_exercise
def test_the_solution_holds_in_a_lesson_that_is_handed_in_whole(one, tmp_path, monkeypatch):
    """With all usual cases and 50 others, however slow the machine is; the lesson's own definitions
    do no harm, though they may need what is not run.
    """
    for limit in ("LIMIT", "_ENOUGH", "_SMALL_ENOUGH"):
        monkeypatch.setattr(checking, limit, 600)
    posed, path = home_of(one)
    if posed in LESSONS.values():
        path = tmp_path / posed.name
        path.write_text(with_solutions(posed), encoding="utf-8")
    answer = run(parse(path), path, one.name)[one.name]
    few = one._replace(cases=min(one.cases, 50))
    for verdict in (check(one.number, answer), check_exercise(few, answer, seed=1)):
        assert verdict.holds, verdict.text
        assert verdict.cases >= min(one.cases, 10)


@pytest.mark.parametrize(("number", "answer", "words"), WRONG)
def test_a_wrong_answer_is_refused_for_its_reason(number, answer, words):
    verdict = check(number, answer)
    assert not verdict.holds
    assert words in verdict.text


@every_exercise
def test_an_exercise_has_two_wrong_answers_or_more(one):
    assert sum(param.values[0] == one.number for param in WRONG) >= 2


@every_exercise
def test_the_lesson_states_the_signature_of_the_answer(one):
    text = home_of(one)[0].read_text(encoding="utf-8")
    sections = re.split(r"^# ### Exercise ", text, flags=re.MULTILINE)[1:]
    assert f"`{one.signature}`" in sections[int(one.number[-1]) - 1]


# An adapter, which the referee judges once, has no single function that is missing.
@pytest.mark.parametrize("one", [one for one in CHECKED if one.cases > 1])
def test_an_answer_that_is_not_written_yet_gets_a_sentence(one):
    def stub(*arguments):
        raise NotImplementedError

    verdict = check(one.number, stub)
    assert not verdict.holds
    assert verdict.text.startswith(f"{one.number} does not hold: stub is not written yet")
    assert not tracemalloc.is_tracing()  # which would slow down all that follows


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_has_three_exercises_of_which_two_or_more_are_checked(lesson):
    found = exercises_of(lesson)
    assert [one.number for one in found] == [f"{lesson}.{i}" for i in (1, 2, 3)]
    assert sum(isinstance(one, Exercise) for one in found) >= 2
    assert [one.points for one in found] == [1, 2, 3]


def test_the_assignment_is_worth_a_hundred_points_as_its_text_says():
    text, _ = home_of(CHECKED[-1])
    stated = re.findall(
        r"^# ### Exercise \d \((\d+) points\)", text.read_text("utf-8"), re.MULTILINE
    )
    points = [one.points for one in exercises_of("A")]
    assert points == [int(number) for number in stated]
    assert sum(points) == 100


def test_no_two_exercises_ask_for_one_name():
    """A file may answer all of them, and an answer is found by its name."""
    names = [one.name for one in CHECKED]
    assert sorted(set(names)) == sorted(names)
    assert len(names) >= 50


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_defines_no_name_that_an_exercise_asks_for(lesson):
    """A lesson with answers in it may be handed in, and is no answer by itself."""
    tree = parse(LESSONS[lesson])
    assert names_in(tree) & {one.name for one in CHECKED} == set()
