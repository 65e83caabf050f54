"""The two conventions for the factor s in ΔW = s B A.

At the start of training B is zero and the update of B A grows with the number of its columns. LoRA divides by rank, so
that α does not have to be tuned anew for every rank; rsLoRA shows that 1/√rank is the factor under which the
activations and gradients neither vanish nor explode as the rank grows. Pass one of these two functions, or your own.

LoRA: Hu et al., 2021, arXiv 2106.09685, section 4.1. rsLoRA: Kalajdzievski, 2023, arXiv 2312.03732.
"""

from collections.abc import Callable
from dataclasses import dataclass

from minilora.linalg import check_rank


def alpha_over_rank(alpha, rank):
    """s = α / r, LoRA's factor."""
    return alpha / rank


def alpha_over_sqrt_rank(alpha, rank):
    """s = α / √r, rsLoRA's factor."""
    return alpha / rank**0.5


@dataclass(frozen=True)
class Scaled:
    """Rank, α and scaling, and the s they make: what LoRA, both SBoRA and CondLoRA have in common, whose ΔW is s B A.

    It holds three fields and is no base class for adapters in general: an adapter needs none.
    alpha None stands for α = r. Raises ValueError when rank is not a whole number of at least 1, or alpha not a
    positive number below 1e300: a whole number beyond could not become a float.
    """

    rank: int
    alpha: float | None = None
    scaling: Callable = alpha_over_rank

    def __post_init__(self):
        check_rank(self.rank)
        if not (self.alpha is None or (isinstance(self.alpha, (int, float)) and 0 < self.alpha < 1e300)):
            raise ValueError(f"alpha must be positive and below 1e300 (or None, for alpha = rank), got {self.alpha!r}")

    @property
    def scale(self):
        """s = scaling(α, r), as a float."""
        alpha = self.rank if self.alpha is None else self.alpha
        return float(self.scaling(alpha, self.rank))
