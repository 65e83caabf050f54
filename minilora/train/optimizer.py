"""Adam: from a gradient to a step.

    m ← β₁ m + (1−β₁) g,   v ← β₂ v + (1−β₂) g²,   θ ← θ − η · m̂ / (√v̂ + ε)

    m̂ = m / (1−β₁ᵗ),       v̂ = v / (1−β₂ᵗ)                  η the learning rate, t the step

Kingma & Ba, 2014, arXiv 1412.6980, algorithm 1. All params are one vector θ here: a few operations
on one long vector take less time than many on short ones.
"""

from numbers import Real
from typing import NamedTuple

import numpy as np

from minilora.checks import check_form, check_positive
from minilora.train.tape import check_params, leaves, rebuild


class AdamState(NamedTuple):
    """Adam's memory: m and v, flat, in the order of the params."""

    steps: int  # taken so far
    mean: np.ndarray  # m, the running mean of the gradient
    square: np.ndarray  # v, the running mean of its square


def adam_start(params):
    """The state before the first step. Raises ValueError as `value_and_grad` does for params."""
    check_params(params)
    zeros = np.zeros_like(flatten(params))
    return AdamState(0, zeros, zeros)


def adam(params, grads, state, lr, decay=(0.9, 0.999), eps=1e-8):
    """One step of Adam; returns new params and the new state, and changes none of its arguments.

    grads: as `value_and_grad` returns them; they are matched to params by name. lr: η. decay: (β₁,
    β₂).

    Raises ValueError when grads has other names or shapes than params, or state belongs to other
    params.
    """
    check_form("grads", grads, params)
    check_positive("lr", lr)
    if not isinstance(state, AdamState):
        raise ValueError(
            f"state must come from adam_start(params) or the last step, got {state!r:.80}"
        )
    g = flatten(grads, params)
    if state.mean.shape != g.shape:
        raise ValueError(f"state is for {state.mean.size} parameters, but params has {g.size}")
    theta = flatten(params)
    if theta.dtype.char not in "fd":
        raise ValueError(f"params must be arrays of float32 or float64, got {theta.dtype}")
    check_positive("eps", eps)
    pair = isinstance(decay, tuple) and len(decay) == 2
    if not pair or not all(isinstance(beta, Real) and 0 <= beta < 1 for beta in decay):
        raise ValueError(f"decay must be two numbers from 0 to below 1, got {decay!r}")
    beta1, beta2 = decay
    t = state.steps + 1
    mean = beta1 * state.mean + (1 - beta1) * g
    square = beta2 * state.square + (1 - beta2) * (g * g)
    size = np.sqrt(square / (1 - beta2**t)) + eps
    moved = theta - (lr / (1 - beta1**t)) * mean / size
    return _unflatten(moved, params), AdamState(t, mean, square)


def flatten(tree, order=None):
    """All parameters of a nested dict in one vector, in its order or in that of another one."""
    return np.concatenate([leaf.ravel() for leaf in leaves(tree, order)])


def _unflatten(vector, tree):
    """A nested dict of the form of tree whose arrays are views into the vector."""
    arrays = []
    end = 0
    for leaf in leaves(tree):
        start = end
        end = start + leaf.size
        arrays.append(vector[start:end].reshape(leaf.shape).astype(leaf.dtype, copy=False))
    return rebuild(tree, iter(arrays))
