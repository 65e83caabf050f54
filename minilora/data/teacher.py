"""Tasks whose right answer is known: a student network, and a teacher that differs from it by a hidden change.

    W' = change(W) in every hidden layer,      y = mlp(teacher, x),      x in a ball

A change is a function (rng, W, rank) -> W' on a matrix W (d_out, d_in) or on stacked ones (layers, d_out, d_in). With
every one below W' − W has rank k, so LoRA of rank k can be exact, with k (d_out + d_in) numbers a layer. The others:

    change              W'                                     which adapter can be exact, with how many numbers
    low_rank            W + B A                                LoRA alone: it is made for this
    few_columns         k columns differ                       SBoRA-FA told which: k d_out a layer
    few_rows            k rows differ                          SBoRA-FB told which: k d_in a layer
    scaled_columns      W D, k entries of D not 1              SBoRA-FA told which: k d_out a layer
    scaled_rows         D W, k entries of D not 1, all > 0     SBoRA-FB told which; no HRA brings W nearer to D W
    reflected           W Q, Q a product of k reflections      HRA of rank k (even): k d_in a layer
    rotated             W Q, Q a product of k/2 rotations      HRA of rank k (even): k d_in a layer
    shared_conversion   W + W M W, one M for all layers        CondLoRA of rank k, shared: k (d_out + d_in) in all

That an adapter can be exact does not say that training gets there. HRA starts at Q = I: rotations are near it, k full
reflections are far.
"""

import numpy as np

from minilora.linalg import check_rank
from minilora.models.mlp import init_mlp, mlp


def low_rank(rng, W, rank):
    """W' = W + B A with random B (d_out, k) and A (k, d_in) for each layer; k is at most min(d_out, d_in)."""
    return added(W, product(rng, W.shape, rank))


def shared_conversion(rng, W, rank):
    """W' = W + W M W with one random M (d_in, d_out) of rank k for all layers; k is at most min(d_out, d_in)."""
    M = product(rng, W.shape[:-3:-1], rank)  # (d_in, d_out): no axis of layers
    return added(W, W @ M @ W)


def few_columns(rng, W, rank):
    """W' differs from W in k random columns of each layer, and is bitwise W elsewhere; k is at most d_in."""
    return added(W, rng.standard_normal(W.shape) * chosen(rng, W, rank))


def few_rows(rng, W, rank):
    """W' differs from W in k random rows of each layer, and is bitwise W elsewhere; k is at most d_out."""
    return few_columns(rng, W.swapaxes(-1, -2), rank).swapaxes(-1, -2)


def scaled_columns(rng, W, rank):
    """W' = W D: k random columns of each layer are multiplied by factors from 1/e to e; k is at most d_in."""
    return (W * np.exp(rng.uniform(-1, 1, W[..., :1, :].shape) * chosen(rng, W, rank))).astype(W.dtype)


def scaled_rows(rng, W, rank):
    """W' = D W: k random rows of each layer are multiplied by factors from 1/e to e; k is at most d_out."""
    return scaled_columns(rng, W.swapaxes(-1, -2), rank).swapaxes(-1, -2)


def reflected(rng, W, rank):
    """W' = W H₁ … H_k, each H = I − 2 u uᵀ / uᵀu in a random direction u (d_in,); k is at most d_in."""
    check_rank(rank, most=W.shape[-1])
    for u in rng.standard_normal((rank, *W[..., :1, :].shape)):
        W = mirrored(W, u)
    return W


def rotated(rng, W, rank):
    """W' = W R₁ … R_{k/2}, each R a rotation in a random plane; k is even and at most d_in.

    Two reflections make a rotation by twice the angle between their directions, here u and u + v/2: about 53°.
    """
    if rank not in range(2, W.shape[-1] + 1, 2):
        raise ValueError(f"rank must be even, from 2 to d_in = {W.shape[-1]}, got {rank!r}")
    for u, v in rng.standard_normal((rank // 2, 2, *W[..., :1, :].shape)):
        W = mirrored(mirrored(W, u), u + v / 2)
    return W


def mirrored(W, u):
    """W (I − 2 u uᵀ / uᵀu) for each layer, with u (layers, 1, d_in) as a row."""
    return (W - 2 * np.sum(W * u, axis=-1, keepdims=True) * u / np.sum(u * u, axis=-1, keepdims=True)).astype(W.dtype)


def product(rng, shape, rank):
    """A random matrix, or a stack of them, of the given shape (…, d_out, d_in) and rank."""
    check_rank(rank, most=min(shape[-2:]))
    return rng.standard_normal((*shape[:-1], rank)) @ rng.standard_normal((*shape[:-2], rank, shape[-1]))


def chosen(rng, W, rank):
    """Which columns of each layer change, `rank` of them: True or False, (layers, 1, d_in)."""
    check_rank(rank, most=W.shape[-1])
    return rng.random(W[..., :1, :].shape).argsort().argsort() < rank


def added(W, delta):
    """W + s ΔW, with the s that makes the change of all layers together half as large as W."""
    s = 0.5 * np.linalg.norm(W) / np.linalg.norm(delta)
    return (W + s * delta).astype(W.dtype)


def teacher_task(rng, change, rank, widths=(24, 24, 24, 24), count=1000, dtype=np.float64):
    """(student, teacher, x, y): the weights of two MLPs, x (count, d_in) and y = mlp(teacher, x), without noise.

    The teacher is the student but for the layers from widths[1] to widths[1] units, which are changed. x is uniform in
    the ball of radius √d_in, so that its entries are of size 1.

    Raises ValueError when no layer goes from widths[1] to widths[1] units, or rank is more than the change allows.
    """
    student = init_mlp(rng, widths, dtype)
    hidden = [name for name, W in student.items() if W.shape == (widths[1], widths[1])]
    if not hidden:
        raise ValueError(f"widths must have widths[1] twice in a row, as in (8, 24, 24, 4), got {tuple(widths)}")
    changed = change(rng, np.stack([student[name] for name in hidden]), rank)
    teacher = {**student, **dict(zip(hidden, changed))}
    # Of a uniform point on the sphere in d + 2 dimensions, any d coordinates are uniform in the ball.
    points = rng.standard_normal((count, widths[0] + 2))
    x = (widths[0] ** 0.5 * points[:, 2:] / np.linalg.norm(points, axis=1, keepdims=True)).astype(dtype)
    return student, teacher, x, mlp(teacher, x)
