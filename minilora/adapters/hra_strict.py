"""Strict HRA, the limit λ = ∞: r reflections along vectors that are orthogonal to each other.

    W' = W (I − 2 P),   P = U (UᵀU)⁻¹ Uᵀ the projection on the span of U (d_in, r)

    r d_in trainable parameters

Reflections along orthogonal vectors commute and their product is I − 2P, for every basis U of the
span. `forward` changes to an orthogonal basis, by the eigenvectors of ÛᵀÛ with Û the unit columns,
and applies the formula to it; `merge` makes an orthonormal one by Gram–Schmidt and reflects along
each vector.

The nearer the columns of U are to linear dependence, the less accurately they determine P after
rounding. U that are too near are refused. For all others `forward` and `merge` agree up to 100 ε
‖W‖ ‖x‖, ε = np.finfo(dtype).eps, in the cases tried with r up to 6, and up to a few times that with
r = 89.

Yuan, Liu & Xu, 2024, arXiv 2405.17484. The authors orthogonalise by Gram–Schmidt in every step;
from the equal pairs that free HRA starts with that is a division by rounding noise, so here the
start differs too.
"""

from dataclasses import dataclass

import autograd.numpy as np
from autograd.tracer import getval

from minilora.checks import check_columns, check_matrix, check_rank
from minilora.weight import dense, linear, reflect

_SMALLEST = 1e-4  # eigenvalue of ÛᵀÛ that is allowed: it amplifies rounding at most 100-fold


@dataclass(frozen=True)
class HRAStrict:
    """W' = W (I − 2 P), P the projection on the span of U: reflections in r orthogonal directions.

    rank: r, at most d_in. H = I − 2P is never the identity: ‖H − I‖_F = 2√r whatever U is. So W'
    can be W only if W has a kernel of r dimensions. Training starts as near to W as possible, with
    U the right-singular vectors of the r smallest singular values σ of W, where ‖W' − W‖_F =
    2 √(Σ σ²) over those r.

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
        """y = W (x − 2 Q (QᵀQ)⁻¹ Qᵀ x), Q = U M with the span of U and orthogonal columns.

        Raises ValueError when the columns of U are linearly dependent, or nearly so.
        """
        # To autograd M is a constant: P is the same for every invertible M, and so is its gradient.
        transposed = linear(params["U"], _change_of_basis(params["U"]).T)  # Mᵀ Uᵀ = Qᵀ
        inverse = np.linalg.inv(linear(transposed, transposed))
        reflected = x - linear(transposed.T, linear(2.0 * inverse, linear(transposed, x)))
        return linear(frozen["W"], reflected)

    def merge(self, params, frozen):
        """W' = W − 2 (W Q) Qᵀ, Q from U by Gram–Schmidt, twice for each vector against rounding."""
        _change_of_basis(params["U"])  # refuses what forward refuses
        merged = dense(frozen["W"])
        basis = params["U"].T[:0]  # the rows are the orthonormal vectors found so far
        for u in params["U"].T:
            u = u - basis.T @ (basis @ u)
            u = u - basis.T @ (basis @ u)
            q = u / np.sqrt(np.sum(u * u))
            basis = np.concatenate([basis, q[None]])
            merged = reflect(merged, q)
        return merged


def _change_of_basis(U):
    """M (r, r) such that the columns of U M are orthogonal up to rounding, and not too short.

    Raises ValueError when the columns of U are too near to dependent: for two columns, when less
    than 0.8° lie between the lines along them.
    """
    check_columns(U)
    U = getval(U)
    lengths = np.sqrt(np.sum(U * U, axis=0))
    unit = U / lengths
    values, vectors = np.linalg.eigh(unit.T @ unit)
    if values[0] < _SMALLEST:
        found = f"the smallest eigenvalue of ÛᵀÛ is {values[0]:.1e}, below {_SMALLEST:.0e}"
        raise ValueError(f"U must have independent columns; {found}, so rounding blurs their span")
    return vectors / lengths[:, None]
