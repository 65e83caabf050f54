"""DoRA with a mistake, for the referee: `pytest --adapter broken_dora:BrokenDoRA` in this folder.

    W' = m ⊙ V / ‖V‖,   V = W + B A

`merge` divides by the lengths of the rows of W, where `forward` divides by those of V. At the start
they are equal.
"""

from dataclasses import dataclass

from dora import DoRA

from minilora.weight import dense


@dataclass(frozen=True)
class BrokenDoRA(DoRA):
    """DoRA whose merge is wrong."""

    def merge(self, params, frozen):
        """W' = m ⊙ V / ‖W‖, which is wrong."""
        V = dense(frozen["W"]) + params["B"] @ params["A"]
        lengths = frozen["squares"] ** 0.5
        return (params["m"] / lengths)[:, None] * V
