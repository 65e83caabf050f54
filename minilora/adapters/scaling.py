"""The two conventions for the factor s in ΔW = s B A.

At the start of training B is zero, and the update of B A grows with the number of its columns. LoRA
divides by the rank, so that α need not be tuned again for every rank; rsLoRA shows that 1/√r is the
factor under which activations and gradients neither vanish nor explode as the rank grows. Pass one
of these two functions as `scaling`, or your own.

LoRA: Hu et al., 2021, arXiv 2106.09685, section 4.1. rsLoRA: Kalajdzievski, 2023, arXiv 2312.03732.
"""

import math
from numbers import Real

from minilora.checks import check_positive, check_rank


def alpha_over_rank(alpha, rank):
    """s = α / r, LoRA's factor."""
    return alpha / rank


def alpha_over_sqrt_rank(alpha, rank):
    """s = α / √r, rsLoRA's factor."""
    return alpha / rank**0.5


def scale_of(adapter):
    """s = scaling(α, r) of an adapter, as a float; alpha None means α = r."""
    return float(_scaled(adapter))


def _scaled(adapter):
    """What the adapter's scaling gives, whatever that is."""
    alpha = adapter.rank if adapter.alpha is None else adapter.alpha
    return adapter.scaling(alpha, adapter.rank)


def check_scale(adapter):
    """Raise ValueError unless rank is an integer ≥ 1, alpha None or positive, and s positive."""
    check_rank(adapter.rank)
    if adapter.alpha is not None:
        check_positive("alpha", adapter.alpha, most=1e300)
    if not callable(adapter.scaling):
        advice = "pass a function such as alpha_over_rank or alpha_over_sqrt_rank"
        raise ValueError(
            f"scaling must be a function of (alpha, rank), got {adapter.scaling!r}: {advice}"
        )
    scale = _scaled(adapter)
    if not isinstance(scale, Real) or not 0 < scale < math.inf:
        raise ValueError(f"scaling must give a positive number, got {scale!r} for {adapter!r}")
