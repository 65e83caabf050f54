"""What all tests share: one BLAS thread, Hypothesis' profiles, and the table of claims at the end of a run."""

import importlib
import os
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for matrices this small a second thread costs time

import claims
import contract
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile("default", derandomize=True, deadline=None, max_examples=60, database=None)
settings.register_profile(
    "thorough",
    derandomize=False,
    deadline=None,
    max_examples=2000,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# For mutants.py: a failing example need not be the simplest one.
settings.register_profile("mutants", settings.get_profile("default"), phases=(Phase.explicit, Phase.generate))
settings.load_profile("default")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def pytest_addoption(parser):
    parser.addoption("--claims", action="store_true", help="run only the tests that check a claim of a paper")
    parser.addoption("--adapter", metavar="MODULE:CLASS", help="run the contract on an adapter class of your own")


def pytest_configure(config):
    config.addinivalue_line("markers", "claim(name, source, statement): the claim of a paper that a test checks")
    if config.getoption("--adapter"):
        contract.ROWS = (contract.row_of(imported(config.getoption("--adapter"))),)
        config.args = [str(Path(__file__).parent / "test_contract.py")]


def imported(name):
    """The class MODULE:CLASS, its module sought in the working directory too."""
    sys.path.insert(0, os.getcwd())
    module, _, adapter = name.partition(":")
    try:
        return getattr(importlib.import_module(module), adapter)
    except (ImportError, AttributeError, ValueError) as error:
        raise pytest.UsageError(
            f"--adapter {name}: {error}; write mymodule:MyAdapter for a class in mymodule.py"
        ) from None


def pytest_collection_modifyitems(config, items):
    dropped = []
    if config.getoption("--claims"):
        dropped = [item for item in items if not item.get_closest_marker("claim")]
    if config.getoption("--adapter"):  # what is promised only of adapters whose closed forms are known
        dropped += [item for item in items if item.get_closest_marker("skip")]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item not in dropped]


def pytest_runtest_setup(item):
    claims.record.update(cases=0, worst=0.0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Put the row of the table on the report, which travels from the workers of pytest-xdist."""
    report = yield
    marks = list(item.iter_markers("claim"))
    if marks and report.when == "call":
        if report.passed and not claims.record["cases"]:
            report.outcome, report.longrepr = "failed", f"{item.nodeid} is marked as a claim, but checks nothing"
        for mark in marks:
            report.user_properties.append(("claim", (*mark.args, claims.record["cases"], claims.record["worst"])))
    return report


def pytest_terminal_summary(terminalreporter):
    rows = {}
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == "claim":
                number, source, statement, cases, worst = value
                row = rows.setdefault((source, number, statement), [0, 0.0, True])
                row[0] += cases
                row[1] = max(row[1], worst)
                row[2] &= report.passed
    if not rows:
        return
    terminalreporter.section("claims")
    width = max(len(statement) for _, _, statement in rows)
    paper = None
    for (source, number, statement), (cases, worst, holds) in sorted(rows.items(), key=in_reading_order):
        if source != paper:
            terminalreporter.line(f"{source:<{width + 8}}    cases    worst")
            paper = source
        verdict = "holds" if holds else "FAILS"
        terminalreporter.line(f"  {number:<5} {statement:<{width}} {cases:>8,}  {worst:>7.1e}  {verdict}")
    terminalreporter.line(
        "cases: checks made. worst: the largest error as a share of what is allowed; 0 is exact, and 1 an inequality "
        "that is attained."
    )


def in_reading_order(row):
    """Sort by paper, then A2 before A10."""
    (source, number, statement), _ = row
    digits = [int(part) for part in number[1:].split(".") if part.isdigit()]
    return source, number[:1], digits, statement
