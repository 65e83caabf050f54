"""The teacher's page adds up: minutes of each plan, points, papers that are not solved here."""

import re

import pytest
from test_course import LESSONS

from minilora.course.exercise import all_exercises
from minilora.course.lessons import lesson_data

PAGE = (LESSONS[1].parent / "teaching.md").read_text(encoding="utf-8")
MINUTES = {"1": 10, "2": 30, "3": 60}  # easy, medium, hard
NUMBERS = [one.number for one in all_exercises()]


def rows_of(plan):
    """The rows of a table between <!-- plan --> and its end, each a list of cells."""
    text = PAGE.partition(f"<!-- {plan} -->")[2].partition(f"<!-- end of {plan} -->")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def reading_time(lessons):
    """Minutes to read, of the heads of lessons such as "4, 5"."""
    total = 0
    for number in re.findall(r"\d+", lessons):
        text = LESSONS[int(number)].read_text(encoding="utf-8")
        total += int(re.search(r"\*\*Time:\*\*[\s#]*(\d+) minutes", text)[1])
    return total


def test_the_week_adds_up():
    rows = rows_of("week")
    assert len(rows) == 5
    for _, lessons, reading, exercises, minutes in rows:
        assert int(reading) == reading_time(lessons)
        numbers = exercises.split(", ")
        assert set(numbers) <= set(NUMBERS)
        assert int(minutes) == sum(MINUTES[number[-1]] for number in numbers) <= 90


def test_the_term_adds_up():
    rows = rows_of("term")
    assert [row[0] for row in rows] == [str(week) for week in range(1, 15)]
    for _, lessons, reading, at_home in rows[:-1]:
        assert int(reading) == reading_time(lessons) <= 90
        assert at_home in NUMBERS or "the assignment" in at_home
    lessons = [int(number) for row in rows for number in re.findall(r"\d+", row[1])]
    assert sorted({*LESSONS} - {*lessons}) == [8, 9, 10, 18, 19]
    assert len(lessons) == len(set(lessons))


def test_the_assignment_takes_the_hours_that_it_says():
    text = (lesson_data("assignment") / "lora_and_one_more.py").read_text(encoding="utf-8")
    rows = re.findall(r"^# \| \d\. .* \| (\d+) \| (\d*)(½?) \|", text, re.MULTILINE)
    assert len(rows) == 5
    hours = sum(float(whole or 0) + (0.5 if half else 0) for _, whole, half in rows)
    assert 6 <= hours <= 8
    assert sum(int(points) for points, _, _ in rows) == 100


def test_fifteen_papers_are_named_that_no_page_solves():
    table = PAGE[PAGE.index("| paper |") : PAGE.index("## Marking")]
    names = re.findall(r"^\| ([^,|]+), \[", table, re.MULTILINE)
    assert len(names) == 15
    for script in LESSONS.values():
        solved = (script.parent / "solutions" / script.name).read_text(encoding="utf-8")
        for name in names:
            assert not re.search(rf"class {re.escape(name.replace('-', ''))}\b", solved)


@pytest.mark.parametrize("kind", ["good", "poor"])
def test_the_marks_of_a_sample_add_up(kind):
    page = lesson_data("assignment/marks.md").read_text(encoding="utf-8")
    column = {"good": 0, "poor": 1}[kind]
    rows = re.findall(r"^\| (.+?) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    marks = [int(row[1 + column]) for row in rows]
    assert sum(marks[:-1]) == marks[-1]
