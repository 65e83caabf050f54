"""Wrong answers to the exercises of lesson 15, each with words of the verdict that it must get."""

import numpy as np


def within(scores, error_of):
    best = max(scores, key=lambda rate: np.mean(scores[rate]))
    found = []
    for rate, own in sorted(scores.items()):
        gap = np.mean(scores[best]) - np.mean(own)
        if gap <= 2 * error_of(np.array(scores[best]), np.array(own)):
            found.append(rate)
    return found


def unpaired(scores):
    return within(scores, lambda a, b: np.sqrt((np.var(a, ddof=1) + np.var(b, ddof=1)) / len(a)))


def one_error(scores):
    return within(scores, lambda a, b: np.std(a - b, ddof=1) / np.sqrt(len(a)) / 2)


def only_the_best(scores):
    return [max(scores, key=lambda rate: np.mean(scores[rate]))]


def lowest_is_best(scores):
    negative = {rate: [-score for score in own] for rate, own in scores.items()}
    return within(negative, lambda a, b: np.std(a - b, ddof=1) / np.sqrt(len(a)))


def as_given(A, B):
    return A.copy(), B.copy()


def sigma_in_b(A, B):
    U, sigma, Vt = np.linalg.svd(B @ A, full_matrices=False)
    return Vt[: len(A)], U[:, : len(A)] * sigma[: len(A)]


def equal_norms(A, B):
    c = np.sqrt(np.linalg.norm(B) / np.linalg.norm(A)) if np.any(A) and np.any(B) else 1.0
    return c * A, B / c


def cut(M, r, decay):
    U, sigma, Vt = np.linalg.svd(M, full_matrices=False)
    root = np.sqrt(sigma[:r])
    return root[:, None] * Vt[:r], U[:, :r] * root


def hard_threshold(M, r, decay):
    U, sigma, Vt = np.linalg.svd(M, full_matrices=False)
    root = np.sqrt(np.where(sigma[:r] > decay, sigma[:r], 0))
    return root[:, None] * Vt[:r], U[:, :r] * root


def divided(M, r, decay):
    U, sigma, Vt = np.linalg.svd(M, full_matrices=False)
    root = np.sqrt(sigma[:r] / (1 + decay))
    return root[:, None] * Vt[:r], U[:, :r] * root


def half_of_it(M, r, decay):
    U, sigma, Vt = np.linalg.svd(M, full_matrices=False)
    root = np.sqrt(np.maximum(sigma[:r] - decay / 2, 0))
    return root[:, None] * Vt[:r], U[:, :r] * root


WRONG = {
    "15.1": (
        (unpaired, "the list of rates is wrong"),
        (one_error, "the list of rates is wrong"),
        (only_the_best, "the list of rates is wrong"),
        (lowest_is_best, "the list of rates is wrong"),
    ),
    "15.2": (
        (as_given, "½ (‖A'‖² + ‖B'‖²) is wrong"),
        (sigma_in_b, "½ (‖A'‖² + ‖B'‖²) is wrong"),
        (equal_norms, "½ (‖A'‖² + ‖B'‖²) is wrong"),
    ),
    "15.3": (
        (cut, "the value of the objective is wrong"),
        (hard_threshold, "the value of the objective is wrong"),
        (divided, "the value of the objective is wrong"),
        (half_of_it, "the value of the objective is wrong"),
    ),
}
