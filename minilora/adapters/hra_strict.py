"""Strict HRA, the limit λ = ∞: the r reflections of HRA along vectors that are orthogonal to each other.

    W' = W (I − 2 P),   P = U (UᵀU)⁻¹ Uᵀ the projection on the span of U (d_in, r)          r d_in trained numbers

Reflections along orthogonal vectors commute and their product is I − 2P, whatever basis of the span U is. `forward`
solves with the small matrix UᵀU; `merge` makes an orthonormal basis by Gram–Schmidt and reflects along each vector.

Yuan, Liu & Xu, 2024, arXiv 2405.17484. The authors orthogonalise by Gram–Schmidt in every step; from the equal pairs
that free HRA starts with that is a division by rounding noise, so here the start differs too.
"""

from dataclasses import dataclass

import autograd.numpy as np
from autograd.tracer import getval

from minilora.linalg import check_columns, check_matrix, check_rank, linear, reflect, unrepeated


@dataclass(frozen=True)
class HRAStrict:
    """W' = W (I − 2 P), P the projection on the span of U: reflections in r planes that are orthogonal to each other.

    rank: r, at most d_in. H = I − 2P is never the identity: ‖H − I‖_F = 2√r whatever U is, so training cannot start
    from W. It starts as near as it can, with U the right-singular vectors of the r smallest singular values σ of W,
    where ‖W' − W‖_F = 2 √(Σ σ²) over those r: nothing if W has a kernel of that size, more the larger those σ are.

    Raises ValueError when rank is not a whole number of at least 1.
    """

    rank: int

    def __post_init__(self):
        check_rank(self.rank)

    def init(self, rng, W):
        """params: U (d_in, r), the last right-singular vectors of W. frozen: W. rng is not used.

        Raises ValueError when W is not a finite matrix or r > d_in.
        """
        _, d_in = check_matrix(W)
        check_rank(self.rank, most=d_in)
        if not np.any(unrepeated(np.asarray(W))):  # any orthonormal U will do, and a large stand-in takes no time
            return {"U": np.eye(d_in, self.rank, dtype=W.dtype)}, {"W": W}
        _, _, Vt = np.linalg.svd(np.asarray(W))
        return {"U": np.array(Vt[-self.rank :].T)}, {"W": W}

    def forward(self, params, frozen, x):
        """y = W (x − 2 U (UᵀU)⁻¹ Uᵀ x). Raises ValueError when the columns of U are linearly dependent."""
        U = params["U"]
        check_independent(U)
        inverse = np.linalg.inv(U.T @ U)
        mirrored = x - linear(U, linear(2.0 * inverse, linear(U.T, x)))
        return linear(frozen["W"], mirrored)

    def merge(self, params, frozen):
        """W' = W − 2 (W Q) Qᵀ with Q from U by Gram–Schmidt, each column twice so that rounding leaves no trace."""
        check_independent(params["U"])
        merged, Q = np.array(frozen["W"]), np.array(params["U"])
        for i in range(self.rank):
            for _ in range(2):
                Q[:, i] -= Q[:, :i] @ (Q[:, :i].T @ Q[:, i])
            Q[:, i] /= np.sqrt(np.sum(Q[:, i] * Q[:, i]))
            merged = reflect(merged, Q[:, i])
        return merged


def check_independent(U):
    """Raise ValueError when the columns of U are dependent up to rounding."""
    check_columns(U)
    U = getval(U)
    unit = U / np.sqrt(np.sum(U * U, axis=0))
    smallest = np.linalg.eigvalsh(unit.T @ unit)[0]
    if smallest < 10 * len(U.T) * np.finfo(U.dtype).eps:
        raise ValueError(f"U must have independent columns; the smallest eigenvalue of ÛᵀÛ is {smallest:.1e}")
