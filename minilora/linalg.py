"""Matrices as maps: the one seam between weights and inputs, and the few matrix facts that other files need.

One convention holds in the whole package: W is (d_out, d_in), and y = W x for every vector x on the last axis of an
array with any number of leading axes. The transpose that this takes is written once, in `linear`.
"""

import math
import operator

import autograd.numpy as np
from autograd.extend import defvjp, primitive
from autograd.tracer import getval


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


def check_rank(rank, most=math.inf):
    """Raise ValueError unless rank is a whole number from 1 to most."""
    try:
        whole = operator.index(rank)
    except TypeError:
        raise ValueError(f"rank must be a whole number, got {rank!r}") from None
    if isinstance(rank, bool) or whole < 1:
        raise ValueError(f"rank must be at least 1, got {rank!r}")
    if whole > most:
        raise ValueError(f"rank must be at most {most} for this W, got {rank!r}")


def check_matrix(W):
    """The shape (d_out, d_in) of W.

    Raises ValueError when W is not a matrix of finite floating-point numbers.
    """
    if np.ndim(W) != 2 or 0 in np.shape(W):
        raise ValueError(f"W must be a matrix (d_out, d_in), got shape {np.shape(W)}")
    if not hasattr(W, "dtype") or W.dtype.kind != "f":
        raise ValueError("W must be an array of floating-point numbers: try np.asarray(W, np.float32)")
    d_out, d_in = W.shape
    if not callable(W) and not np.all(np.isfinite(W)):
        raise ValueError(f"W ({d_out}, {d_in}) holds NaN or inf: an adapter on it could only spread them")
    return d_out, d_in


def normal(rng, shape, scale, dtype):
    """Numbers from N(0, scale²) in the given dtype, from the generator rng."""
    return (rng.standard_normal(shape) * scale).astype(dtype)


def choose(rng, rank, width, given, name):
    """`rank` distinct places below width: the given ones, or drawn without replacement.

    Raises ValueError, with the argument's name, for duplicates, places out of range, a wrong number of them.
    """
    check_rank(rank, most=width)
    if given is None:
        return rng.choice(width, size=rank, replace=False)
    index = np.array(given)
    if index.shape != (rank,) or index.dtype.kind not in "iu" or len(set(given)) < rank:
        raise ValueError(f"{name} must be {rank} distinct whole numbers, one for each rank, got {given}")
    if index.min() < 0 or index.max() >= width:
        raise ValueError(f"{name} must lie in 0 … {width - 1} for this W, got {given}")
    return index


@primitive
def pick(x, index):
    """S x: the entries of each vector at these places, (..., d) -> (..., r). The places must be distinct."""
    return x[..., index]


@primitive
def place(z, index, width):
    """Sᵀ z: each vector's entries put at these places of a vector of zeros, (..., r) -> (..., width)."""
    placed = np.zeros((*z.shape[:-1], width), z.dtype)
    placed[..., index] = z
    return placed


# Each is the other's transpose, so each is the other's gradient; autograd's own for x[..., index] adds one by one.
defvjp(pick, lambda value, x, index: lambda g: place(g, index, x.shape[-1]))
defvjp(place, lambda value, z, index, width: lambda g: pick(g, index))


def reflect(W, u):
    """W (I − 2 u uᵀ / uᵀu): every row of W (..., d) mirrored in the plane through 0 that is orthogonal to u (d,)."""
    return W - np.outer(W @ u, (2 / np.sum(u * u)) * u)


def check_columns(U):
    """Raise ValueError when a column of U is zero or not finite: it has no direction to reflect along."""
    lengths = np.sum(getval(U) ** 2, axis=0)
    if not np.all((lengths > 0) & np.isfinite(lengths)):
        raise ValueError(f"U must have no zero, NaN or infinite column, got squared lengths {lengths}")
