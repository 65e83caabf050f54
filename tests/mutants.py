"""Tests of the tests: one-line faults, each put into a copy of the source; the suite must catch every one.

    python tests/mutants.py                  all faults, about ten minutes on 2 cores
    python tests/mutants.py lora hra         only those in files whose name has one of these words
    python tests/mutants.py --seconds 200    as many as that time allows, others from day to day

The faults are listed in tests/faults, one file for each file of the package: FILE is that file, TESTS the tests that
concern it, FAULTS holds pairs (what stands there, what the fault puts in its place).
Ends with "N of N faults tried: N caught, N missed"; the exit code is 1 if any was missed. Needs a system that can fork,
which Windows cannot.
"""

import argparse
import datetime
import multiprocessing
import os
import random
import runpy
import shutil
import sys
import tempfile
import time
from pathlib import Path

# Imported once, here: every fault is tried in a fork of this process. The package itself is imported by the forks.
import autograd.test_util  # noqa: F401
import hypothesis.extra.numpy  # noqa: F401
import matplotlib.figure  # noqa: F401
import pytest

ROOT = Path(__file__).parent.parent


def passes(trial):
    """Whether a copy of the source, with bad in the place of good in this file, passes these tests."""
    file, tests, good, bad = trial
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("minilora", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("setup.cfg", "README.md"):
            shutil.copy(ROOT / part, copy)
        source = (copy / "minilora" / file).read_text(encoding="utf-8")
        if good not in source:
            return f"{file} no longer has {good!r}: bring the list of faults up to date"
        faulty = source.replace(good, bad, 1)
        try:
            compile(faulty, file, "exec")
        except SyntaxError as error:
            return f"{file}: {bad!r} in the place of {good!r} is no Python: {error}"
        (copy / "minilora" / file).write_text(faulty, encoding="utf-8")
        code = run_tests(copy, tests.split())
    return {0: True, 1: False}.get(code, f"pytest could not run {tests}: exit code {code}")


def run_tests(copy, names):
    """pytest's exit code for these tests of the copy."""
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    sys.path[:0] = [str(copy), str(copy / "tests")]
    sys.dont_write_bytecode = True
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    options = ["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", "--hypothesis-profile=mutants"]
    code = pytest.main([*options, *[f"tests/{name}" for name in names]])
    os.chdir("/")
    return int(code)


def main():
    """Check that the tests pass without a fault, then try the faults, several at a time, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    chosen = parser.parse_args()
    end = time.monotonic() + chosen.seconds
    lists = [runpy.run_path(str(path)) for path in sorted(ROOT.glob("tests/faults/*.py"))]
    lists = [each for each in lists if not chosen.words or any(word in each["FILE"] for word in chosen.words)]
    sound = list({each["TESTS"]: (each["FILE"], each["TESTS"], "", "") for each in lists}.values())
    faults = [(each["FILE"], each["TESTS"], good, bad) for each in lists for good, bad in each["FAULTS"]]
    if chosen.seconds < float("inf"):  # every second counts, and CI has just seen the tests pass
        random.Random(datetime.date.today().toordinal()).shuffle(faults)
        sound = []
    tried, missed = 0, 0
    # One fork for each trial, so that no trial sees what another has imported.
    with multiprocessing.get_context("fork").Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        for (file, *_), passed in zip(sound, pool.imap(passes, sound, chunksize=1)):
            if passed is not True:
                raise SystemExit(f"{file}: without any fault its tests must pass, but: {passed or 'they fail'}")
        for (file, _, good, bad), passed in zip(faults, pool.imap(passes, faults, chunksize=1)):
            if isinstance(passed, str):
                raise SystemExit(passed)
            tried, missed = tried + 1, missed + passed
            print(
                f"{'MISSED' if passed else 'caught'}  {file}: {good.strip()}  →  {bad.strip() or 'nothing'}", flush=True
            )
            if time.monotonic() > end:
                break
        pool.terminate()
    print(f"{tried} of {len(faults)} faults tried: {tried - missed} caught, {missed} missed")
    return missed > 0


if __name__ == "__main__":
    sys.exit(main())
