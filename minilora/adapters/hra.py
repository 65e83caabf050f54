"""HRA: multiply W by a product of Householder reflections, W' = W H with H orthogonal.

    H = H₁ H₂ … H_r,   H_i = I − 2 u_i u_iᵀ / u_iᵀu_i,   u_i the columns of U (d_in, r)

    r d_in trainable parameters

A reflection is a mirror: it negates u_i and keeps everything orthogonal to it. H rotates and
reflects the inputs of W but stretches nothing: W' keeps the singular values of W, the lengths of
its rows and the angles between them. It is LoRA in disguise: H − I = −U Γ Uᵀ has at most rank r,
so W' = W + B A with A = Uᵀ and B = −W U Γ. `forward` uses that form (compact WY); `merge` applies
the reflections one by one.

An even number of reflections in adjacent equal pairs starts as the identity, because each pair
cancels. The product of an odd number is never the identity: its determinant is −1. Then W' = W only
if W has a kernel, with H x − x in it for every x.

Yuan, Liu & Xu, 2024, arXiv 2405.17484. Compact WY: Schreiber & Van Loan, 1989. The paper's λ says
how strongly the columns of U are held orthogonal: `HRA` is λ = 0; for λ > 0 add
`λ * orthogonality_penalty(U)` to the loss; λ = ∞ is the adapter of hra_strict.py.
"""

from dataclasses import dataclass

import autograd.numpy as np

from minilora.checks import check_columns, check_matrix, check_rank
from minilora.weight import dense, describe, linear, normal, reflect


@dataclass(frozen=True)
class HRA:
    """W' = W H₁ … H_r for free vectors u_i.

    rank: r, the number of reflections, even unless odd=True.

    Raises ValueError when rank is not an integer of at least 1, or odd without odd=True.
    """

    rank: int
    odd: bool = False

    __repr__ = describe

    def __post_init__(self):
        check_rank(self.rank)
        if self.rank % 2 and not self.odd:
            reason = "an odd product has determinant −1, so training cannot start from H = I"
            raise ValueError(f"rank must be even, got {self.rank}: {reason}; odd=True allows it")

    def init(self, rng, W):
        """params: U (d_in, r), random unit columns in adjacent equal pairs. frozen: W.

        Raises ValueError when W is not a finite matrix.
        """
        _, d_in = check_matrix("W", W)
        half = normal(rng, (d_in, (self.rank + 1) // 2), 1.0, W.dtype)
        pairs = np.repeat(half / np.sqrt(np.sum(half * half, axis=0)), 2, axis=1)
        return {"U": pairs[:, : self.rank]}, {"W": W}

    def forward(self, params, frozen, x):
        """y = W (H x), H x = x − U Γ Uᵀ x, Γ⁻¹ = the upper triangle of UᵀU with half its diagonal.

        Raises ValueError when a column of U is zero or not finite.
        """
        U = params["U"]
        check_columns(U)
        strictly_upper = np.triu(np.ones((self.rank, self.rank), U.dtype), 1)
        half_diagonal = 0.5 * np.eye(self.rank, dtype=U.dtype)
        Gamma = np.linalg.inv((strictly_upper + half_diagonal) * (U.T @ U))
        reflected = x - linear(U, linear(Gamma, linear(U.T, x)))
        return linear(frozen["W"], reflected)

    def merge(self, params, frozen):
        """W' = W H₁ H₂ … H_r, one reflection of the rows of W after the other."""
        check_columns(params["U"])
        merged = dense(frozen["W"])
        for u in params["U"].T:
            merged = reflect(merged, u)
        return merged


def orthogonality_penalty(U):
    """‖ÛᵀÛ − I‖_F² for the unit columns Û of U (d_in, r): 0 if orthogonal, r (r − 1) if parallel.

    The authors' code adds the norm itself, not its square, so its λ is not on the same scale.
    """
    check_columns(U)
    unit = U / np.sqrt(np.sum(U * U, axis=0))
    gram = unit.T @ unit - np.eye(U.shape[1], dtype=U.dtype)
    return np.sum(gram * gram)
