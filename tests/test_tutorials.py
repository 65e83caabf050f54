"""Every tutorial runs from top to bottom, as a student starts it, and every warning is an error.

Its solutions run with it, after their exercises, as on its page of the site.

A terminal need not know λ and →: half of the tutorials run where only ASCII can be printed, the
others where only the characters of cp1252 can, as on many a Windows.
"""

import re

import pytest
from support.tutorials import FOLDER, LONG, TUTORIALS, encoding_for, run, stated_seconds

PARTS = (
    "**You will learn**",
    "**Before this:**",
    "**Time:**",
    "## Where to go next",
    "## References",
    "plt.show()",
)
EXERCISES = [("1", "easy"), ("2", "medium"), ("3", "hard")]

every_tutorial = pytest.mark.parametrize(
    "script", TUTORIALS, ids=[script.stem for script in TUTORIALS]
)


def as_parameter(script):
    """A tutorial, marked when it takes long."""
    marks = [pytest.mark.long] if stated_seconds(script) > LONG else []
    return pytest.param(script, marks=marks, id=script.stem)


@pytest.mark.parametrize("to_run", [as_parameter(script) for script in TUTORIALS])
def test_a_tutorial_runs_and_finds_what_it_says(to_run, started_tutorials):
    done = started_tutorials.finished(to_run) if started_tutorials else run(to_run)
    repeat = f"PYTHONIOENCODING={encoding_for(to_run)} python -W error tutorials/{to_run.name}"
    assert done.returncode == 0, (
        f"{to_run.name} ends with code {done.returncode}; to see it, run\n    {repeat}\n"
        f"{done.stdout[-2000:]}\n{done.stderr}"
    )


@every_tutorial
def test_a_tutorial_has_the_parts_that_a_student_counts_on(script):
    text = script.read_text(encoding="utf-8")
    first = "# %% [markdown]\n# # "
    assert text.startswith(first), f"{script.name} must start with a markdown cell and its title"
    missing = [part for part in PARTS if part not in text]
    assert not missing, f"{script.name} has no {missing}: add what every tutorial has"
    exercises = re.findall(r"^# ### Exercise (\d) \((\w+)\)", text, re.MULTILINE)
    assert exercises == EXERCISES, (
        f"{script.name} must have three headings '### Exercise 1 (easy): …' to 3 (hard)"
    )
    assert "# Solution" not in text, f"{script.name}: its solutions belong in tutorials/solutions"
    solutions = (script.parent / "solutions" / script.name).read_text(encoding="utf-8")
    found = re.findall(r'^# %% tags=\["hide-cell"\]\n# Solution (\d): ', solutions, re.MULTILINE)
    assert found == ["1", "2", "3"], (
        f"""solutions/{script.name} must have three cells '# %% tags=["hide-cell"]' that begin """
        "with '# Solution 1: …' to 3"
    )


@every_tutorial
def test_a_tutorial_sets_up_in_eight_lines_what_every_tutorial_needs(script):
    """Then it prints on any terminal, and the page begins with ideas and not with imports."""
    _, set_up, *_ = re.split(r"^# %%$", script.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line for line in set_up.split("# %%")[0].splitlines() if line.strip()]
    advice = "import it from minilora.cli.lesson, first of all, and call it"
    assert lines[0].startswith("from minilora.cli.lesson import"), f"{script.name}: {advice}"
    assert any(line.startswith("start_lesson()") for line in lines), f"{script.name}: {advice}"
    assert len(lines) <= 8, f"{script.name}: import a name in the cell that first uses it"


@every_tutorial
def test_a_tutorial_uses_only_public_names(script):
    text = script.read_text(encoding="utf-8")
    lines = re.findall(r"^(?:from|import) minilora.*?(?:\n\)|$)", text, re.MULTILINE | re.DOTALL)
    private = [name for line in lines for name in re.findall(r"\b_\w+", line)]
    assert not private, f"{script.name} imports {private}: use a public name, or make it public"


@every_tutorial
def test_a_tutorial_links_to_files_that_exist(script):
    for name in re.findall(r"\]\(([\w./]+)\)", script.read_text(encoding="utf-8")):
        target = script.parent / name
        assert target.exists(), f"{script.name} links to {name}: correct it, it does not exist"


@every_tutorial
def test_a_tutorial_names_files_of_the_package_that_exist(script):
    text = script.read_text(encoding="utf-8")
    for name in re.findall(r"\b(?:minilora|tests|tutorials)/[\w./]*\w", text):
        target = FOLDER.parent / name
        assert target.exists(), f"{script.name} names {name}: correct it, it does not exist"


def test_the_teachers_page_lists_every_exercise_and_every_tutorial():
    page = (FOLDER / "teaching.md").read_text(encoding="utf-8")
    for script in TUTORIALS:
        text = script.read_text(encoding="utf-8")
        titles = re.findall(r"^# ### Exercise \d \(\w+\): (.*)$", text, re.MULTILINE)
        link = f"| [{int(script.name[:2])}]({script.name}) |"
        row = f"{link} {' | '.join(titles)} |"
        assert row in page, f"teaching.md must have, in its table of exercises, the row\n{row}"
        assert page.count(link) == 2, (
            f"teaching.md must have {link} twice: in the table of skills, and in that of exercises"
        )
