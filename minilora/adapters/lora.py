"""LoRA: freeze W and learn a low-rank update beside it.

    W' = W + s B A       A (r, d_in), B (d_out, r), s = α / r

    r (d_out + d_in) trainable parameters

A starts random and B at zero, so W' = W before the first step. If both were zero, both gradients
would be zero and neither would ever move: ∂/∂B has the factor A x, and ∂/∂A the factor Bᵀ.

Hu et al., 2021, arXiv 2106.09685, section 4.1, equation 3. A is drawn from N(0, 1/d_in), so that
the entries of A x start at the size of those of x (in the mean square); the paper says only "random
Gaussian", and the authors' code draws from a uniform distribution.
"""

from collections.abc import Callable
from dataclasses import dataclass

import autograd.numpy as np

from minilora.adapters.scaling import alpha_over_rank, check_scale
from minilora.checks import check_matrix
from minilora.weight import dense, describe, linear, normal


@dataclass(frozen=True)
class LoRA:
    """Low-rank adaptation, W' = W + s B A.

    rank: r. More than min(d_out, d_in) is redundant, because B A has at most that rank. It is
    allowed, so that one LoRA fits layers with few outputs too. alpha: α; None stands for α = r,
    hence s = 1. scaling: s as a function of (alpha, rank); `alpha_over_sqrt_rank` makes it rsLoRA.

    Raises ValueError when rank is not an integer of at least 1, or alpha or s not a positive
    number.
    """

    rank: int
    alpha: float | None = None
    scaling: Callable = alpha_over_rank

    __repr__ = describe

    def __post_init__(self):
        check_scale(self)

    @property
    def scale(self):
        """s = scaling(α, r), as a float."""
        alpha = self.rank if self.alpha is None else self.alpha
        return float(self.scaling(alpha, self.rank))

    def init(self, rng, W):
        """params: A (r, d_in) from N(0, 1/d_in), B (d_out, r) = 0. frozen: W.

        Raises ValueError when W is not a finite matrix.
        """
        d_out, d_in = check_matrix("W", W)
        A = normal(rng, (self.rank, d_in), d_in**-0.5, W.dtype)
        B = np.zeros((d_out, self.rank), W.dtype)
        return {"A": A, "B": B}, {"W": W}

    def forward(self, params, frozen, x):
        """y = W x + B (s A x): two thin products instead of one (d_out, d_in) update."""
        low = self.scale * linear(params["A"], x)
        return linear(frozen["W"], x) + linear(params["B"], low)

    def merge(self, params, frozen):
        """W' = W + s B A."""
        delta = self.scale * (params["B"] @ params["A"])
        return dense(frozen["W"]) + delta
