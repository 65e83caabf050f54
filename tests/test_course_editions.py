"""The course as folders: no solution reaches students, links lead somewhere, Otter marks."""

import ast
import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest
from test_course import LESSONS, WRONG

from minilora.course.answers import parse
from minilora.course.editions import (
    PAGES,
    as_notebook,
    student_text,
    write_student,
    write_teacher,
)
from minilora.course.exercise import Exercise, all_exercises, exercises_of
from minilora.course.lessons import lesson_data

SHORT = 25  # characters of a line that a lesson may have by accident
needs_jupytext = pytest.mark.skipif(find_spec("jupytext") is None, reason="the extra [course]")
needs_otter = pytest.mark.skipif(find_spec("otter") is None, reason="the extra [course]")
every_lesson = pytest.mark.parametrize("lesson", LESSONS)


def code_lines(text):
    """The lines of code that are long enough to be somebody's."""
    lines = {line.strip() for line in text.splitlines()}
    return {line for line in lines if len(line) > SHORT and not line.startswith(("#", "from "))}


@every_lesson
def test_students_get_every_stub_and_no_line_of_a_solution(lesson):
    script = LESSONS[lesson]
    text = student_text(script)
    solutions = (script.parent / "solutions" / script.name).read_text(encoding="utf-8")
    posed = script.read_text(encoding="utf-8")
    stubs = "\n".join(one.stub for one in exercises_of(lesson) if isinstance(one, Exercise))
    secret = code_lines(solutions) - code_lines(posed) - code_lines(stubs)
    assert len(secret) > 3
    assert secret & code_lines(text) == set()
    names = {node.name for node in ast.parse(text).body if hasattr(node, "name")}
    for one in exercises_of(lesson):
        if isinstance(one, Exercise):
            assert one.name in names
            assert f'print(check("{one.number}", {one.name}))' in text


def test_a_page_that_a_lesson_leads_to_comes_with_the_lessons():
    files = [*LESSONS.values(), *(lesson_data(page) for page in PAGES)]
    texts = "".join(file.read_text(encoding="utf-8") for file in files)
    assert set(re.findall(r"\]\(([\w./]+\.md)", texts)) == set(PAGES)


@pytest.fixture(scope="module")
def editions(tmp_path_factory):
    """The folders of a student and of a teacher."""
    folder = tmp_path_factory.mktemp("course")
    write_student(folder / "student")
    write_teacher(folder / "teacher", seed=7)
    return folder


@needs_jupytext
def test_links_lead_to_files_of_the_folder(editions):
    pages = [path for path in editions.rglob("*") if path.suffix in (".ipynb", ".md", ".py")]
    assert len(pages) > 4 * len(LESSONS)
    for page in pages:
        targets = re.findall(r"\]\((?!https?:|#)([\w./]+)", page.read_text(encoding="utf-8"))
        for target in targets:
            assert (page.parent / target).exists(), f"{page} links to {target}"


@needs_jupytext
def test_a_command_makes_each_folder_and_spoils_none(tmp_path):
    def course(*words):
        command = [sys.executable, "-m", "minilora", "course", "out", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert course().returncode == 2
    done = course("--student")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / "04_sbora.ipynb").exists()
    again = course("--teacher")
    assert again.returncode == 2
    assert "out must be a new or an empty folder" in again.stderr
    assert not (tmp_path / "out" / "marking").exists()


@needs_jupytext
def test_a_teacher_gets_points_and_rubrics(editions):
    for number, script in LESSONS.items():
        text = (editions / "teacher" / "lessons" / script.name).read_text(encoding="utf-8")
        tests = editions / "teacher" / "marking" / script.stem / "tests"
        for one in exercises_of(number):
            assert f"{one.points} point{'s' * (one.points > 1)}, by" in text
            file = tests / f"exercise_{one.number.replace('.', '_')}.py"
            assert file.exists() == isinstance(one, Exercise)
            if isinstance(one, Exercise):
                assert f"points = {one.points}" in file.read_text(encoding="utf-8")


def marked(editions, assignment, text, folder):
    """{exercise: points} that Otter gives to a hand-in with this text, a script in cells."""
    import jupytext

    marking = shutil.copytree(editions / "teacher" / "marking" / assignment, folder / "marking")
    jupytext.write(as_notebook(text), marking / "hand_in.ipynb")
    otter = [sys.executable, "-m", "otter"]
    for words in (["generate"], ["run", "-a", "autograder.zip", "hand_in.ipynb"]):
        done = subprocess.run([*otter, *words], cwd=marking, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    found = json.loads((marking / "results.json").read_text(encoding="utf-8"))["tests"]
    return {test["name"].split(" ")[0]: test["score"] for test in found if "score" in test}


@needs_otter
def test_otter_gives_all_points_to_right_answers_and_none_to_wrong_ones(editions, tmp_path):
    assignment = LESSONS[4].stem
    exercises = exercises_of(4)
    solutions = ast.unparse(parse(LESSONS[4].parent / "solutions" / LESSONS[4].name))
    right = f"# %%\n{solutions}"
    points = marked(editions, assignment, right, tmp_path / "right")
    assert points == {one.number: one.points for one in exercises}
    source = (LESSONS[4].parent.parent / "tests" / "course" / "wrong_04.py").read_text("utf-8")
    first = {}
    for number, answer, _ in (param.values for param in WRONG):
        first.setdefault(number, answer.__name__)
    names = [f"{one.name} = {first[one.number]}" for one in exercises]
    wrong = "\n".join(["# %%", source, *names])
    points = marked(editions, assignment, wrong, tmp_path / "wrong")
    assert points == {one.number: 0 for one in exercises}


@needs_otter
def test_otter_marks_the_samples_of_the_assignment_as_the_page_says(editions, tmp_path):
    page = lesson_data("assignment/marks.md").read_text(encoding="utf-8")
    said = re.search(r"^\| 1 to 4 .*\| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    for kind, points in zip(("good", "poor"), said.groups()):
        text = lesson_data(f"assignment/{kind}.py").read_text(encoding="utf-8")
        found = marked(editions, "assignment", f"# %%\n{text}", tmp_path / kind)
        assert sum(found.values()) == int(points)


def test_every_exercise_of_a_lesson_has_a_place_in_its_text():
    for one in all_exercises():
        if not one.number.startswith("A"):
            text = LESSONS[int(one.number.partition(".")[0])].read_text(encoding="utf-8")
            assert f"\n# ### Exercise {one.number[-1]} " in text
