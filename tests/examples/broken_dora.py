"""DoRA with a mistake, to be found by the referee: `pytest --adapter broken_dora:BrokenDoRA` in this folder.

    W' = m ⊙ V / ‖V‖,   V = W + B A

`merge` divides by the lengths of the rows of W, where `forward` divides by those of V. At the start they are equal.
"""

from dataclasses import dataclass

import autograd.numpy as np

from minilora.linalg import check_matrix, check_rank, linear, normal


@dataclass(frozen=True)
class BrokenDoRA:
    """Weight-decomposed low-rank adaptation of rank r."""

    rank: int

    def __post_init__(self):
        check_rank(self.rank)

    def init(self, rng, W):
        """params: A (r, d_in), B (d_out, r) = 0 and m (d_out,). frozen: W and the squared lengths of its rows."""
        d_out, d_in = check_matrix(W)
        check_rank(self.rank, most=min(d_out, d_in))
        squares = np.sum(np.asarray(W) ** 2, axis=1)
        A = normal(rng, (self.rank, d_in), d_in**-0.5, W.dtype)
        B = np.zeros((d_out, self.rank), W.dtype)
        return {"A": A, "B": B, "m": np.sqrt(squares)}, {"W": W, "squares": squares}

    def forward(self, params, frozen, x):
        """y = (m / ‖V‖) ⊙ (W x + B A x), with ‖w + b A‖² = ‖w‖² + 2 b·(A w) + b (A Aᵀ) bᵀ for each row."""
        A, B = params["A"], params["B"]
        y = linear(frozen["W"], x) + linear(B, linear(A, x))
        rows_A = linear(frozen["W"], A).T  # (d_out, r): W Aᵀ
        squares = frozen["squares"] + np.sum(B * (2.0 * rows_A + B @ (A @ A.T)), axis=1)
        return params["m"] / np.sqrt(squares) * y

    def merge(self, params, frozen):
        """W' = m ⊙ V / ‖W‖, which is wrong."""
        V = np.asarray(frozen["W"]) + params["B"] @ params["A"]
        lengths = np.sqrt(frozen["squares"])
        return (params["m"] / lengths)[:, None] * V
