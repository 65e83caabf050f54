"""DoRA with a mistake, to be found by the referee: `pytest --adapter broken_dora:BrokenDoRA` in this folder.

    W' = m ⊙ V / ‖V‖,   V = W + B A

`merge` divides by the lengths of the rows of W, where `forward` divides by those of V. At the start they are equal.
"""

from dataclasses import dataclass

import autograd.numpy as np
from dora import DoRA


@dataclass(frozen=True)
class BrokenDoRA(DoRA):
    """DoRA whose merge is wrong."""

    def merge(self, params, frozen):
        """W' = m ⊙ V / ‖W‖, which is wrong."""
        V = np.asarray(frozen["W"]) + params["B"] @ params["A"]
        return (params["m"] / np.sqrt(frozen["squares"]))[:, None] * V
