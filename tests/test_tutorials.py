"""Every tutorial runs from top to bottom, as a student starts it, and every warning is an error."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).parent.parent / "tutorials").glob("[0-9][0-9]_*.py"))
every_tutorial = pytest.mark.parametrize("script", TUTORIALS, ids=[script.stem for script in TUTORIALS])

# plt.show() has nothing to do without a screen, and matplotlib says so where it thinks that there is one.
WARNINGS = ["-W", "error", "-W", "ignore:FigureCanvasAgg is non-interactive:UserWarning"]


def run(script):
    environment = {**os.environ, "MPLBACKEND": "agg", "PYTHONIOENCODING": "utf-8", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *WARNINGS, script], cwd=script.parent, env=environment, capture_output=True, encoding="utf-8"
    )


@pytest.fixture(scope="session")
def finished_tutorials(request):
    """script -> its finished run. All that are wanted run in the background, as many at a time as there are cores."""
    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has the whole list, but is given only a part of it
        yield run
        return
    wanted = {
        item.callspec.params["script"] for item in request.session.items if "finished_tutorials" in item.fixturenames
    }
    pool = ThreadPoolExecutor(os.cpu_count())
    runs = {script: pool.submit(run, script) for script in sorted(wanted, key=can_wait)}
    yield lambda script: runs[script].result()
    pool.shutdown(cancel_futures=True)


def can_wait(script):
    """False for the longest tutorial, which therefore starts first."""
    return "bake_off" not in script.name


@every_tutorial
def test_a_tutorial_runs_and_finds_what_it_says(script, finished_tutorials):
    done = finished_tutorials(script)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr}"


@every_tutorial
def test_a_tutorial_has_the_parts_that_a_student_counts_on(script):
    text = script.read_text(encoding="utf-8")
    assert text.startswith("# %% [markdown]\n# # ")
    for part in ("**You will learn**", "**Before this:**", "**Time:**", "## Where to go next", "## References"):
        assert part in text, part
    assert re.findall(r"^# ### Exercise (\d) \((\w+)\)", text, re.MULTILINE) == [
        ("1", "easy"),
        ("2", "medium"),
        ("3", "hard"),
    ]
    assert re.findall(r'^# %% tags=\["hide-cell"\]\n# Solution (\d): ', text, re.MULTILINE) == ["1", "2", "3"]
    assert "plt.show()" in text


@every_tutorial
def test_a_tutorial_links_to_files_that_exist(script):
    for name in re.findall(r"\]\(([\w./]+)\)", script.read_text(encoding="utf-8")):
        assert (script.parent / name).exists(), name


def test_the_teachers_page_lists_every_exercise_and_every_tutorial():
    page = (TUTORIALS[0].parent / "teaching.md").read_text(encoding="utf-8")
    for script in TUTORIALS:
        titles = re.findall(r"^# ### Exercise \d \(\w+\): (.*)$", script.read_text(encoding="utf-8"), re.MULTILINE)
        link = f"| [{int(script.name[:2])}]({script.name}) |"
        assert f"{link} {' | '.join(titles)} |" in page, script.name
        assert page.count(link) == 2, script.name  # what students can do afterwards, and the exercises
