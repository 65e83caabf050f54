"""How a test says which claim it checks and by how much it holds; conftest.py makes the table from it.

    @claim("A1.1", ZENG_LEE, "no adapters beat σ of index ΣR + 1")
    def test_…():
        within(error, tolerance)          # error ≤ tolerance; the table shows the worst error / tolerance
        exactly(np.array_equal(a, b))     # a bitwise or integer statement
        at_least(error, margin)           # a negative result: error ≥ margin; the table shows the worst margin / error

Each call counts as one case. They assert, so a claim that does not hold fails its test.
"""

import numpy as np
import pytest

HU = "LoRA, Hu et al. 2021"
ZENG_LEE = "Expressive Power, Zeng & Lee 2023"
YUAN = "HRA, Yuan et al. 2024"
PO = "SBoRA, Po et al. 2024"
DETTMERS = "QLoRA, Dettmers et al. 2023"
KIM = "CondLoRA, Kim et al. 2024"

record = {"cases": 0, "worst": 0.0}


def claim(name, source, statement):
    """Mark a test as the check of a claim: its number, its paper, what it says in a few words."""
    return pytest.mark.claim(name, source, statement)


def _note(share):
    record["cases"] += 1
    record["worst"] = max(record["worst"], float(share))


def within(error, tolerance, says=""):
    """Assert error ≤ tolerance and note error / tolerance; NaN fails."""
    error, tolerance = float(np.max(error)), float(tolerance)
    assert error <= tolerance, f"{says} error {error:.3e} is above the tolerance {tolerance:.3e}"
    _note(error / tolerance if error else 0.0)


def at_least(value, margin, says=""):
    """Assert value ≥ margin > 0 and note margin / value; NaN fails."""
    value, margin = float(np.min(value)), float(margin)
    assert margin > 0, f"a margin of {margin} shows nothing"
    assert value >= margin, f"{says} {value:.3e} is below the margin {margin:.3e}"
    _note(margin / value)


def exactly(holds, says=""):
    """Assert a statement that holds exactly or not at all."""
    assert holds, says
    _note(0.0)
