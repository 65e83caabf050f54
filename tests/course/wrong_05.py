"""Wrong answers to the exercises of lesson 5, each with words of the verdict that it must get."""

import numpy as np

from minilora import quantize


def usual_block(W, block):
    stored = quantize(W)
    return stored.bits, float(np.linalg.norm(W - np.asarray(stored)) / np.linalg.norm(W))


def absolute(W, block):
    stored = quantize(W, block=block)
    return stored.bits, float(np.linalg.norm(W - np.asarray(stored)))


def by_formula(W, block):
    stored = quantize(W, block=block)
    error = float(np.linalg.norm(W - np.asarray(stored)) / np.linalg.norm(W))
    return 4 + 32 / block, error


def doubly(W, block):
    stored = quantize(W, block=block, double=True)
    return stored.bits, float(np.linalg.norm(W - np.asarray(stored)) / np.linalg.norm(W))


def along_rows(W, block):
    return np.asarray(quantize(W, block=block))


def not_at_all(W, block):
    return W.copy()


def double(W, block):
    return np.asarray(quantize(W.T, block=block, double=True)).T


def whole_columns(W, block):
    return np.asarray(quantize(W.T, block=len(W))).T


def of_w(W, r):
    U, sigma, Vt = np.linalg.svd(W, full_matrices=False)
    return np.asarray(quantize(W)), Vt[:r], U[:, :r] * sigma[:r]


def wrong_sign(W, r):
    W_hat = np.asarray(quantize(W))
    U, sigma, Vt = np.linalg.svd(W_hat - W, full_matrices=False)
    return W_hat, Vt[:r], U[:, :r] * sigma[:r]


def still_quantised(W, r):
    W_hat = quantize(W)
    return W_hat, np.zeros((r, W.shape[1])), np.zeros((W.shape[0], r))


def nothing_added(W, r):
    return np.asarray(quantize(W)), np.zeros((r, W.shape[1])), np.zeros((W.shape[0], r))


WRONG = {
    "5.1": (
        (usual_block, "the number of bits is wrong"),
        (absolute, "the relative error is wrong"),
        (by_formula, "the number of bits is wrong"),
        (doubly, "the number of bits is wrong"),
    ),
    "5.2": (
        (along_rows, "the matrix is wrong"),
        (not_at_all, "the matrix is wrong"),
        (double, "the matrix is wrong"),
        (whole_columns, "the matrix is wrong"),
    ),
    "5.3": (
        (of_w, "the distance ‖W − (Ŵ + B A)‖ is wrong"),
        (wrong_sign, "the distance ‖W − (Ŵ + B A)‖ is wrong"),
        (still_quantised, "returns a Quantized"),
        (nothing_added, "the distance ‖W − (Ŵ + B A)‖ is wrong"),
    ),
}
