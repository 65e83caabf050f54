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


def drawn(rng, v, weakest):
    """A random matrix with the right singular vector v and its value; the others are 1 to 2."""
    d = len(v)
    V = np.linalg.qr(np.column_stack([v, rng.standard_normal((d, d - 1))]))[0]
    return orthogonal(rng, d) * np.append(weakest, np.linspace(1, 2, d - 1)) @ V.T


def shared_left(rng, d):
    u = rng.standard_normal(d)
    return tuple(drawn(rng, u, 0.01).T for _ in range(2))


def strongest(rng, d):
    v = rng.standard_normal(d)
    return tuple(drawn(rng, v, 100) for _ in range(2))


def the_same_matrix(rng, d):
    W = drawn(rng, rng.standard_normal(d), 0.01)
    return W, W.copy()


def all_right_vectors(rng, d):
    V, values = orthogonal(rng, d), np.append(0.01, np.linspace(1, 2, d - 1))
    return orthogonal(rng, d) * values @ V.T, orthogonal(rng, d) * values @ V.T


def not_weak_enough(rng, d):
    v = rng.standard_normal(d)
    return tuple(drawn(rng, v, 0.9) for _ in range(2))


def not_random(rng, d):
    rng = np.random.default_rng(0)
    v = rng.standard_normal(d)
    return tuple(drawn(rng, v, 0.01) for _ in range(2))


def singular(rng, d):
    v = rng.standard_normal(d)
    return tuple(drawn(rng, v, 0) for _ in range(2))


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
        (the_same_matrix, "W1 and W2 have a left singular vector in common"),
        (all_right_vectors, "W1 and W2 have another right singular vector in common"),
        (not_weak_enough, "φ(1, 1) must be above 0.9"),
        (not_random, "W1 is the same for two generators"),
        (singular, "W1 must be invertible"),
    ),
}
