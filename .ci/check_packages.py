"""Build the sdist and the wheel, and use both as a stranger would.

    python .ci/check_packages.py        needs the [dev] extra and git; about a minute

The sdist must hold every file that git lists, and tests must pass in it. The wheel is built from
the sdist, installed into a fresh virtual environment, and used in an empty folder.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = ("tests/test_packaging.py", "tests/test_layout.py", "tests/test_quantize.py")
LESSONS_WITH_DATA = ("14_real_model", "17_peft")  # results; checkpoints
ADAPTER = '''\
from dataclasses import dataclass

from minilora import LoRA


@dataclass(frozen=True)
class Mine(LoRA):
    """LoRA under another name."""
'''


def run(*command, folder):
    """Run a command in a folder, with no other path to Python's modules; raise if it fails."""
    environment = {**os.environ, "PYTHONUTF8": "1"}
    environment.pop("PYTHONPATH", None)
    print("$", *command, flush=True)
    subprocess.run([*map(str, command)], cwd=folder, env=environment, check=True)


def make_environment(folder):
    """A fresh virtual environment; returns its Python."""
    venv.create(folder, with_pip=True)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def check_complete(sdist):
    """Raise SystemExit unless an unpacked sdist holds every file that git lists."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    names = listed.stdout.decode().strip("\0").split("\0")
    missing = [name for name in names if not (sdist / name).exists()]
    if missing:
        raise SystemExit(f"the sdist lacks {', '.join(missing)}: see MANIFEST.in")


def main():
    """Build, check and use both packages."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        run(sys.executable, "-m", "build", "--quiet", "--outdir", work, ROOT, folder=work)
        (wheel,) = work.glob("*.whl")
        (archive,) = work.glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(work, filter="data")
        sdist = work / archive.name.removesuffix(".tar.gz")
        check_complete(sdist)
        python = make_environment(work / "environment")
        run(python, "-m", "pip", "install", "--quiet", f"{wheel}[test]", "jupytext", folder=work)
        run(python, "-m", "pytest", "-q", *TESTS, folder=sdist)

        empty = work / "empty"
        empty.mkdir()
        run(python, "-c", "from minilora import LoRA; print(LoRA(rank=4))", folder=empty)
        run(python, "-m", "minilora", "count", "llama3-8b", folder=empty)
        (empty / "mine.py").write_text(ADAPTER, encoding="utf-8")
        run(python.with_name("pytest"), "-q", "--adapter", "mine:Mine", folder=empty)

        run(python, "-m", "minilora", "course", "lessons", "--student", folder=empty)
        for lesson in LESSONS_WITH_DATA:
            run(python, f"lessons/{lesson}.py", folder=empty)


if __name__ == "__main__":
    main()
