"""Lesson 11: LoRA against −W, what HRA is blind to, parameters that change nothing new."""

import math

import numpy as np

from minilora.course.exercise import exercise


@exercise(
    "11.1",
    "lora_to_minus(W, r)",
    hint="the change is −2W: only the singular values of W count.",
)
def lora_to_minus(case):
    """Returns the distance ‖W' − T‖ / ‖T − W‖ that the best LoRA of rank r leaves of T = −W."""
    d_out, d_in = case.integer("d_out", 1, 4), case.integer("d_in", 1, 4)
    r = case.integer("r", 1, min(d_out, d_in))
    W = case.matrix("W", d_out, d_in)
    if not np.any(W):
        return
    squares = np.clip(np.linalg.eigvalsh(W.T @ W), 0, None)  # ascending
    left = float(np.sum(squares[: max(d_in - r, 0)]))
    expected = math.sqrt(left / float(np.sum(W**2)))
    case.same("the distance", case.call(W, r), expected, within=1e-6)


@exercise(
    "11.2",
    "blind_target(rng, W)",
    hint="T = S W: what does the corollary say about Wᵀ T, and so about S?",
)
def blind_target(case):
    """Returns a T, drawn with rng, to which no orthogonal Q brings W Q nearer than W is, and for
    which T W⁻¹ is not diagonal."""
    d = case.integer("d", 3, 5)
    # |W_ii| is more than the rest of its row, so W is invertible.
    W = case.show("W", case.rng("W").integers(-1, 2, (d, d)) + (d + 1.0) * np.eye(d))
    draws = [case.call(case.rng(f"draw {i}"), W) for i in range(2)]
    T, other = (case.array("T", draw, d, d) for draw in draws)
    case.true(np.any(other != T), "T is the same for every rng", got=T)
    # max over Q of tr(Qᵀ Wᵀ T) is the sum of the singular values; Q = I has the trace.
    best = float(np.sum(np.linalg.svd(W.T @ T, compute_uv=False)))
    gain = best - float(np.trace(W.T @ T))
    case.true(gain <= 1e-7 * best, "an orthogonal Q brings W Q nearer to T than W is", got=T)
    S = T @ np.linalg.inv(W)
    off = np.linalg.norm(S - np.diag(np.diag(S)))
    case.true(off > 1e-4 * np.linalg.norm(S), "T W⁻¹ is diagonal", got=S)


def _lora(W, params, d, r):
    A, B = params[: r * d].reshape(r, d), params[r * d :].reshape(d, r)
    return W + B @ A


def _hra(W, params, d, r):
    for u in params.reshape(r, d):
        W = W - 2 * np.outer(W @ u, u) / (u @ u)
    return W


def _free(merge, W, count, d, r, *, rng):
    """The rank of the derivative at a random point, by central differences."""
    params, step = rng.choice([-1, 1], count) * rng.uniform(0.5, 1, count), 1e-5
    columns = []
    for i in range(count):
        move = step * np.eye(count)[i]
        difference = merge(W, params + move, d, r) - merge(W, params - move, d, r)
        columns.append(difference.ravel() / (2 * step))
    values = np.linalg.svd(np.array(columns), compute_uv=False)
    return int(np.sum(values > 1e-6 * max(values[0], 1.0)))


@exercise(
    "11.3",
    "free_parameters(d, r)",
    hint="B A stays when A becomes R A and B becomes B R⁻¹; a reflection ignores the length of u.",
    cases=40,
)
def free_parameters(case):
    """Returns (LoRA's, HRA's): how many trainable parameters of rank r ≤ d change W' independently,
    for a generic W (d, d)."""
    d = case.integer("d", 1, 5)
    r = case.integer("r", 1, d)
    lora, hra = case.parts(case.call(d, r), 2)
    rng = case.rng()
    W = rng.standard_normal((d, d))
    case.same("LoRA's number", lora, _free(_lora, W, 2 * r * d, d, r, rng=rng))
    case.same("HRA's number", hra, _free(_hra, W, r * d, d, r, rng=rng))
