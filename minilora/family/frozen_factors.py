"""Frozen factors: W + s B A in which most of B and A is drawn or computed once and not trained.

LoRAFA     W' = W + s B A                       B = 0 trained, A random and frozen
LoRAXS     W' = W + s B R A                     R (r, r) = 0 trained, B A the best rank r of W
VeRA       W' = W + diag(b) B diag(d) A         b = 0 and d = 0.1 trained, A, B random
RandLoRA   W' = W + s Σ_i B_i diag(λ_i) A diag(γ_i)   λ = 0 and γ trained, A, B_i random
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import autograd.numpy as np

from minilora.adapters.scaling import alpha_over_rank, check_scale, scale_of
from minilora.checks import check_matrix, check_rank
from minilora.weight import dense, describe, linear, normal


@dataclass(frozen=True)
class LoRAFA:
    """LoRA-FA, W' = W + s B A with A frozen: r d_out trainable parameters.

    rank, alpha, scaling: as for LoRA. Zhang et al., 2023, arXiv 2308.03303. SBoRA-FA is the case in
    which the rows of A are rows of the identity.
    """

    rank: int
    alpha: float | None = None
    scaling: Callable = alpha_over_rank

    __repr__ = describe
    __post_init__ = check_scale
    scale = property(scale_of)

    def init(self, rng, W):
        """params: B = 0. frozen: W, A from N(0, 1/d_in). ValueError when W is no finite matrix."""
        d_out, d_in = check_matrix("W", W)
        A = normal(rng, (self.rank, d_in), d_in**-0.5, W.dtype)
        return {"B": np.zeros((d_out, self.rank), W.dtype)}, {"W": W, "A": A}

    def forward(self, params, frozen, x):
        """y = W x + B (s A x)."""
        low = self.scale * linear(frozen["A"], x)
        return linear(frozen["W"], x) + linear(params["B"], low)

    def merge(self, params, frozen):
        """W' = W + s B A."""
        return dense(frozen["W"]) + self.scale * (params["B"] @ frozen["A"])


@dataclass(frozen=True)
class LoRAXS:
    """LoRA-XS, W' = W + s B R A: r² trainable parameters between W's first singular vectors.

    rank: at most min(d_out, d_in). alpha, scaling: as for LoRA.

    Bałazy et al., 2024, arXiv 2405.17604. B = U_r diag(σ_r), A = V_rᵀ. Departure: R starts at 0,
    theirs from N(0, 1e-10).
    """

    rank: int
    alpha: float | None = None
    scaling: Callable = alpha_over_rank

    __repr__ = describe
    __post_init__ = check_scale
    scale = property(scale_of)

    def init(self, rng, W):
        """params: R = 0. frozen: W, A, B. ValueError when W is no finite matrix or r too large."""
        check_rank(self.rank, min(check_matrix("W", W)))
        U, sigma, Vt = np.linalg.svd(dense(W), full_matrices=False)
        B, A = U[:, : self.rank] * sigma[: self.rank], Vt[: self.rank]
        return {"R": np.zeros((self.rank, self.rank), W.dtype)}, {"W": W, "A": A, "B": B}

    def forward(self, params, frozen, x):
        """y = W x + B (R (s A x))."""
        low = linear(params["R"], self.scale * linear(frozen["A"], x))
        return linear(frozen["W"], x) + linear(frozen["B"], low)

    def merge(self, params, frozen):
        """W' = W + s B R A."""
        return dense(frozen["W"]) + self.scale * (frozen["B"] @ params["R"] @ frozen["A"])


@dataclass(frozen=True)
class VeRA:
    """VeRA, W' = W + diag(b) B diag(d) A: r + d_out trainable parameters.

    Kopiczko et al., 2023, arXiv 2310.11454. Departure: they draw one A and one B for all layers;
    here each layer draws its own, so those need memory, or the seed that draws them.
    """

    rank: int

    __repr__ = describe

    def __post_init__(self):
        check_rank(self.rank)

    def init(self, rng, W):
        """params: b = 0, d = 0.1. frozen: W, A (r, d_in), B (d_out, r), of the scale of x.

        Raises ValueError when W is not a finite matrix.
        """
        d_out, d_in = check_matrix("W", W)
        A = normal(rng, (self.rank, d_in), d_in**-0.5, W.dtype)
        B = normal(rng, (d_out, self.rank), self.rank**-0.5, W.dtype)
        start = {"b": np.zeros(d_out, W.dtype), "d": np.full(self.rank, 0.1, W.dtype)}
        return start, {"W": W, "A": A, "B": B}

    def forward(self, params, frozen, x):
        """y = W x + b * B (d * A x)."""
        low = params["d"] * linear(frozen["A"], x)
        return linear(frozen["W"], x) + params["b"] * linear(frozen["B"], low)

    def merge(self, params, frozen):
        """W' = W + diag(b) B diag(d) A."""
        return dense(frozen["W"]) + (params["b"][:, None] * frozen["B"] * params["d"]) @ frozen["A"]


@dataclass(frozen=True)
class RandLoRA:
    """RandLoRA, W' = W + s Σ_i B_i diag(λ_i) A diag(γ_i): full rank from random factors.

    With n = ⌈min(d_out, d_in) / r⌉ terms: λ (n, r) = 0, γ (n, min) = 1 / max; A (r, min) and the
    B_i (max, r) are random, shared by no other layer. For d_out < d_in the sum is transposed.
    alpha: s = alpha / rank, 1 by default.

    Albert et al., 2025, arXiv 2502.00987. Departures: as VeRA's; PEFT pairs the columns of the B_i
    with the rows of A in another order, which is another random draw.
    """

    rank: int
    alpha: float | None = None
    scaling: Callable = alpha_over_rank

    expected_failures: ClassVar = {"P11": "its terms side by side are as large as W, or larger"}
    __repr__ = describe
    __post_init__ = check_scale
    scale = property(scale_of)

    def init(self, rng, W):
        """params: λ, γ. frozen: W, A, and B (n, max, r). ValueError when W is no finite matrix."""
        most, least = sorted(check_matrix("W", W), reverse=True)
        n = -(-least // self.rank)
        A = normal(rng, (self.rank, least), least**-0.5, W.dtype)
        B = normal(rng, (n, most, self.rank), self.rank**-0.5, W.dtype)
        start = {"lambda": np.zeros((n, self.rank), W.dtype)}
        start["gamma"] = np.full((n, least), 1 / most, W.dtype)
        return start, {"W": W, "A": A, "B": B}

    def forward(self, params, frozen, x):
        """y = W x + s L (R x): all terms of the sum at once, L or R as large as W or larger."""
        return linear(frozen["W"], x) + self.scale * _all_terms(params, frozen, x)

    def merge(self, params, frozen):
        """W' = W + s Σ_i B_i diag(λ_i) A diag(γ_i), or with the transpose of the sum."""
        W = dense(frozen["W"])
        left = frozen["B"] * params["lambda"][:, None, :]  # (n, max, r)
        right = frozen["A"] * params["gamma"][:, None, :]  # (n, r, min)
        change = np.sum(left @ right, axis=0)
        return W + self.scale * (change if change.shape == W.shape else change.T)


def _all_terms(params, frozen, x):
    """L (R x) with L (d_out, n r), R (n r, d_in): L R = Σ_i B_i diag(λ_i) A diag(γ_i), or its
    transpose.

    For d_out ≥ d_in, L is all B_i side by side and R all diag(λ_i) A diag(γ_i) one below the other.
    """
    scaled = params["lambda"][:, :, None] * frozen["A"] * params["gamma"][:, None]
    right = scaled.reshape((-1, scaled.shape[2]))
    left = np.concatenate(list(frozen["B"]), axis=1)
    L, R = (left, right) if frozen["W"].shape[0] == len(left) else (right.T, left.T)
    return linear(L, linear(R, x))
