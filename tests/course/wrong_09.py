"""Wrong answers to the exercises of lesson 9, each with words of the verdict that it must get."""

import numpy as np


def highest(W, radius):
    return radius * W / np.linalg.norm(W, axis=1, keepdims=True)


def unit_ball(W, radius):
    return -W / np.linalg.norm(W, axis=1, keepdims=True)


def not_normalised(W, radius):
    return -radius * W


def corner(W, radius):
    return -radius * np.sign(W) / np.sqrt(W.shape[1])


def ranks_add_up(width, depth, target_width, target_depth):
    rank = -(-target_width * target_depth // depth)
    return rank, depth * (rank * 2 * width + width), target_depth * (target_width**2 + target_width)


def of_the_frozen_width(width, depth, target_width, target_depth):
    rank = -(-width // (depth // target_depth))
    return rank, depth * (rank * 2 * width + width), target_depth * (target_width**2 + target_width)


def without_biases(width, depth, target_width, target_depth):
    rank = -(-target_width // (depth // target_depth))
    return rank, depth * rank * 2 * width, target_depth * target_width**2


def of_the_ball(W0, W1, b):
    c = np.sqrt(W0.shape[1]) * np.linalg.norm(W0, axis=1)
    return c, b - W1 @ c


def all_entries(W0, W1, b):
    c = np.sum(np.abs(W0), axis=1)
    return c, b - W1 @ c


def not_taken_back(W0, W1, b):
    return np.sum(np.maximum(-W0, 0), axis=1), b.copy()


def positive_entries(W0, W1, b):
    c = np.sum(np.maximum(W0, 0), axis=1)
    return c, b - W1 @ c


WRONG = {
    "9.1": (
        (highest, "row times x is wrong"),
        (unit_ball, "row times x is wrong"),
        (not_normalised, "each point must lie in the ball"),
        (corner, "row times x is wrong"),
    ),
    "9.2": (
        (ranks_add_up, "the rank is wrong"),
        (of_the_frozen_width, "the rank is wrong"),
        (without_biases, "the number that is trained is wrong"),
    ),
    "9.3": (
        (of_the_ball, "c0 is wrong"),
        (all_entries, "c0 is wrong"),
        (not_taken_back, "the output at x"),
        (positive_entries, "c0 is wrong"),
    ),
}
