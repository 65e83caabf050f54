"""Tasks with a known answer: a student network, and a teacher that differs by a hidden change.

    W' = change(W) in every hidden layer,      y = mlp(teacher, x),      x in a ball

A change is a function (rng, W, rank) -> W' on a matrix W (d_out, d_in) or on stacked ones
(layers, d_out, d_in). With every change below W' − W has rank k, so LoRA of rank k can be exact,
with k (d_out + d_in) trainable parameters per layer. The other adapters:

    change              W'                           which adapter can be exact, with how many
    low_rank            W + B A                      LoRA; CondLoRA, not shared, if W is invertible
    few_columns         k columns differ             SBoRA-FA with `cols` given: k d_out per layer
    few_rows            k rows differ                SBoRA-FB with `rows` given: k d_in per layer
    scaled_columns      W D, k entries of D not 1    SBoRA-FA with `cols` given: k d_out per layer
    scaled_rows         D W, k entries of D not 1    SBoRA-FB with `rows` given; no W H is nearer
                                                     than W
    reflected           W Q, Q of k reflections      HRA of rank k (even): k d_in per layer
    rotated             W Q, Q of k/2 rotations      HRA of rank k (even): k d_in per layer
    shared_conversion   W + W M W, one M for all     CondLoRA of rank k, shared: k (d_out + d_in)

The entries of D are positive. That an adapter can be exact does not say that training gets there.
HRA starts at Q = I, and ‖Q − I‖_F is at most 2√k: rotations are about half as far away as that, k
reflections nearly as far, if k is well below d_in.
"""

import numpy as np

from minilora.checks import check_count, check_floats, check_rank, check_rng
from minilora.models.mlp import init_mlp, mlp


def low_rank(rng, W, rank):
    """W' = W + s B A with B (d_out, k), A (k, d_in) random per layer; k ≤ min(d_out, d_in)."""
    _check_change(rng, W)
    return _add_half(W, _random_low_rank(rng, W.shape, rank))


def shared_conversion(rng, W, rank):
    """W' = W + s W M W, one random M (d_in, d_out) for all layers; k ≤ min(d_out, d_in)."""
    _check_change(rng, W)
    d_out, d_in = W.shape[-2:]
    M = _random_low_rank(rng, (d_in, d_out), rank)
    return _add_half(W, W @ M @ W)


def few_columns(rng, W, rank):
    """W' differs in k random columns of each layer; the others are bitwise identical; k ≤ d_in."""
    _check_change(rng, W)
    noise = rng.standard_normal(W.shape)
    return _add_half(W, noise * _mask_of_columns(rng, W, rank))


def few_rows(rng, W, rank):
    """W' differs in k random rows of each layer; the others are bitwise identical; k ≤ d_out."""
    _check_change(rng, W)
    return few_columns(rng, W.swapaxes(-1, -2), rank).swapaxes(-1, -2)


def scaled_columns(rng, W, rank):
    """W' = W D: k random columns of each layer times factors from 1/e to e; k ≤ d_in."""
    _check_change(rng, W)
    exponents = rng.uniform(-1, 1, W[..., :1, :].shape)
    factors = np.exp(exponents * _mask_of_columns(rng, W, rank))
    return (W * factors).astype(W.dtype)


def scaled_rows(rng, W, rank):
    """W' = D W: k random rows of each layer times factors from 1/e to e; k ≤ d_out."""
    _check_change(rng, W)
    return scaled_columns(rng, W.swapaxes(-1, -2), rank).swapaxes(-1, -2)


def reflected(rng, W, rank):
    """W' = W H₁ … H_k, H = I − 2 u uᵀ / uᵀu with random u (d_in,) each; k ≤ d_in."""
    _check_change(rng, W)
    check_rank(rank, most=W.shape[-1])
    for u in rng.standard_normal((rank, *W[..., :1, :].shape)):
        W = _reflect_layers(W, u)
    return W


def rotated(rng, W, rank):
    """W' = W R₁ … R_{k/2}, each R a rotation in a random plane; k is even and k ≤ d_in.

    Two reflections make a rotation by twice the angle between their directions, here u and u + v/2:
    about 53° if d_in is large, since random u and v are then nearly orthogonal and equally long.
    """
    _check_change(rng, W)
    d_in = W.shape[-1]
    check_rank(rank, most=d_in)
    if rank % 2:
        raise ValueError(f"rank must be even, from 2 to d_in = {d_in}, got {rank!r}")
    for u, v in rng.standard_normal((rank // 2, 2, *W[..., :1, :].shape)):
        W = _reflect_layers(_reflect_layers(W, u), u + v / 2)
    return W


def teacher_task(rng, change, rank, widths=(24, 24, 24, 24), count=1000, dtype=np.float64):
    """(student, teacher, x, y): the weights of two MLPs, x (count, d_in) and y = mlp(teacher, x).

    The teacher is the student except for the layers from widths[1] to widths[1] units, which are
    changed. x is uniform in the ball of radius √d_in, so that its entries are of size 1. There is
    no noise.

    Raises ValueError when no layer goes from widths[1] to widths[1] units, when rank is more than
    the change allows, and for any other argument that is impossible.
    """
    if not callable(change):
        raise ValueError(f"change must be a function, such as low_rank, got {change!r:.80}")
    check_count("count", count)
    student = init_mlp(rng, widths, dtype)
    hidden = [name for name, W in student.items() if W.shape == (widths[1], widths[1])]
    if not hidden:
        example = "widths[1] twice in a row, as in (8, 24, 24, 4)"
        raise ValueError(f"widths must have {example}, got {tuple(widths)}")
    changed = change(rng, np.stack([student[name] for name in hidden]), rank)
    teacher = {**student, **dict(zip(hidden, changed))}
    # The last d coordinates of a uniform point on the sphere in d + 2 dimensions are uniform in the
    # ball.
    points = rng.standard_normal((count, widths[0] + 2))
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    x = (widths[0] ** 0.5 * points[:, 2:] / lengths).astype(dtype)
    return student, teacher, x, mlp(teacher, x)


def _check_change(rng, W):
    """Raise ValueError unless W is one matrix or a stack of them, finite, and rng a generator."""
    check_rng(rng)
    check_floats("W", W)
    if W.ndim < 2 or 0 in W.shape:
        raise ValueError(
            f"W must be a matrix or a stack (layers, d_out, d_in), got shape {W.shape}"
        )


def _random_low_rank(rng, shape, rank):
    """A random matrix, or a stack of them, of the given shape (…, d_out, d_in) and rank."""
    *layers, d_out, d_in = shape
    check_rank(rank, most=min(d_out, d_in))
    B = rng.standard_normal((*layers, d_out, rank))
    A = rng.standard_normal((*layers, rank, d_in))
    return B @ A


def _mask_of_columns(rng, W, rank):
    """Which `rank` columns of each layer change: True or False, (…, 1, d_in)."""
    check_rank(rank, most=W.shape[-1])
    draws = rng.random(W[..., :1, :].shape)
    order = draws.argsort().argsort()  # 0 for the smallest draw of a layer, 1 for the next, …
    return order < rank


def _add_half(W, delta):
    """W + s ΔW, with the s that makes the change of all layers together half as large as W."""
    length = np.linalg.norm(delta)
    if length == 0:
        raise ValueError("W must not be zero: nothing of it is left to change")
    s = 0.5 * np.linalg.norm(W) / length
    return (W + s * delta).astype(W.dtype)


def _reflect_layers(W, u):
    """W (I − 2 u uᵀ / uᵀu) for each layer, with u (…, 1, d_in) as a row."""
    along = np.sum(W * u, axis=-1, keepdims=True)
    squared = np.sum(u * u, axis=-1, keepdims=True)
    return (W - 2 * along * u / squared).astype(W.dtype)
