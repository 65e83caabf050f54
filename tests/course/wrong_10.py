"""Wrong answers to the exercises of lesson 10, each with words of the verdict that it must get."""

import math

import numpy as np


def zeros(rng, n, D):
    return np.zeros((n, D))


def any_tokens(rng, n, D):
    return rng.standard_normal((n, D))


def two_of_them_equal(rng, n, D):
    X = rng.standard_normal((n, D))
    X[1] = X[0]
    return X


def always_the_same(rng, n, D):
    return np.ones((n, D))


def tiny(rng, n, D):
    return 1e-9 * rng.standard_normal((n, D))


def one_token(rng, n, D):
    return rng.standard_normal((1, D))


def not_transposed(W_Q, W_K, goal, r_Q, r_K):
    sigma = np.linalg.svd(goal - W_K @ W_Q, compute_uv=False)
    return float(sigma[r_Q + r_K]) if r_Q + r_K < len(sigma) else 0.0


def larger_rank(W_Q, W_K, goal, r_Q, r_K):
    sigma = np.linalg.svd(goal - W_K.T @ W_Q, compute_uv=False)
    rank = max(r_Q, r_K)
    return float(sigma[rank]) if rank < len(sigma) else 0.0


def frobenius(W_Q, W_K, goal, r_Q, r_K):
    sigma = np.linalg.svd(goal - W_K.T @ W_Q, compute_uv=False)
    return float(np.sqrt(np.sum(sigma[r_Q + r_K :] ** 2)))


def own_keys(heads, D):
    return math.ceil(D / 2)


def only_the_count(heads, D):
    return math.ceil(D - D / math.sqrt(heads))


def limit(heads, D):
    return D


WRONG = {
    "10.1": (
        (zeros, "no row of X may be zero"),
        (any_tokens, "the output with other W_Q and W_K is wrong"),
        (two_of_them_equal, "the output with other W_Q and W_K is wrong"),
        (always_the_same, "X is the same for every rng"),
        (tiny, "the output with other W_Q and W_K is wrong"),
        (one_token, "X must be an array of shape"),
    ),
    "10.2": (
        (not_transposed, "the least error is wrong"),
        (larger_rank, "the least error is wrong"),
        (frobenius, "the least error is wrong"),
    ),
    "10.3": (
        (own_keys, "the rank is wrong"),
        (only_the_count, "the rank is wrong"),
        (limit, "the rank is wrong"),
    ),
}
