"""Strict HRA, the limit λ = ∞: r reflections along vectors that are orthogonal to each other.

    W' = W (I − 2 P),   P = U (UᵀU)⁻¹ Uᵀ the projection on the span of U (d_in, r)

    r d_in trainable parameters

Reflections along orthogonal vectors commute and their product is I − 2P, whatever basis of the span
U is. `forward` solves with the small matrix UᵀU; `merge` makes an orthonormal basis by Gram–Schmidt
and reflects along each vector.

Yuan, Liu & Xu, 2024, arXiv 2405.17484. The authors orthogonalise by Gram–Schmidt in every step;
from the equal pairs that free HRA starts with that is a division by rounding noise, so here the
start differs too.
"""

from dataclasses import dataclass

import autograd.numpy as np
from autograd.tracer import getval

from minilora.checks import check_columns, check_matrix, check_rank
from minilora.weight import dense, linear, reflect


@dataclass(frozen=True)
class HRAStrict:
    """W' = W (I − 2 P), P the projection on the span of U: reflections in r orthogonal directions.

    rank: r, at most d_in. H = I − 2P is never the identity: ‖H − I‖_F = 2√r whatever U is, so
    training cannot start from W. It starts as near as it can, with U the right-singular vectors of
    the r smallest singular values σ of W, where ‖W' − W‖_F = 2 √(Σ σ²) over those r: nothing if W
    has a kernel of that size, more the larger those σ are.

    Raises ValueError when rank is not an integer of at least 1.
    """

    rank: int

    def __post_init__(self):
        check_rank(self.rank)

    def init(self, rng, W):
        """params: U (d_in, r), the last right-singular vectors of W. frozen: W. rng is not used.

        Raises ValueError when W is not a finite matrix or r > d_in.
        """
        _, d_in = check_matrix("W", W)
        check_rank(self.rank, most=d_in)
        # For W = 0 every orthonormal U is optimal; the SVD of a large matrix takes minutes.
        if not np.any(dense(W)):
            return {"U": np.eye(d_in, self.rank, dtype=W.dtype)}, {"W": W}
        _, _, Vt = np.linalg.svd(dense(W))
        return {"U": np.array(Vt[-self.rank :].T)}, {"W": W}

    def forward(self, params, frozen, x):
        """y = W (x − 2 U (UᵀU)⁻¹ Uᵀ x).

        Raises ValueError when the columns of U are linearly dependent.
        """
        U = params["U"]
        _check_independent(U)
        inverse = np.linalg.inv(U.T @ U)
        reflected = x - linear(U, linear(2.0 * inverse, linear(U.T, x)))
        return linear(frozen["W"], reflected)

    def merge(self, params, frozen):
        """W' = W − 2 (W Q) Qᵀ, Q from U by Gram–Schmidt, twice for each vector against rounding."""
        _check_independent(params["U"])
        merged = dense(frozen["W"])
        basis = params["U"].T[:0]  # the rows are the orthonormal vectors found so far
        for u in params["U"].T:
            u = u - basis.T @ (basis @ u)
            u = u - basis.T @ (basis @ u)
            q = u / np.sqrt(np.sum(u * u))
            basis = np.concatenate([basis, q[None]])
            merged = reflect(merged, q)
        return merged


def _check_independent(U):
    """Raise ValueError when the columns of U are dependent up to rounding."""
    check_columns(U)
    U = getval(U)
    unit = U / np.sqrt(np.sum(U * U, axis=0))
    smallest = np.linalg.eigvalsh(unit.T @ unit)[0]
    if smallest < 10 * len(U.T) * np.finfo(U.dtype).eps:
        raise ValueError(
            f"U must have independent columns; the smallest eigenvalue of ÛᵀÛ is {smallest:.1e}"
        )
