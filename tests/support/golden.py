"""The base model of the checkpoints in tutorials/checkpoints: an MLP of short binary fractions."""

from itertools import pairwise
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent.parent.parent / "tutorials" / "checkpoints"


def fractions(shape, step):
    """Numbers from −5/8 to 5/8."""
    size = int(np.prod(shape))
    return ((np.arange(size) * step + step) % 11 - 5).reshape(shape) / 8


WIDTHS = (5, 4, 4, 3)
WEIGHTS = {}
for layer, (d_in, d_out) in enumerate(pairwise(WIDTHS)):
    WEIGHTS[f"layers.{layer}.W"] = fractions((d_out, d_in), 7 + layer)
    WEIGHTS[f"layers.{layer}.b"] = fractions((d_out,), 3 + layer)
INPUTS = fractions((3, 5), 4)
