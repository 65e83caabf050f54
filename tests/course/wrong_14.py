"""Wrong answers to the exercises of lesson 14, each with words of the verdict that it must get."""

import numpy as np


def one_sample(p, q):
    return (2 / (q - p)) ** 2 * p * (1 - p)


def one_error(p, q):
    return (p * (1 - p) + q * (1 - q)) / (q - p) ** 2


def not_squared(p, q):
    return 2 / abs(q - p) * (p * (1 - p) + q * (1 - q))


def all_twice(layers, r):
    return 2 * r, 2 * r, 2 * r


def same_rank(layers, r):
    return r, r, layers * r


def two_kinds(layers, r):
    return 2 * r, 2 * r, 2 * layers * r


def orthogonal(rng, d):
    return np.linalg.qr(rng.standard_normal((d, d)))[0]


def shared_left(rng, d):
    u = rng.standard_normal((d, 1))
    values = np.append(0.01, np.linspace(1, 2, d - 1))
    found = []
    for _ in range(2):
        U = np.linalg.qr(np.hstack([u, rng.standard_normal((d, d - 1))]))[0]
        found.append(U * values @ orthogonal(rng, d))
    return tuple(found)


def strongest(rng, d):
    v = rng.standard_normal((d, 1))
    values = np.append(100.0, np.linspace(1, 2, d - 1))
    found = []
    for _ in range(2):
        V = np.linalg.qr(np.hstack([v, rng.standard_normal((d, d - 1))]))[0]
        found.append(orthogonal(rng, d) * values @ V.T)
    return tuple(found)


def the_same_matrix(rng, d):
    values = np.append(0.01, np.linspace(1, 2, d - 1))
    W = orthogonal(rng, d) * values @ orthogonal(rng, d)
    return W, W.copy()


def not_weak_enough(rng, d):
    v = rng.standard_normal((d, 1))
    values = np.append(0.9, np.linspace(1, 2, d - 1))
    found = []
    for _ in range(2):
        V = np.linalg.qr(np.hstack([v, rng.standard_normal((d, d - 1))]))[0]
        found.append(orthogonal(rng, d) * values @ V.T)
    return tuple(found)


WRONG = {
    "14.1": (
        (one_sample, "|q − p| over its standard error at this n is wrong"),
        (one_error, "|q − p| over its standard error at this n is wrong"),
        (not_squared, "|q − p| over its standard error at this n is wrong"),
    ),
    "14.2": (
        (all_twice, "the rank of CondLoRA is wrong"),
        (same_rank, "the rank of SBoRA is wrong"),
        (two_kinds, "the rank of CondLoRA is wrong"),
    ),
    "14.3": (
        (shared_left, "|cos| of the weakest right singular vectors is wrong"),
        (strongest, "|cos| of the weakest right singular vectors is wrong"),
        (the_same_matrix, "W1 and W2 have more in common than a direction"),
        (not_weak_enough, "φ(1, 1) must be above 0.9"),
    ),
}
