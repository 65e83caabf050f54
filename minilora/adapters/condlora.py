"""CondLoRA: LoRA whose A and B are computed from W itself, by two matrices that layers share.

    A = Θ_A W,   B = W Θ_Bᵀ,   W' = W + s B A = W + s W (Θ_Bᵀ Θ_A) W

    Θ_A (r, d_out), Θ_B (r, d_in)      r (d_out + d_in) trainable parameters, once for all layers
                                       that share them

Layers of one shape share Θ_A and Θ_B by the key of `attach`, which shares nothing by default:

    attach(weights, {"*.q.W": CondLoRA(8)}, rng=rng, key=kind)

The update cannot leave the column space and the row space of W: what W maps to zero, W' maps to
zero. For an invertible W this is no restriction: a single layer reaches every ΔW that LoRA does.

Kim et al., 2024, arXiv 2403.14946. The authors' released code feeds the rows of W to both linear
layers, which gives W M Wᵀ in place of W M W and needs square W. This adapter follows the formula
above and takes any shape.
"""

from collections.abc import Callable
from dataclasses import dataclass

import autograd.numpy as np

from minilora.adapters.scaling import alpha_over_rank, check_scale, scale_of
from minilora.checks import check_matrix, check_rank
from minilora.weight import dense, describe, linear, normal


@dataclass(frozen=True)
class CondLoRA:
    """Conditionally parameterised LoRA, W' = W + s W Θ_Bᵀ Θ_A W.

    rank: r, at most min(d_out, d_in). alpha, scaling: as for LoRA.

    Raises ValueError when rank is not an integer of at least 1, or alpha or s not a positive
    number.
    """

    rank: int
    alpha: float | None = None
    scaling: Callable = alpha_over_rank

    __repr__ = describe

    scale = property(scale_of)  # s = scaling(α, r)

    def __post_init__(self):
        check_scale(self)

    def init(self, rng, W):
        """params: Theta_A (r, d_out) from N(0, 1/d_out), Theta_B (r, d_in) = 0. frozen: W.

        Raises ValueError when W is not a finite matrix or r > min(d_out, d_in).
        """
        d_out, d_in = check_matrix("W", W)
        check_rank(self.rank, most=min(d_out, d_in))
        Theta_A = normal(rng, (self.rank, d_out), d_out**-0.5, W.dtype)
        Theta_B = np.zeros((self.rank, d_in), W.dtype)
        return {"Theta_A": Theta_A, "Theta_B": Theta_B}, {"W": W}

    def forward(self, params, frozen, x):
        """y = W x + B (s Θ_A (W x)), where Bᵀ is W applied to the r rows of Θ_B."""
        base = linear(frozen["W"], x)
        low = self.scale * linear(params["Theta_A"], base)
        B = linear(frozen["W"], params["Theta_B"]).T
        return base + linear(B, low)

    def merge(self, params, frozen):
        """W' = W + s B A with A = Θ_A W and B = W Θ_Bᵀ."""
        W = dense(frozen["W"])
        A = params["Theta_A"] @ W
        B = W @ params["Theta_B"].T
        return W + self.scale * (B @ A)
