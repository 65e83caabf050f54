"""A multilayer perceptron: linear maps with a ReLU between them.

    h ← relu(W h + b)  for every layer but the last,      logits = W h + b

The weights are a flat dict: "layers.0.W" (d_out, d_in), "layers.0.b" (d_out,), "layers.1.W", …
Every W is used through `linear`, so each may be a matrix or an adapted one.
"""

from functools import cache
from itertools import pairwise

import autograd.numpy as np

from minilora.checks import check_count, check_float_type, check_names, check_rng, check_weights
from minilora.ops import relu
from minilora.weight import linear, normal


def init_mlp(rng, widths, dtype=np.float32):
    """Weights of an MLP of widths (d_in, hidden, …, d_out): W from N(0, 2/d_in), biases zero.

    The factor 2 makes up for the half that each ReLU removes: He et al., 2015, arXiv 1502.01852,
    section 2.2.

    Raises ValueError for fewer than two widths, a width that is not an integer of at least 1, or a
    dtype other than float32 and float64.
    """
    check_rng(rng)
    check_float_type("dtype", dtype)
    if not isinstance(widths, (tuple, list)) or len(widths) < 2:
        raise ValueError(f"widths must be at least two integers (d_in, …, d_out), got {widths!r}")
    for position, width in enumerate(widths):
        check_count(f"widths[{position}]", width)
    weights = {}
    for layer, (d_in, d_out) in enumerate(pairwise(widths)):
        weights[f"layers.{layer}.W"] = normal(rng, (d_out, d_in), (2 / d_in) ** 0.5, dtype)
        weights[f"layers.{layer}.b"] = np.zeros(d_out, dtype)
    return weights


def mlp(weights, x):
    """Logits (..., d_out) for inputs x (..., d_in).

    Raises ValueError when weights is not a dict with the names of an MLP, or x is not d_in wide.
    """
    check_weights(weights)
    depth = max(1, len(weights) // 2)
    check_names(weights, _names(depth))
    for layer in range(depth):
        if layer > 0:
            x = relu(x)
        x = linear(weights[f"layers.{layer}.W"], x) + weights[f"layers.{layer}.b"]
    return x


@cache
def _names(depth):
    """The names of the weights of an MLP of this depth."""
    return {f"layers.{layer}.{part}" for layer in range(depth) for part in "Wb"}
