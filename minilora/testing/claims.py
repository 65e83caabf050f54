"""How a test says which claim it checks and by how much it holds; a run ends with a table of them.

    @claim("A1.1", ZENG_LEE, "no adapters beat σ of index ΣR + 1")
    def test_…():
        within(error, tolerance)        # error ≤ tolerance; worst is the largest error / tolerance
        exactly(np.array_equal(a, b))   # a bitwise or integer statement
        at_least(value, margin)         # a negative result: value ≥ margin; worst is margin / value

Each call counts as one case. They raise AssertionError, also under `python -O`.
"""

import numpy as np

ZENG_LEE = "Expressive Power, Zeng & Lee 2023"
YUAN = "HRA, Yuan et al. 2024"
PO = "SBoRA, Po et al. 2024"
DETTMERS = "QLoRA, Dettmers et al. 2023"
KIM = "CondLoRA, Kim et al. 2024"

record = {"cases": 0, "worst": 0.0}


def claim(number, source, statement):
    """Mark a test as the check of a claim: its number, its paper, what it says in a few words."""
    import pytest

    return pytest.mark.claim(number, source, statement)


def within(error, tolerance, says=""):
    """Check error ≤ tolerance and note error / tolerance; NaN fails."""
    error = float(np.max(error))
    tolerance = float(tolerance)
    if not error <= tolerance:
        raise AssertionError(
            f"{says} error {error:.3e} is above the tolerance {tolerance:.3e}".strip()
        )
    _note(error / tolerance if error else 0.0)


def at_least(value, margin, says=""):
    """Check value ≥ margin > 0 and note margin / value; NaN fails."""
    value = float(np.min(value))
    margin = float(margin)
    if not margin > 0:
        raise AssertionError(f"a margin of {margin} shows nothing")
    if not value >= margin:
        raise AssertionError(f"{says} {value:.3e} is below the margin {margin:.3e}".strip())
    _note(margin / value)


def exactly(holds, says=""):
    """Check a statement that holds exactly or not at all."""
    if not holds:
        raise AssertionError(says or "an exact statement does not hold")
    _note(0.0)


def _note(share):
    record["cases"] += 1
    record["worst"] = max(record["worst"], float(share))
