"""Wrong answers to the exercises of lesson 4, each with words of the verdict that it must get."""

import numpy as np


def always_fa(shapes, budget):
    one = sum(d_out for d_out, _ in shapes.values())
    return one, budget // one


def rounded_up(shapes, budget):
    one = sum(min(shape) for shape in shapes.values())
    return one, -(-budget // one)


def one_side_for_all(shapes, budget):
    one = min(sum(shape[side] for shape in shapes.values()) for side in (0, 1))
    return one, budget // one


class Subtracting:
    def __init__(self, W, cols):
        self.cols, self.mean = list(cols), W[:, list(cols)].mean(axis=1, keepdims=True)

    def restore(self, merged):
        W = merged.copy()
        W[:, self.cols] = self.mean
        return W


class AllOfW:
    def __init__(self, W, cols):
        self.W = W.copy()

    def restore(self, merged):
        return self.W


class InFloat64:
    def __init__(self, W, cols):
        self.cols, self.kept = list(cols), W[:, list(cols)]

    def restore(self, merged):
        W = merged.astype(np.float64)
        W[:, self.cols] = self.kept
        return W


class InPlace:
    def __init__(self, W, cols):
        self.cols, self.kept = list(cols), W[:, list(cols)]

    def restore(self, merged):
        merged[:, self.cols] = self.kept
        return merged


def longest_rows(gradient, r):
    return tuple(np.argsort(-np.linalg.norm(gradient, axis=1))[:r].tolist())


def shortest_first(gradient, r):
    return tuple(np.argsort(np.linalg.norm(gradient, axis=0))[-r:].tolist())


def by_largest_entry(gradient, r):
    return tuple(np.argsort(-np.abs(gradient).max(axis=0))[:r].tolist())


WRONG = {
    "4.1": (
        (always_fa, "the number of parameters at rank 1 is wrong"),
        (rounded_up, "the largest rank within the budget is wrong"),
        (one_side_for_all, "the number of parameters at rank 1 is wrong"),
    ),
    "4.2": (
        (Subtracting, "must be bitwise identical"),
        (AllOfW, "it must keep at most"),
        (InFloat64, "must be float32, and is float64"),
        (InPlace, "restore changes its argument number 1"),
    ),
    "4.3": (
        (longest_rows, "the length of each column is wrong"),
        (shortest_first, "the length of each column is wrong"),
        (by_largest_entry, "the length of each column is wrong"),
    ),
}
