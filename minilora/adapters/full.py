"""Full fine-tuning, the baseline: every entry of W is trained.

    W' = the trained copy of W            d_out · d_in trainable parameters

Also used to train one part alone: attach it to the head, to biases or to an embedding.
"""

from dataclasses import dataclass

import autograd.numpy as np

from minilora.checks import check_floats
from minilora.weight import dense, linear


@dataclass(frozen=True)
class Full:
    """Train the array itself: a matrix, a bias vector or an embedding table, of any shape."""

    def init(self, rng, W):
        """params: W, a copy. frozen: nothing. rng is not used.

        Raises ValueError when W is not an array of finite floating-point numbers.
        """
        check_floats("W", W)
        return {"W": np.array(dense(W))}, {}

    def forward(self, params, frozen, x):
        """y = W x for every vector on the last axis of x."""
        return linear(params["W"], x)

    def merge(self, params, frozen):
        """W' = W, a copy of the trained array."""
        return np.array(params["W"])

    def array(self, params, frozen):
        """W itself, which a model may also add (a bias) or index (an embedding)."""
        return params["W"]
