"""The course as folders: for students without solutions, for teachers with solutions and marking.

`write_student(folder)` and `write_teacher(folder, seed)` need jupytext, of the extra [course]. What
marks a class is Otter-Grader; `otter.py` writes the tests that it runs.
"""

import shutil
from pathlib import Path

from minilora import __version__
from minilora.course.exercise import Exercise, OpenExercise, exercises_of
from minilora.course.lessons import (
    lesson_data,
    lesson_files,
    number_of,
    with_cells,
    with_links,
    with_solutions,
)
from minilora.course.otter import write_marking

_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
_ASSIGNMENT = "assignment"
_ASSIGNMENT_TEXT = "lora_and_one_more.py"
_is_no_text = shutil.ignore_patterns("__pycache__")
# The pages that lessons, or these pages themselves, lead to.
PAGES = ("glossary.md", "family.md", "claims.md", "teaching.md")
_FOR_STUDENTS = f"""# minilora {__version__}: lessons with exercises

Python 3.10 or later, minilora with its extra `test`, and, for the notebooks, Jupyter. Each lesson
is here twice: `01_one_matrix.ipynb`, and as a script, `01_one_matrix.py`. They run in any folder.

At the end of each lesson are three exercises. Write each answer in place of its stub, and run the
cell below: it tries your answer on random cases, and shows the smallest on which it fails. The same
from the command line, for a script, a notebook or a file of your own:

```sh
python -m minilora check 4.2 04_sbora.ipynb
python -m minilora check 04_sbora.ipynb --all
python -m minilora check --list answers.py
```

`assignment.ipynb`, "LoRA, and one more", is the assignment of the course.
"""


def write_student(folder):
    """Write the lessons and the assignment with stubs, as scripts and notebooks, into a folder.

    Raises ImportError when jupytext is not installed.
    """
    folder = Path(folder)
    for script in lesson_files():
        _write(folder, script.stem, student_text(script, ".py"), student_text(script))
    text = _with_stubs(_assignment("]("), exercises_of("A"))
    _write(folder, _ASSIGNMENT, text, with_links(text, ".ipynb"))
    _copy_pages(folder)
    (folder / "README.md").write_text(_FOR_STUDENTS, encoding="utf-8")


def write_teacher(folder, seed):
    """Write the lessons with solutions, points and rubric, and what marks hand-ins.

    seed: an integer, of the hidden cases. Raises ImportError when jupytext is not installed.
    """
    folder = Path(folder)
    for script in lesson_files():
        exercises = exercises_of(number_of(script))
        text = _with_marks(with_solutions(script), exercises)
        _write(folder / "lessons", script.stem, text, with_links(text, ".ipynb"))
        write_marking(folder / "marking" / script.stem, exercises, seed)
    write_marking(folder / "marking" / _ASSIGNMENT, exercises_of("A"), seed)
    shutil.copytree(lesson_data(_ASSIGNMENT), folder / _ASSIGNMENT, ignore=_is_no_text)
    (folder / _ASSIGNMENT / _ASSIGNMENT_TEXT).write_text(_assignment("](../lessons/"), "utf-8")
    _copy_pages(folder / "lessons")
    (folder / "README.md").write_text(_for_teachers(seed), encoding="utf-8")


def student_text(script, suffix=".ipynb"):
    """The text of a lesson with a stub after each exercise, and a cell that checks the answer."""
    text = Path(script).read_text(encoding="utf-8")
    return with_links(_with_stubs(text, exercises_of(number_of(script))), suffix)


def as_notebook(text):
    """The notebook of a script in cells. Raises ImportError when jupytext is not installed."""
    import jupytext

    notebook = jupytext.reads(text, fmt="py:percent")
    notebook.metadata["kernelspec"] = _KERNEL
    return notebook


def _write(folder, name, script, notebook):
    """A text as a script, and one as a notebook."""
    import jupytext

    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(script, encoding="utf-8")
    jupytext.write(as_notebook(notebook), folder / f"{name}.ipynb")


def _copy_pages(folder):
    for page in PAGES:
        shutil.copy(lesson_data(page), folder / page)


def _assignment(to_lessons):
    """The text of the assignment; to_lessons: what its links to lessons begin with."""
    text = (lesson_data(_ASSIGNMENT) / _ASSIGNMENT_TEXT).read_text(encoding="utf-8")
    return text.replace("](../", to_lessons)


def _with_stubs(text, exercises):
    """A text with a stub after each exercise."""
    return with_cells(text, {int(one.number[-1]): _to_fill_in(one) for one in exercises})


def _to_fill_in(one):
    """The cells of one exercise, for students."""
    if isinstance(one, OpenExercise):
        return f"# %% [markdown]\n# *To hand in:* {one.hand_in}\n#\n# *Your answer:*\n\n"
    check = f'from minilora.course import check\n\nprint(check("{one.number}", {one.name}))'
    return f"# %%\n{one.stub}\n\n\n# %%\n{check}\n\n"


def _with_marks(text, exercises):
    """A lesson's text with a line on marking after each exercise, before its solution."""
    return with_cells(text, {int(one.number[-1]): _marking(one) for one in exercises})


def _marking(one):
    """A cell that says how an exercise is marked."""
    if isinstance(one, Exercise):
        return f"# %% [markdown]\n# *{_points(one.points)}, by program:* {one.says}\n\n"
    rows = "\n".join(f"# - {_points(points)}: {what}" for points, what in one.rubric)
    head = f"*{_points(one.points)}, by a person:* {one.hand_in}"
    return f"# %% [markdown]\n# {head}\n#\n{rows}\n\n"


def _points(points):
    return f"{points} point{'' if points == 1 else 's'}"


def _for_teachers(seed):
    """The page of the teacher's folder."""
    return f"""# minilora {__version__}: for the teacher

- `lessons/`: every lesson with its solutions, and with the points of each exercise.
- `assignment/`: "LoRA, and one more", its rubric, a good and a poor hand-in with their marks.
- `marking/`: for each lesson and for the assignment, tests and settings of Otter-Grader. The hidden
  cases are drawn from the seed {seed}. Keep it from students.

Students get `python -m minilora course FOLDER --student`.

## Mark by Otter-Grader

One hand-in, without a container, the score in `results.json`:

```sh
cd marking/04_sbora
otter generate
otter run -a autograder.zip path/to/04_sbora.ipynb
```

Many, each in a container of Docker: `otter grade -n sbora -a autograder.zip path/to/folder`. For
Gradescope, upload `autograder.zip`. A container installs what `requirements.txt` names: put there
the address from which your students install minilora. A hand-in may be the lesson's notebook, which
is run whole, or a notebook with the answers alone, which takes seconds.

## Mark without it

```sh
python -m minilora check path/to/04_sbora.ipynb --all --seed {seed} --json marks.json
```

Each answer runs in a process of its own, so a hang or a crash costs its own points only. But it is
no sandbox: strangers' code can read your files. Use a container, or an account of its own.
"""
