"""Matrices as maps: the one seam between weights and inputs, and the few matrix facts that other files need.

One convention holds in the whole package: W is (d_out, d_in), and y = W x for every vector x on the last axis of an
array with any number of leading axes. The transpose that this takes is written once, in `linear`.
"""

import operator

import autograd.numpy as np


def linear(W, x):
    """y = W x for every vector on the last axis of x: (..., d_in) -> (..., d_out).

    W is a matrix (d_out, d_in), or anything that maps x as a matrix would: an adapted weight, a 4-bit one.
    Models call nothing else to use a weight, so they run unchanged whatever has been done to it.

    Raises ValueError when the last axis of x is not d_in.
    """
    if callable(W):
        return W(x)
    check_width(x, W.shape)
    return x @ W.T


def check_width(x, shape):
    """Raise ValueError unless the last axis of x is d_in, the width that a weight of this shape takes."""
    d_out, d_in = shape
    if np.ndim(x) == 0 or np.shape(x)[-1] != d_in:
        raise ValueError(f"x has shape {np.shape(x)}, but W is ({d_out}, {d_in}): the last axis of x must be {d_in}")


def check_rank(rank):
    """Raise ValueError unless rank is a whole number and at least 1."""
    try:
        whole = operator.index(rank)
    except TypeError:
        raise ValueError(f"rank must be a whole number, got {rank!r}") from None
    if isinstance(rank, bool) or whole < 1:
        raise ValueError(f"rank must be at least 1, got {rank!r}")


def check_matrix(W, rank=1):
    """The shape (d_out, d_in) of W.

    Raises ValueError when W is not a finite floating-point matrix, or when rank is above min(d_out, d_in).
    """
    if np.ndim(W) != 2:
        raise ValueError(f"W must be a matrix (d_out, d_in), got shape {np.shape(W)}")
    if W.dtype.kind != "f":
        raise ValueError(f"W must hold floating-point numbers, got {W.dtype}: try W.astype(np.float32)")
    d_out, d_in = W.shape
    if not callable(W) and not np.all(np.isfinite(W)):
        raise ValueError(f"W ({d_out}, {d_in}) holds NaN or inf: an adapter on it could only spread them")
    if rank > min(d_out, d_in):
        raise ValueError(f"rank must be at most min(d_out, d_in) = {min(d_out, d_in)} for W {W.shape}, got {rank}")
    return d_out, d_in


def normal(rng, shape, scale, dtype):
    """Numbers from N(0, scale²) in the given dtype, from the generator rng."""
    return (rng.standard_normal(shape) * scale).astype(dtype)
