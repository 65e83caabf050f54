"""Wrong answers to the exercises of lesson 19, each with words of the verdict that it must get."""

import numpy as np


def rows(W, T):
    squares = np.sum(W**2, axis=1)
    rest = squares == 0
    return np.where(rest, 1, np.sum(W * T, axis=1) / np.where(rest, 1, squares))


def of_the_change(W, T):
    squares = np.sum(W**2, axis=0)
    rest = squares == 0
    return np.where(rest, 1, np.sum(W * (T - W), axis=0) / np.where(rest, 1, squares))


def lengths_only(W, T):
    squares = np.sum(W**2, axis=0)
    rest = squares == 0
    return np.where(rest, 1, np.sqrt(np.sum(T**2, axis=0) / np.where(rest, 1, squares)))


def zero_for_zero(W, T):
    return np.array([(np.linalg.pinv(W[:, [j]]) @ T[:, j])[0] for j in range(W.shape[1])])


def zero_by_zero(W, T):
    with np.errstate(all="ignore"):
        return np.sum(W * T, axis=0) / np.sum(W**2, axis=0)


def _pairs(A1, B1, A2, B2):
    """Both arrays as (r1, r2, …), one entry for each pair."""
    return A1[:, None] * A2[None], B1.T[:, None] * B2.T[None]


def equal_pairs(A1, B1, A2, B2):
    of_a, of_b = _pairs(A1, B1, A2, B2)
    of_b = of_b * np.eye(len(A1), len(A2))[:, :, None]
    return of_a.reshape((-1, A1.shape[1])), of_b.reshape((-1, len(B1))).T


def two_orders(A1, B1, A2, B2):
    of_a, of_b = _pairs(A1, B1, A2, B2)
    return of_a.reshape((-1, A1.shape[1])), of_b.transpose(1, 0, 2).reshape((-1, len(B1))).T


def both_repeated(A1, B1, A2, B2):
    """Every pair is there only if r1 and r2 have no common divisor."""
    r1, r2 = len(A1), len(A2)
    A = np.tile(A1, (r2, 1)) * np.tile(A2, (r1, 1))
    return A, np.tile(B1, (1, r2)) * np.tile(B2, (1, r1))


def stacked(A1, B1, A2, B2):
    return np.concatenate([A1, A2]), np.concatenate([B1, B2], axis=1)


def reshaped_columns(A1, B1, A2, B2):
    of_a, of_b = _pairs(A1, B1, A2, B2)
    return of_a.reshape((-1, A1.shape[1])), of_b.reshape((len(B1), -1))


def _of_rank_one(rows, o, i, p, q):
    U, sigma, Vt = np.linalg.svd(rows.reshape((o * i, p * q)), full_matrices=False)
    return (sigma[0] * U[:, 0]).reshape((o, i)), Vt[0].reshape((p, q))


def _blocks(E, o, i):
    p, q = E.shape[0] // o, E.shape[1] // i
    return E.reshape((o, p, i, q)).transpose(0, 2, 1, 3), p, q


def not_in_blocks(E, o, i):
    return _of_rank_one(E, o, i, E.shape[0] // o, E.shape[1] // i)


def factors_exchanged(E, o, i):
    p, q = E.shape[0] // o, E.shape[1] // i
    return _of_rank_one(E.reshape((p, o, q, i)).transpose(1, 3, 0, 2), o, i, p, q)


def without_sigma(E, o, i):
    blocks, p, q = _blocks(E, o, i)
    U, _, Vt = np.linalg.svd(blocks.reshape((o * i, p * q)), full_matrices=False)
    return U[:, 0].reshape((o, i)), Vt[0].reshape((p, q))


def largest_block(E, o, i):
    blocks, _, _ = _blocks(E, o, i)
    squares = np.sum(blocks**2, axis=(2, 3))
    D = blocks[np.unravel_index(np.argmax(squares), squares.shape)]
    return np.sum(blocks * D, axis=(2, 3)) / max(np.max(squares), 1), D


def unit_c(E, o, i):
    C, D = _of_rank_one(*_blocks(E, o, i)[:1], o, i, E.shape[0] // o, E.shape[1] // i)
    with np.errstate(all="ignore"):
        return C / np.linalg.norm(C), D * np.linalg.norm(C)


WRONG = {
    "19.1": (
        (rows, "l must be an array of shape"),
        (of_the_change, "l is wrong"),
        (lengths_only, "l is wrong"),
        (zero_for_zero, "l_j must be 1 where column j of W is zero"),
        (zero_by_zero, "l must be finite"),
    ),
    "19.2": (
        (equal_pairs, "B A is wrong"),
        (two_orders, "B A is wrong"),
        (both_repeated, "B A is wrong"),
        (stacked, "A must be an array of shape"),
        (reshaped_columns, "B A is wrong"),
    ),
    "19.3": (
        (not_in_blocks, "the squared error ‖E − C ⊗ D‖² is wrong"),
        (factors_exchanged, "the squared error ‖E − C ⊗ D‖² is wrong"),
        (without_sigma, "the squared error ‖E − C ⊗ D‖² is wrong"),
        (largest_block, "the squared error ‖E − C ⊗ D‖² is wrong"),
        (unit_c, "C must be finite"),
    ),
}
