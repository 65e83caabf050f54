"""Wrong answers to the exercises of lesson 13, each with words of the verdict that it must get."""

from itertools import product

import numpy as np


def word_of(mean, error):
    return "noise" if abs(mean) <= 2 * error else "ahead" if mean > 0 else "behind"


def unpaired(one, other):
    mean = float(np.mean(one) - np.mean(other))
    error = float(np.sqrt((np.var(one, ddof=1) + np.var(other, ddof=1)) / len(one)))
    return mean, error, word_of(mean, error)


def deviation_of_all(one, other):
    d = one - other
    mean, error = float(np.mean(d)), float(np.std(d) / np.sqrt(len(d)))
    return mean, error, word_of(mean, error)


def deviation(one, other):
    d = one - other
    mean, error = float(np.mean(d)), float(np.std(d, ddof=1))
    return mean, error, word_of(mean, error)


def always_ahead(one, other):
    d = one - other
    mean, error = float(np.mean(d)), float(np.std(d, ddof=1) / np.sqrt(len(d)))
    return mean, error, "ahead" if mean > 0 else "behind"


def signs_of(n):
    return np.array(list(product([-1, 1], repeat=n)))


def one_sided(differences):
    sums = signs_of(len(differences)) @ differences
    return float(np.mean(sums >= np.sum(differences) - 1e-12))


def strictly_farther(differences):
    sums = np.abs(signs_of(len(differences)) @ differences)
    return float(np.mean(sums > abs(np.sum(differences)) + 1e-12))


def without_itself(differences):
    sums = np.abs(signs_of(len(differences)) @ differences)
    as_far = np.sum(sums >= abs(np.sum(differences)) - 1e-12) - 1
    return float(as_far / max(1, len(sums) - 1))


def normal_formula(differences):
    share = np.mean(np.sign(differences) == np.sign(np.sum(differences)))
    return float(2 * 0.5 ** (share * len(differences)))


WRONG = {
    "13.1": (
        (unpaired, "its standard error is wrong"),
        (deviation_of_all, "its standard error is wrong"),
        (deviation, "its standard error is wrong"),
        (always_ahead, 'the word must be "noise"'),
    ),
    "13.2": (
        (one_sided, "the share is wrong"),
        (strictly_farther, "the share is wrong"),
        (without_itself, "the share is wrong"),
        (normal_formula, "the share is wrong"),
    ),
}
