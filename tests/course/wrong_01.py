"""Wrong answers to the exercises of lesson 1, each with words of the verdict that it must get."""

import numpy as np


def transposed(U, sigma, Vt):
    return Vt.T, sigma, U.T


def clockwise(U, sigma, Vt):
    return Vt.T, sigma, U.T[:, ::-1]


def sigma_in_u(U, sigma, Vt):
    return Vt.T[::-1] * sigma, sigma, U.T


def unchanged(U, sigma, Vt):
    return U[::-1], sigma, Vt


def cut(M, k):
    U, sigma, Vt = np.linalg.svd(M, full_matrices=False)
    return U[:, :k] * sigma[:k] @ Vt[:k]


def against_itself(noisy, clean):
    gaps = [float(np.linalg.norm(cut(noisy, k) - noisy)) for k in range(1, min(noisy.shape) + 1)]
    return 1 + gaps.index(min(gaps)), min(gaps)


def counted_from_zero(noisy, clean):
    gaps = [float(np.linalg.norm(cut(noisy, k) - clean)) for k in range(1, min(noisy.shape) + 1)]
    return gaps.index(min(gaps)), min(gaps)


def squared(noisy, clean):
    gaps = [float(np.sum((cut(noisy, k) - clean) ** 2)) for k in range(1, min(noisy.shape) + 1)]
    return 1 + gaps.index(min(gaps)), min(gaps)


def at_the_first_rise(noisy, clean):
    gaps = [float(np.linalg.norm(cut(noisy, k) - clean)) for k in range(1, min(noisy.shape) + 1)]
    k = 1
    while k < len(gaps) and gaps[k] < gaps[k - 1]:
        k += 1
    return k, gaps[k - 1]


def truncated(X, delta, k):
    return cut(delta, k)


def of_the_inputs(X, delta, k):
    _, _, Vt = np.linalg.svd(X, full_matrices=False)
    return delta @ Vt[:k].T @ Vt[:k]


def all_of_it(X, delta, k):
    return delta.copy()


WRONG = {
    "1.1": (
        (transposed, "U' diag(sigma') Vt' is wrong"),
        (clockwise, "U' diag(sigma') Vt' is wrong"),
        (sigma_in_u, "U' diag(sigma') Vt' is wrong"),
        (unchanged, "U' must be an array of shape"),
    ),
    "1.2": (
        (against_itself, "the distance is wrong"),
        (counted_from_zero, "k must be an integer from 1"),
        (squared, "the distance is wrong"),
        (at_the_first_rise, "the distance is wrong"),
    ),
    "1.3": (
        (truncated, "the distance ‖X (delta − M)ᵀ‖ is wrong"),
        (of_the_inputs, "the distance ‖X (delta − M)ᵀ‖ is wrong"),
        (all_of_it, "M must have rank 1 at most"),
    ),
}
