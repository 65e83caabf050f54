"""The two conventions for the factor s in ΔW = s B A.

At the start of training B is zero and the update of B A grows with the number of its columns. LoRA divides by rank, so
that α does not have to be tuned anew for every rank; rsLoRA shows that 1/√rank is the factor under which the
activations and gradients neither vanish nor explode as the rank grows. Pass one of these two functions, or your own.

LoRA: Hu et al., 2021, arXiv 2106.09685, section 4.1. rsLoRA: Kalajdzievski, 2023, arXiv 2312.03732.
"""

import math

from minilora.linalg import check_rank


def alpha_over_rank(alpha, rank):
    """s = α / r, LoRA's factor."""
    return alpha / rank


def alpha_over_sqrt_rank(alpha, rank):
    """s = α / √r, rsLoRA's factor."""
    return alpha / math.sqrt(rank)


def scale_of(adapter):
    """The factor s = scaling(α, r) of an adapter with rank, alpha and scaling, as a float; alpha None stands for α = r.

    Raises ValueError when rank is not a whole number of at least 1, or alpha not a positive finite number.
    """
    check_rank(adapter.rank)
    alpha = adapter.rank if adapter.alpha is None else adapter.alpha
    if not (isinstance(alpha, (int, float)) and math.isfinite(alpha) and alpha > 0):
        raise ValueError(f"alpha must be a positive number (or None, for alpha = rank), got {alpha!r}")
    return float(adapter.scaling(alpha, adapter.rank))
