"""Full fine-tuning, the yardstick: every number of W is trained.

    W' = the trained copy of W            d_out · d_in trained numbers

It also stands for "train just this part": attach it to the head, to biases or to an embedding.
"""

from dataclasses import dataclass

import autograd.numpy as np

from minilora.linalg import linear


@dataclass(frozen=True)
class Full:
    """Train the array itself; a matrix, a bias vector or an embedding table of any shape."""

    def init(self, rng, W):
        """params: W, a copy. frozen: nothing. rng is not used."""
        W = np.array(W)
        if W.dtype.kind != "f" or not np.all(np.isfinite(W)):
            raise ValueError(f"W must hold finite floating-point numbers, got {W.dtype} of shape {W.shape}")
        return {"W": W}, {}

    def forward(self, params, frozen, x):
        """y = W x for every vector on the last axis of x."""
        return linear(params["W"], x)

    def merge(self, params, frozen):
        """W' = W, a copy of the trained array."""
        return np.array(params["W"])
