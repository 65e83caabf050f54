"""Wrong answers to the exercises of lesson 12, each with words of the verdict that it must get."""

import numpy as np


def of_the_target(W, T, trained, r):
    squares = np.linalg.svd(T, compute_uv=False) ** 2
    possible = np.sqrt(np.sum(squares[r:]) / np.sum(squares))
    return float(possible), float(np.linalg.norm(trained - T) / np.linalg.norm(T - W) - possible)


def not_subtracted(W, T, trained, r):
    squares = np.linalg.svd(T - W, compute_uv=False) ** 2
    possible = np.sqrt(np.sum(squares[r:]) / np.sum(squares))
    return float(possible), float(np.linalg.norm(trained - T) / np.linalg.norm(T - W))


def not_relative(W, T, trained, r):
    possible = np.linalg.norm(np.linalg.svd(T - W, compute_uv=False)[r:])
    return float(possible), float(np.linalg.norm(trained - T) - possible)


def longest(gradient, r):
    return tuple(sorted(np.argsort(-np.linalg.norm(gradient, axis=0))[:r].tolist()))


def of_the_data(W, x, y, r):
    return longest(x, r)


def of_w(W, x, y, r):
    return longest(W, r)


def by_absolute_sums(W, x, y, r):
    gradient = (x @ W.T - y).T @ x
    return tuple(sorted(np.argsort(-np.abs(gradient).sum(axis=0))[:r].tolist()))


def not_sorted(W, x, y, r):
    gradient = (x @ W.T - y).T @ x
    return tuple(np.argsort(-np.linalg.norm(gradient, axis=0))[:r].tolist())


def left_vectors(G, E, r):
    A = np.linalg.svd(G.T)[2][:r] if G.shape[0] == G.shape[1] else np.linalg.svd(G)[2][-r:]
    return A, E @ A.T


def smallest(G, E, r):
    A = np.linalg.svd(G)[2][-r:]
    return A, E @ A.T


def zero_b(G, E, r):
    return np.linalg.svd(G)[2][:r], np.zeros((G.shape[0], r))


def of_e(G, E, r):
    A = np.linalg.svd(E)[2][:r]
    return A, E @ A.T


WRONG = {
    "12.1": (
        (of_the_target, "the failure of representation is wrong"),
        (not_subtracted, "the failure of optimisation is wrong"),
        (not_relative, "the failure of optimisation is wrong"),
    ),
    "12.2": (
        (of_the_data, "the gradient is longer in other columns"),
        (of_w, "the gradient is longer in other columns"),
        (by_absolute_sums, "the gradient is longer in other columns"),
        (not_sorted, "the columns must be in rising order"),
    ),
    "12.3": (
        (left_vectors, "how much of ‖G‖² lies in the rows of A is wrong"),
        (smallest, "how much of ‖G‖² lies in the rows of A is wrong"),
        (zero_b, "(B A − E) Aᵀ, which is 0 for the best B, is wrong"),
        (of_e, "how much of ‖G‖² lies in the rows of A is wrong"),
    ),
}
