"""The two conventions for the factor s in ΔW = s B A.

The more columns B has, the more a step of training moves B A. LoRA divides by the rank, so that α
needs less tuning when the rank changes. Which factor keeps the size of a step depends on the
optimiser. From B = 0 and a Gaussian A with a variance that does not depend on r, the first step
moves the adapter's output, for the input of that step, on average

    by s² r with gradient descent: α/√r keeps this size, and α/r lets it vanish as r grows
    by s r with Adam: α/r keeps this size, and with α/√r it grows like √r

rsLoRA's argument for α/√r, that outputs and gradients neither vanish nor explode as r grows, is for
gradient descent. Pass one of these two functions as `scaling`, or your own.

LoRA: Hu et al., 2021, arXiv 2106.09685, section 4.1. rsLoRA: Kalajdzievski, 2023, arXiv 2312.03732.
"""

from minilora.checks import check_positive, check_rank, is_positive


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
    """What the adapter's scaling returns, unchecked."""
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
    if not is_positive(scale):
        raise ValueError(f"scaling must give a positive number, got {scale!r} for {adapter!r}")
