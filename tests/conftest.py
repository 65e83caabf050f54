"""What all tests share: one BLAS thread, Hypothesis' profiles, and the table of claims."""

import gc
import os

os.environ.setdefault(
    "OPENBLAS_NUM_THREADS", "1"
)  # for matrices this small a second thread costs time
os.environ["MPLBACKEND"] = "agg"  # a notebook's kernel sets one that may not be installed here

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from support.tutorials import Runs

from minilora.testing.hooks import install_table

settings.register_profile(
    "default", derandomize=True, deadline=None, max_examples=60, database=None
)
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
settings.register_profile(
    "mutants", settings.get_profile("default"), phases=(Phase.explicit, Phase.generate)
)
settings.load_profile("default")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session", autouse=True)
def started_tutorials(request):
    """The `Runs` of all tutorials that are wanted, which begin before the first test; or None.

    A worker of pytest-xdist has the whole list of tests, but is given a part of it.
    """
    cases = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    wanted = {params["to_run"] for params in cases if "to_run" in params}
    if not wanted or "PYTEST_XDIST_WORKER" in os.environ:
        yield None
        return
    runs = Runs(wanted, spared=1 if len(request.session.items) > len(wanted) else 0)
    yield runs
    runs.stop()


def pytest_addoption(parser):
    parser.addoption("--claims", action="store_true", help="run only the tests that check a claim")


def pytest_configure(config):
    install_table(config).header = explanation


def explanation(lines):
    """Where the ids of the claims are explained; `pytest --adapter` alone has promises only."""
    claims = [line for line in lines if not line.source.startswith("Contract of ")]
    return (
        ["ids: tutorials/claims.md, and of promises: python -m minilora.testing"] if claims else []
    )


def pytest_collection_finish():
    """Python's garbage collector need not look through thousands of tests again and again."""
    gc.freeze()


def pytest_collection_modifyitems(config, items):
    if config.getoption("--claims"):
        dropped = [item for item in items if not item.get_closest_marker("claim")]
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]
