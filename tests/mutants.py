"""Tests of the tests: small faults, each put into a copy of the source, which tests must catch.

    python tests/mutants.py                  all faults, about ten minutes on 2 cores
    python tests/mutants.py lora hra         only those of files whose name has one of these words
    python tests/mutants.py --seconds 200    as many as time allows, others from day to day
    python tests/mutants.py --check          try nothing, only look for faults that are out of date

The faults are listed in tests/faults, one list for each file of the package: FILE is that file,
TESTS the tests that concern it, FAULTS holds pairs (original, mutant): a piece of the source, and
what the fault writes in its place. Two faults a function are enough, and five in an adapter: a list
shows which kinds of mistake the tests see, and has to follow every change of the source.

Ends with "N of N faults tried: N caught, N missed", and with all lists that are out of date. The
exit code is 1 if any fault was missed or any list is out of date. Tests that do not end, or take
all memory, catch a fault too: a trial is stopped after LONGEST seconds. Needs a system that can
fork, which Windows cannot; --check runs everywhere.
"""

import argparse
import datetime
import multiprocessing
import os
import random
import runpy
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

# Imported once, here: every fault is tried in a fork of this process. The forks import the package.
import autograd.test_util  # noqa: F401
import hypothesis.extra.numpy  # noqa: F401
import matplotlib.figure  # noqa: F401
import pytest

ROOT = Path(__file__).parent.parent
COPIED = ("minilora", "tests")  # the tests find the package beside themselves
LINKED = ("tutorials", ".github")  # what some tests read
LONGEST = 150  # seconds
MOST_MEMORY = 4 << 30  # bytes


class Fault(NamedTuple):
    """A piece of a file, and what is written in its place; both empty for no fault at all."""

    file: str
    tests: str
    original: str
    mutant: str

    def __str__(self):
        return f"{self.file}: {self.original.strip()}  →  {self.mutant.strip() or 'nothing'}"


def read_faults(path):
    """The faults of one list."""
    found = runpy.run_path(str(path))
    return [Fault(found["FILE"], found["TESTS"], *pair) for pair in found["FAULTS"]]


def problem_with(fault):
    """What is out of date about a fault: a sentence, or "" if it can be tried."""
    path = ROOT / "minilora" / fault.file
    if not path.is_file():
        return f"minilora/{fault.file} is not there"
    for name in fault.tests.split():
        if not (ROOT / "tests" / name).is_file():
            return f"{fault.file}: tests/{name} is not there"
    source = path.read_text(encoding="utf-8")
    if fault.original not in source:
        return f"{fault.file}: {fault.original!r} does not occur"
    faulty = source.replace(fault.original, fault.mutant, 1)
    if faulty == source:
        return f"{fault.file}: {fault.original!r} is replaced by itself"
    try:
        compile(faulty, fault.file, "exec")
    except SyntaxError as error:
        return f"{fault.file}: {fault.mutant!r} is not valid Python: {error.msg}"
    return ""


def try_fault(fault):
    """pytest's exit code for the fault's tests in a copy of the source with this fault."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        copy_source(copy)
        path = copy / "minilora" / fault.file
        source = path.read_text(encoding="utf-8")
        path.write_text(source.replace(fault.original, fault.mutant, 1), encoding="utf-8")
        return run_tests(copy, fault.tests.split())


def copy_source(folder):
    """Copy the package, its tests and all that these read."""
    for name in COPIED:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in LINKED:
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, folder)


def run_tests(copy, names):
    """pytest's exit code for these tests of the copy; 1, as for a failure, if they do not end."""
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    sys.path[:0] = [str(copy), str(copy / "tests")]
    sys.dont_write_bytecode = True
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    options = ["-x", "-q", "-p", "no:cacheprovider", "--assert=plain"]
    options += ["--hypothesis-profile=mutants"]
    limit_this_process()
    code = pytest.main([*options, *[f"tests/{name}" for name in names]])
    out_of_time = signal.alarm(0) == 0
    os.chdir("/")
    return 1 if out_of_time else int(code)


def limit_this_process():
    """Interrupt it, as Ctrl-C does, after LONGEST seconds; let it have MOST_MEMORY at most."""
    import resource  # Unix has it

    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(LONGEST)


def try_all(faults, end=float("inf")):
    """Yield (fault, exit code) for all faults, several at a time, until the clock reaches `end`."""
    # One fork for each trial, so that no trial sees what another has imported.
    with multiprocessing.get_context("fork").Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        for fault, code in zip(faults, pool.imap(try_fault, faults, chunksize=1)):
            yield fault, code
            if time.monotonic() > end:
                break
        pool.terminate()


def failing_tests(faults):
    """The tests that do not pass on the source as it is: they would seem to catch every fault."""
    unchanged = {fault.tests: Fault(fault.file, fault.tests, "", "") for fault in faults}
    return {fault.tests for fault, code in try_all(unchanged.values()) if code != 0}


def report(faults, end=float("inf")):
    """Try the faults, print a line for each and a summary; return (missed, could not be tried)."""
    counts = {"caught": 0, "MISSED": 0, "BROKEN": 0}
    broken = []
    for fault, code in try_all(faults, end):
        verdict = {0: "MISSED", 1: "caught"}.get(code, "BROKEN")
        counts[verdict] += 1
        print(f"{verdict}  {fault}", flush=True)
        if verdict == "BROKEN":
            broken.append(f"{fault.file}: pytest ends with exit code {code} for {fault.mutant!r}")
    caught = counts["caught"]
    missed = counts["MISSED"]
    tried = caught + missed
    print(f"{tried} of {len(faults)} faults tried: {caught} caught, {missed} missed")
    return missed, broken


def main(arguments=None):
    """Try the faults; return 1 if any was missed or is out of date, else 0."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("words", nargs="*", help="parts of the names of files")
    parser.add_argument("--seconds", type=float, help="stop after this time")
    parser.add_argument("--check", action="store_true", help="only look for what is out of date")
    options = parser.parse_args(arguments)
    sys.stdout.reconfigure(errors="backslashreplace")
    faults = [
        fault
        for path in sorted(ROOT.glob("tests/faults/*.py"))
        for fault in read_faults(path)
        if not options.words or any(word in fault.file for word in options.words)
    ]
    if not faults:
        parser.error(f"no file with faults has one of {', '.join(options.words)} in its name")
    problems = [problem for fault in faults if (problem := problem_with(fault))]
    current = [fault for fault in faults if not problem_with(fault)]
    missed = 0
    if options.check:
        print(f"{len(current)} of {len(faults)} faults are up to date")
    elif options.seconds is None:
        failing = failing_tests(current)
        problems += [f"{tests}: these must pass without any fault, but fail" for tests in failing]
        missed, broken = report([fault for fault in current if fault.tests not in failing])
        problems += broken
    else:  # every second counts, and CI has just seen the tests pass
        random.Random(datetime.date.today().toordinal()).shuffle(current)
        missed, broken = report(current, time.monotonic() + options.seconds)
        problems += broken
    for problem in dict.fromkeys(problems):
        print(f"out of date  {problem}")
    return int(missed > 0 or bool(problems))


if __name__ == "__main__":
    sys.exit(main())
