"""Tests of the tests: one-line faults, each put into a copy of the source; the suite must catch every one.

    python tests/mutants.py             all faults
    python tests/mutants.py lora        only those in files whose name has this word

The faults are listed in tests/faults, one file for each file of the package: FILE is that file, TESTS the tests that
concern it, FAULTS holds pairs (what stands there, what the fault puts in its place).
Ends with "N caught, N missed"; the exit code is 1 if any was missed.
"""

import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent


def passes(file, tests, good="", bad=""):
    """Whether a copy of the source, with bad in the place of good in this file, passes these tests."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("minilora", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("setup.cfg", "README.md"):
            shutil.copy(ROOT / part, copy)
        source = (copy / "minilora" / file).read_text(encoding="utf-8")
        if good not in source:
            raise SystemExit(f"{file}: no longer has {good!r}: bring the list of faults up to date")
        (copy / "minilora" / file).write_text(source.replace(good, bad, 1), encoding="utf-8")
        names = [f"tests/{name}" for name in tests.split()]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *names]
        environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        result = subprocess.run(command, cwd=copy, env=environment, capture_output=True)
        if result.returncode > 1:
            raise SystemExit(f"{file}: pytest did not run the tests: {result.stdout.decode()[-2000:]}")
        return result.returncode == 0


def main(words):
    """Check that the tests pass without a fault, then try the faults, several at a time, and report."""
    lists = [runpy.run_path(str(path)) for path in sorted(ROOT.glob("tests/faults/*.py"))]
    lists = [each for each in lists if not words or any(word in each["FILE"] for word in words)]
    faults = [(each["FILE"], each["TESTS"], good, bad) for each in lists for good, bad in each["FAULTS"]]
    missed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for each, sound in zip(lists, pool.map(passes, *zip(*[(each["FILE"], each["TESTS"]) for each in lists]))):
            if not sound:
                raise SystemExit(f"{each['FILE']}: its tests fail without any fault, so they can tell nothing")
        for (file, _, good, bad), survived in zip(faults, pool.map(passes, *zip(*faults))):
            missed += survived
            print(
                f"{'MISSED' if survived else 'caught'}  {file}: {good.strip()}  →  {bad.strip() or 'nothing'}",
                flush=True,
            )
    print(f"{len(faults) - missed} caught, {missed} missed")
    return missed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
