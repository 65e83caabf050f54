"""Wrong answers to the exercises of lesson 2, each with words of the verdict that it must get."""

import numpy as np


def inverse_forgotten(A, B, M):
    return M @ A, B @ M


def order_reversed(A, B, M):
    return A @ np.linalg.inv(M) if A.shape[1] == len(M) else A, B @ M


def only_b_given_back(A, B, M):
    return B @ M


def both_rates_alike(c):
    return 1.0 / c, 1.0 / c, 1.0, 1.0 / c, c


def adam_like_descent(c):
    return 1.0, 1.0 / c**2, 1.0, 1.0 / c**2, c


def epsilon_forgotten(c):
    return 1.0, 1.0 / c**2, 1.0, 1.0 / c, 1.0


def first_ranks_kept(adapters, r):
    A = np.concatenate([A for A, _ in adapters])
    B = np.concatenate([B for _, B in adapters], axis=1)
    return A[:r], B[:, :r]


def dense(adapters, r):
    U, sigma, Vt = np.linalg.svd(sum(B @ A for A, B in adapters), full_matrices=False)
    return Vt[:r], U[:, :r] * sigma[:r]


def factors_exchanged(adapters, r):
    A = np.concatenate([A for A, _ in adapters])
    B = np.concatenate([B for _, B in adapters], axis=1)
    return B[:, :r], A[:r]


WRONG = {
    "2.1": (
        (inverse_forgotten, "the update B' A' is wrong"),
        (order_reversed, "the update B' A' is wrong"),
        (only_b_given_back, "it must return the two matrices"),
    ),
    "2.2": (
        (both_rates_alike, "steps of gradient descent is wrong"),
        (adam_like_descent, "steps of Adam is wrong"),
        (epsilon_forgotten, "steps of Adam is wrong"),
    ),
    "2.3": (
        (first_ranks_kept, "the distance of B A to the sum is wrong"),
        (dense, "it makes a matrix of the shape (d_out, d_in)"),
        (factors_exchanged, "the shape of A"),
    ),
}
