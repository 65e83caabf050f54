"""A sparse update: SHiRA trains a few entries of W that a mask has chosen.

W' = W + M,  M zero except at the chosen entries
"""

from dataclasses import dataclass

import autograd.numpy as np

from minilora.checks import check_matrix, check_rank
from minilora.ops import add_at
from minilora.weight import dense, describe, linear


@dataclass(frozen=True)
class SHiRA:
    """SHiRA, W' = W + M with M at random entries: up to as many as LoRA of this rank trains.

    rank: r; each row of W gets ⌊r (d_out + d_in) / d_out⌋ entries, at most d_in. M has a high rank,
    at most the number of columns with an entry; two masks share about k / d_in of their entries.

    Bhardwaj et al., 2024, arXiv 2406.13175. Departures: their random mask may give one row more
    entries than another, and may be chosen by the size of weights or gradients.
    """

    rank: int

    __repr__ = describe

    def __post_init__(self):
        check_rank(self.rank)

    def init(self, rng, W):
        """params: v (d_out, k) = 0. frozen: W, cols (d_out, k), without repeats in a row.

        Raises ValueError when W is not a finite matrix.
        """
        d_out, d_in = check_matrix("W", W)
        k = min(d_in, self.rank * (d_out + d_in) // d_out)
        cols = np.argsort(rng.random((d_out, d_in)), axis=1)[:, :k]
        return {"v": np.zeros((d_out, k), W.dtype)}, {"W": W, "cols": cols}

    def forward(self, params, frozen, x):
        """y_i = W_i x + Σ_k v_ik x[cols_ik]."""
        return linear(frozen["W"], x) + np.sum(params["v"] * x[..., frozen["cols"]], axis=-1)

    def merge(self, params, frozen):
        """W' is a copy of W with v_ik added at (i, cols_ik); all other entries stay bitwise."""
        rows = np.arange(len(frozen["cols"]))[:, None]
        return add_at(dense(frozen["W"]), (rows, frozen["cols"]), params["v"])
