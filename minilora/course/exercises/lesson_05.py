"""Lesson 5: bits and error of a block length, blocks along columns, a start nearer to W."""

import numpy as np

from minilora import quantize
from minilora.course.exercise import exercise
from minilora.quantization import LEVELS


def _rounded(run):
    """One block after four bits: each entry the nearest level times the largest magnitude."""
    absmax = max(abs(float(entry)) for entry in run)
    if absmax == 0:
        return [0.0] * len(run)
    return [absmax * min(LEVELS, key=lambda level: abs(entry / absmax - level)) for entry in run]


def _some_zero(case, W, count):
    """W, with the first `count` entries of its last row set to zero in half of the cases."""
    W = W.copy()
    if case.choice("zeros", [False, True]) and len(W) > 1:
        W[-1, :count] = 0
    return W


@exercise(
    "5.1",
    "bits_and_error(W, block)",
    hint="quantize(W, block=block) has bits, and np.asarray of it is the dense matrix.",
)
def bits_and_error(case):
    """Returns (bits, error): the bits of memory for each entry of W in four bits with blocks of
    this length, and the relative error ‖W − Ŵ‖ / ‖W‖ in the Frobenius norm."""
    d_out, d_in = case.integer("d_out", 1, 4), case.integer("d_in", 2, 8)
    block = case.integer("block", 1, 8)
    W = case.show("W", _some_zero(case, case.normal("W", d_out, d_in), d_in))
    if not np.any(W):
        return
    bits, error = case.parts(case.call(W, block), 2)
    entries = W.ravel().tolist()
    stored, blocks = [], 0
    for start in range(0, W.size, block):
        stored += _rounded(entries[start : start + block])
        blocks += 1
    codes = (W.size + 1) // 2  # bytes: two codes in each
    case.same("the number of bits", bits, 8 * (codes + 4 * blocks) / W.size)
    missed = sum((a - b) ** 2 for a, b in zip(entries, stored))
    expected = float(missed / sum(a**2 for a in entries)) ** 0.5
    case.same("the relative error", error, expected, within=1e-6)


@exercise(
    "5.2",
    "through_four_bits(W, block)",
    hint="a block is a run along a row. Which rows would you like the columns to be?",
)
def through_four_bits(case):
    """Returns the dense matrix that W becomes when each run of `block` entries of a column is a
    block in four bits; so untouched columns stay when it is done again."""
    block = case.integer("block", 2, 4)
    d_out, d_in = block * case.integer("blocks in a column", 1, 2), case.integer("d_in", 1, 4)
    W = case.show("W", _some_zero(case, case.normal("W", d_out, d_in).T, block).T)
    expected = np.empty_like(W)
    for j in range(d_in):
        for i in range(0, d_out, block):
            expected[i : i + block, j] = _rounded(W[i : i + block, j])
    once = case.call(W, block)
    case.same("the matrix", once, expected, within=1e-6)
    touched = case.integer("the column that is changed", 0, d_in - 1)
    changed = once.copy()
    changed[:, touched] += 2 * case.rng("change").standard_normal(d_out)
    again = case.array("what it becomes again", case.call(changed, block), d_out, d_in)
    rest = np.arange(d_in) != touched
    case.same("an untouched column", again[:, rest], once[:, rest], within=1e-6)


@exercise(
    "5.3",
    "nearer_start(W, r)",
    hint="the theorem of Eckart and Young, for the error of quantisation.",
)
def nearer_start(case):
    """Returns (Ŵ, A, B): Ŵ = quantize(W), dense, and A (r, d_in), B (d_out, r) for which
    ‖W − (Ŵ + B A)‖ is smallest."""
    d_out, d_in = case.integer("d_out", 1, 4), case.integer("d_in", 1, 5)
    r = case.integer("r", 1, min(d_out, d_in))
    W = case.normal("W", d_out, d_in)
    W_hat, A, B = case.parts(case.call(W, r), 3)
    stored = np.asarray(quantize(W))
    case.same("Ŵ", W_hat, stored, within=1e-6)
    case.array("A", A, r, d_in)
    case.array("B", B, d_out, r)
    case.show("B A, as returned", B @ A)
    error = W - stored
    squares = np.clip(np.linalg.eigvalsh(error.T @ error), 0, None)  # ascending
    least = float(np.sqrt(np.sum(squares[: d_in - r])))
    missed = float(np.sqrt(np.sum((error - B @ A) ** 2)))
    case.same("the distance ‖W − (Ŵ + B A)‖", missed, least, within=1e-6)
