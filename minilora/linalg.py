"""Matrices as maps: the one seam between weights and inputs, and the few matrix facts that other files need.

One convention holds in the whole package: W is (d_out, d_in), and y = W x for every vector x on the last axis of an
array with any number of leading axes. The transpose that this takes is written once, in `linear`.

A function marked `@primitive`, here and in the models, is one node on autograd's tape; `defvjp` says how a gradient
goes back through it. Autograd derives the same from single operations, with more nodes: see `train.value_and_grad`.
"""

import math
from numbers import Integral

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
    return multiply(W, x)


@primitive
def multiply(W, x):
    """`linear` for a matrix W."""
    if np.ndim(x) == 2 and 4 * len(x) <= min(W.shape):
        return np.ascontiguousarray((W @ x.T).T)  # the same, for few vectors up to 1.5 times as fast in BLAS
    return x @ W.T


# A gradient g of the loss for y becomes Σ g xᵀ over all vectors for W, and Wᵀ g for x.
defvjp(multiply, lambda y, W, x: lambda g: rows(g).T @ rows(x), lambda y, W, x: lambda g: g @ W)


def rows(x):
    """All vectors of x, (..., d) -> (n, d)."""
    return x.reshape(-1, x.shape[-1])


def check_width(x, shape):
    """Raise ValueError unless the last axis of x is d_in, the width that a weight of this shape takes."""
    d_out, d_in = shape
    if np.shape(x)[-1:] != (d_in,):
        raise ValueError(f"x has shape {np.shape(x)}, but W is ({d_out}, {d_in}): the last axis of x must be {d_in}")


def check_count(name, value, most=math.inf):
    """Raise ValueError, with the argument's name, unless value is a whole number from 1 to most."""
    if not isinstance(value, Integral) or isinstance(value, bool) or not 1 <= value <= most:
        upper = "up" if most == math.inf else f"to {most}"
        raise ValueError(f"{name} must be a whole number from 1 {upper}, got {value!r}")


def check_rank(rank, most=math.inf):
    """Raise ValueError unless rank is a whole number from 1 to most, for which W has room."""
    check_count("rank", rank, most)


def check_matrix(W, name="W"):
    """The shape (d_out, d_in) of W.

    Raises ValueError with the argument's name, when W is not a matrix of finite floating-point numbers.
    """
    if np.ndim(W) != 2 or 0 in np.shape(W):
        raise ValueError(f"{name} must be a matrix (d_out, d_in), got shape {np.shape(W)}")
    if not hasattr(W, "dtype") or W.dtype.kind != "f":
        raise ValueError(f"{name} must be an array of floating-point numbers: try np.asarray({name}, np.float32)")
    d_out, d_in = W.shape
    if not callable(W) and not np.all(np.isfinite(unrepeated(W))):
        raise ValueError(f"{name} must be finite, but ({d_out}, {d_in}) holds NaN or inf: they could only spread")
    return d_out, d_in


def unrepeated(W):
    """W cut to length 1 along every axis where one entry in memory stands for all, which np.broadcast_to makes."""
    return W[tuple(slice(None if stride else 1) for stride in getval(W).strides)]


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
    if index.shape != (rank,) or index.dtype.kind not in "iu" or len(set(given) & set(range(width))) < rank:
        raise ValueError(f"{name} must be {rank} distinct whole numbers from 0 to {width - 1} for this W, got {given}")
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
