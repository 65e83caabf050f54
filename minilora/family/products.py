"""Other products: an update of high rank from few numbers.

LoHa   W' = W + s (B1 A1) ⊙ (B2 A2)     entry by entry; rank up to r²
LoKr   W' = W + s C ⊗ (B A)             Kronecker's product; rank(C) times r at most
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import autograd.numpy as np

from minilora.adapters.scaling import alpha_over_rank, check_scale, scale_of
from minilora.checks import check_matrix
from minilora.weight import dense, describe, linear, normal


@dataclass(frozen=True)
class LoHa:
    """LoHa, W' = W + s (B1 A1) ⊙ (B2 A2): 2 r (d_out + d_in) trainable parameters, rank up to r².

    rank, alpha, scaling: as for LoRA. Hyeon-Woo, Ye-Bin & Oh, 2021, arXiv 2108.06098 (FedPara), as
    LyCORIS and PEFT use it. `forward` has r² thin terms, for
    (b1 a1ᵀ) ⊙ (b2 a2ᵀ) = (b1 ⊙ b2)(a1 ⊙ a2)ᵀ; PEFT builds the matrix.
    """

    rank: int
    alpha: float | None = None
    scaling: Callable = alpha_over_rank

    __repr__ = describe
    __post_init__ = check_scale
    scale = property(scale_of)

    def init(self, rng, W):
        """params: A1, A2 from N(0, 1), B1 from N(0, 0.01), B2 = 0. frozen: W.

        Raises ValueError when W is not a finite matrix.
        """
        d_out, d_in = check_matrix("W", W)
        A1, A2 = (normal(rng, (self.rank, d_in), 1.0, W.dtype) for _ in range(2))
        B1 = normal(rng, (d_out, self.rank), 0.1, W.dtype)
        return {"A1": A1, "A2": A2, "B1": B1, "B2": np.zeros_like(B1)}, {"W": W}

    def forward(self, params, frozen, x):
        """y = W x + Σ_kl (b1_k ⊙ b2_l) (s (a1_k ⊙ a2_l) · x)."""
        base = linear(frozen["W"], x)
        rows = (params["A1"][:, None] * params["A2"][None]).reshape((-1, x.shape[-1]))
        columns = params["B1"][:, :, None] * params["B2"][:, None, :]
        columns = columns.reshape((len(columns), -1))
        return base + linear(columns, self.scale * linear(rows, x))

    def merge(self, params, frozen):
        """W' = W + s (B1 A1) ⊙ (B2 A2)."""
        first, second = (params[f"B{i}"] @ params[f"A{i}"] for i in (1, 2))
        return dense(frozen["W"]) + self.scale * (first * second)


@dataclass(frozen=True)
class LoKr:
    """LoKr, W' = W + s C ⊗ (B A): C (o, i) with the largest o ≤ √d_out and i ≤ √d_in that divide.

    B (d_out / o, r), A (r, d_in / i). rank, alpha, scaling: as for LoRA.

    Yeh et al., 2023, arXiv 2309.14859 (LyCORIS); Edalati et al., 2022, arXiv 2212.10650 (KronA).
    Departure: they and PEFT train the second factor whole where the rank is not below half of it.
    """

    rank: int
    alpha: float | None = None
    scaling: Callable = alpha_over_rank

    __repr__ = describe
    __post_init__ = check_scale
    scale = property(scale_of)

    def init(self, rng, W):
        """params: C = 0, A from N(0, 1), B from N(0, i/d_in). ValueError for no finite matrix."""
        d_out, d_in = check_matrix("W", W)
        o, i = _divisor(d_out), _divisor(d_in)
        A = normal(rng, (self.rank, d_in // i), 1.0, W.dtype)
        B = normal(rng, (d_out // o, self.rank), (i / d_in) ** 0.5, W.dtype)
        return {"C": np.zeros((o, i), W.dtype), "A": A, "B": B}, {"W": W}

    def forward(self, params, frozen, x):
        """y = W x + s C X (B A)ᵀ, where X (i, d_in / i) holds x row by row, and the result y."""
        base = linear(frozen["W"], x)
        A, B, C = params["A"], params["B"], params["C"]
        grid = x.reshape((*x.shape[:-1], C.shape[1], A.shape[1]))
        update = C @ linear(B, self.scale * linear(A, grid))
        return base + update.reshape(base.shape)

    def merge(self, params, frozen):
        """W' = W + s C ⊗ (B A)."""
        return dense(frozen["W"]) + self.scale * np.kron(params["C"], params["B"] @ params["A"])


def _divisor(n):
    """The largest divisor of n that is at most √n."""
    return next(k for k in range(math.isqrt(n), 0, -1) if n % k == 0)
