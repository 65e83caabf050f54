"""DoRA as an example of an adapter of your own: `pytest --adapter dora:DoRA` in this folder.

    W' = m ⊙ V / ‖V‖,   V = W + B A

‖V‖ (d_out,) holds the lengths of the rows of V, and m (d_out,) is trainable, at first ‖W‖. DoRA
separates the length of each row of a weight from its direction, and lets LoRA move only the latter.

Liu et al., 2024, arXiv 2402.09353. Here the lengths are part of the gradient; the authors hold them
constant.
"""

from dataclasses import dataclass

import autograd.numpy as np

from minilora.checks import check_matrix, check_rank
from minilora.weight import dense, linear, normal


@dataclass(frozen=True)
class DoRA:
    """Weight-decomposed low-rank adaptation of rank r."""

    rank: int

    def __post_init__(self):
        check_rank(self.rank)

    def init(self, rng, W):
        """params: A (r, d_in), B (d_out, r) = 0, m (d_out,). frozen: W, the squared row lengths."""
        d_out, d_in = check_matrix("W", W)
        check_rank(self.rank, most=min(d_out, d_in))
        squares = np.sum(dense(W) ** 2, axis=1)
        A = normal(rng, (self.rank, d_in), d_in**-0.5, W.dtype)
        B = np.zeros((d_out, self.rank), W.dtype)
        return {"A": A, "B": B, "m": np.sqrt(squares)}, {"W": W, "squares": squares}

    def forward(self, params, frozen, x):
        """y = (m / ‖V‖) ⊙ (W x + B A x).

        For each row, ‖w + b A‖² = ‖w‖² + 2 b·(A w) + b (A Aᵀ) bᵀ.
        """
        A = params["A"]
        B = params["B"]
        y = linear(frozen["W"], x) + linear(B, linear(A, x))
        rows_A = linear(frozen["W"], A).T  # (d_out, r): W Aᵀ
        squares = frozen["squares"] + np.sum(B * (2.0 * rows_A + B @ (A @ A.T)), axis=1)
        return params["m"] / np.sqrt(squares) * y

    def merge(self, params, frozen):
        """W' = m ⊙ V / ‖V‖."""
        V = dense(frozen["W"]) + params["B"] @ params["A"]
        lengths = np.sqrt(np.sum(V * V, axis=1))
        return (params["m"] / lengths)[:, None] * V
