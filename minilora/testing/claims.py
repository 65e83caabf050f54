"""How a test says which claim it checks and by how much it holds; a run ends with a table of them.

    @claim("A1.1", ZENG_LEE, "no adapters beat σ of index ΣR + 1")
    def test_…():
        within(error, tolerance)        # error ≤ tolerance; worst is the largest error / tolerance
        exactly(np.array_equal(a, b))   # a bitwise or integer statement
        at_least(value, margin)         # a negative result: value ≥ margin; worst is margin / value

Each call counts as one case, of the one claim of its test. They raise AssertionError, also under
`python -O`. When a check fails, worst is above 1, unless there is no number to divide by.
"""

import numpy as np

HU = "LoRA, Hu et al. 2021"
KALAJDZIEVSKI = "rsLoRA, Kalajdzievski 2023"
ZENG_LEE = "Expressive Power, Zeng & Lee 2023"
YUAN = "HRA, Yuan et al. 2024"
PO = "SBoRA, Po et al. 2024"
DETTMERS = "QLoRA, Dettmers et al. 2023"
KIM = "CondLoRA, Kim et al. 2024"
SHUTTLEWORTH = "Intruder dimensions, Shuttleworth et al. 2024"
MANGRULKAR = "PEFT, Mangrulkar et al. 2022"
OURS = "minilora's own"  # in no paper that we know of

record = {"cases": 0, "worst": 0.0}


def claim(number, source, statement):
    """Mark a test as the check of a claim: its number, its source, what it says in a few words."""
    import pytest

    return pytest.mark.claim(number, source, statement)


def within(error, tolerance, says=""):
    """Check error ≤ tolerance and note error / tolerance; NaN fails."""
    error = float(np.max(error))
    tolerance = float(tolerance)
    reason = f"{says} error {error:.3e} is above the tolerance {tolerance:.3e}".strip()
    _conclude(error <= tolerance, error / tolerance if tolerance > 0 else 0.0, reason)


def at_least(value, margin, says=""):
    """Check value ≥ margin > 0 and note margin / value; NaN fails."""
    value = float(np.min(value))
    margin = float(margin)
    if not margin > 0:
        raise AssertionError(f"a margin of {margin} shows nothing")
    reason = f"{says} {value:.3e} is below the margin {margin:.3e}".strip()
    _conclude(value >= margin, margin / value if value > 0 else 0.0, reason)


def exactly(holds, says=""):
    """Check a statement that holds exactly or not at all."""
    _conclude(bool(holds), 0.0, says or "an exact statement does not hold")


def _conclude(holds, share, reason):
    """Count a check and note its share, and only then raise an error if it does not hold."""
    record["cases"] += 1
    if np.isfinite(share):
        record["worst"] = max(record["worst"], share)
    if not holds:
        raise AssertionError(reason)
