"""A multilayer perceptron: linear maps with a ReLU between them.

    h ← relu(W h + b)  for every layer but the last,      logits = W h + b

The weights are a flat dict: "layers.0.W" (d_out, d_in), "layers.0.b" (d_out,), "layers.1.W", … Every W is used through
`linear`, so each may be a matrix or an adapted one.
"""

from itertools import pairwise

import autograd.numpy as np
from autograd.extend import defvjp, primitive

from minilora.linalg import linear, normal


@primitive
def relu(x):
    """max(x, 0) for every entry, with slope 0 at 0."""
    return np.maximum(x, 0)


# A gradient g for y becomes g for x where y > 0, and 0 elsewhere.
defvjp(relu, lambda y, x: lambda g: g * (y > 0))


def init_mlp(rng, widths, dtype=np.float32):
    """Weights of an MLP with the given widths (d_in, hidden, …, d_out), from N(0, 2/d_in), biases zero.

    The factor 2 makes up for the half that each ReLU removes: He et al., 2015, arXiv 1502.01852, section 2.2.
    Raises ValueError for fewer than two widths or a width below 1.
    """
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"widths must be at least two positive numbers (d_in, …, d_out), got {tuple(widths)}")
    weights = {}
    for layer, (d_in, d_out) in enumerate(pairwise(widths)):
        weights[f"layers.{layer}.W"] = normal(rng, (d_out, d_in), (2 / d_in) ** 0.5, dtype)
        weights[f"layers.{layer}.b"] = np.zeros(d_out, dtype)
    return weights


def mlp(weights, x):
    """Logits (..., d_out) for inputs x (..., d_in)."""
    layer = 0
    while f"layers.{layer}.W" in weights:
        if layer > 0:
            x = relu(x)
        x = linear(weights[f"layers.{layer}.W"], x) + weights[f"layers.{layer}.b"]
        layer += 1
    return x
