"""PiSSA: LoRA that starts from the largest singular values of W, and freezes the rest.

W' = (W − B_0 A_0) + s B A,  s B_0 A_0 the best rank r of W, B_0 = U_r √σ_r, A_0 = √σ_r V_rᵀ
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import autograd.numpy as np

from minilora.adapters.scaling import alpha_over_rank, check_scale, scale_of
from minilora.checks import check_matrix, check_rank
from minilora.weight import dense, describe, linear


@dataclass(frozen=True)
class PiSSA:
    """PiSSA, W' = R + s B A with R = W − s B_0 A_0 frozen: r (d_out + d_in) trainable parameters.

    rank: at most min(d_out, d_in). alpha, scaling: as for LoRA.

    Meng, Wang & Zhang, 2024, arXiv 2404.02948. W' is R plus any matrix of rank r at most: other
    matrices than LoRA of rank r reaches, and all within reach of LoRA of rank 2r.
    """

    rank: int
    alpha: float | None = None
    scaling: Callable = alpha_over_rank

    expected_failures: ClassVar = {"P12": "W − B A is a new matrix, in which four bits are lost"}
    __repr__ = describe
    __post_init__ = check_scale
    scale = property(scale_of)

    def init(self, rng, W):
        """params: A (r, d_in), B (d_out, r). frozen: R. ValueError as for LoRA-XS."""
        check_rank(self.rank, min(check_matrix("W", W)))
        whole = dense(W)
        U, sigma, Vt = np.linalg.svd(whole, full_matrices=False)
        root = np.sqrt(sigma[: self.rank] / np.asarray(self.scale, W.dtype))
        B, A = U[:, : self.rank] * root, root[:, None] * Vt[: self.rank]
        return {"A": A, "B": B}, {"R": whole - self.scale * (B @ A)}

    def forward(self, params, frozen, x):
        """y = R x + B (s A x)."""
        low = self.scale * linear(params["A"], x)
        return linear(frozen["R"], x) + linear(params["B"], low)

    def merge(self, params, frozen):
        """W' = R + s B A."""
        return frozen["R"] + self.scale * (params["B"] @ params["A"])
