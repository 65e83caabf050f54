"""Wrong answers to the assignment, each with words of the verdict that it must get."""

from dataclasses import dataclass

import numpy as np

from minilora import LoRA


def no_rank(W, A, B, alpha):
    return W + np.asarray(alpha, W.dtype) * (B @ A)


def wrong_side(W, A, B, alpha):
    return W + np.asarray(alpha / B.shape[0], W.dtype) * (B @ A)


def in_float64(W, A, B, alpha):
    return W.astype(np.float64) + alpha / len(A) * (B @ A)


def in_place(W, A, B, alpha):
    W += np.asarray(alpha / len(A), W.dtype) * (B @ A)
    return W


def without_w(x, W, A, B, s, g):
    return s * (g @ B).T @ x, s * g.T @ (x @ A.T), s * g @ B @ A


def scale_missing(x, W, A, B, s, g):
    return (g @ B).T @ x, s * g.T @ (x @ A.T), g @ W + s * g @ B @ A


def averaged(x, W, A, B, s, g):
    dA, dB = s * (g @ B).T @ x, s * g.T @ (x @ A.T)
    return dA / len(x), dB / len(x), g @ W + s * g @ B @ A


def of_w1(W0, W1, r):
    U, sigma, Vt = np.linalg.svd(W1, full_matrices=False)
    return Vt[:r], U[:, :r] * sigma[:r]


def smallest(W0, W1, r):
    U, sigma, Vt = np.linalg.svd(W1 - W0, full_matrices=False)
    return Vt[-r:], U[:, -r:] * sigma[-r:]


def sigma_twice(W0, W1, r):
    U, sigma, Vt = np.linalg.svd(W1 - W0, full_matrices=False)
    return sigma[:r, None] * Vt[:r], U[:, :r] * sigma[:r]


class Formula:
    """What LoRA's merge is, in loops."""

    def formula(self, W, params, frozen):
        result = W.copy()
        for i, j in np.ndindex(W.shape):
            result[i, j] += params["B"][i] @ params["A"][:, j]
        return result


@dataclass(frozen=True)
class Transposed(Formula, LoRA):
    def merge(self, params, frozen):
        return super().merge(params, frozen).T.copy()


@dataclass(frozen=True)
class Started(Formula, LoRA):
    def init(self, rng, W):
        params, frozen = super().init(rng, W)
        params["B"] = rng.standard_normal(params["B"].shape).astype(W.dtype)
        return params, frozen


@dataclass(frozen=True)
class OtherFormula(LoRA):
    def formula(self, W, params, frozen):
        return W - params["B"] @ params["A"]


WRONG = {
    "A.1": (
        (no_rank, "the merged weight is wrong"),
        (wrong_side, "the merged weight is wrong"),
        (in_float64, "the merged weight must be float32"),
        (in_place, "changes its argument number 1"),
    ),
    "A.2": (
        (without_w, "the gradient with respect to x is wrong"),
        (scale_missing, "the gradient with respect to A is wrong"),
        (averaged, "the gradient with respect to A is wrong"),
    ),
    "A.3": (
        (of_w1, "the error ‖W0 + B A − W1‖ is wrong"),
        (smallest, "the error ‖W0 + B A − W1‖ is wrong"),
        (sigma_twice, "the error ‖W0 + B A − W1‖ is wrong"),
    ),
    "A.4": (
        (Transposed, "Mine breaks P1, P2, "),
        (Started, "P1: an untrained adapter changes nothing"),
        (OtherFormula, "P16: merge computes the formula that was given"),
        (LoRA, "Mine needs a method formula"),
    ),
}
