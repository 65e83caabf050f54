"""Wrong answers to the exercises of lesson 8, each with words of the verdict that it must get."""

import numpy as np


def rounded_down(L, D):
    rank = max(1, D // L)
    return rank, L * rank * 2 * D


def one_factor(L, D):
    rank = -(-D // L)
    return rank, L * rank * D


def one_layer(L, D):
    rank = -(-D // L)
    return rank, rank * 2 * D


def whole_angle(degrees):
    angle = np.deg2rad(degrees)
    first, second = np.array([1.0, 0.0]), np.array([np.cos(angle), np.sin(angle)])
    return -2 * first[:, None], first[None, :], -2 * second[:, None], second[None, :]


def other_order(degrees):
    half = np.deg2rad(degrees) / 2
    first, second = np.array([np.cos(half), np.sin(half)]), np.array([1.0, 0.0])
    return -2 * first[:, None], first[None, :], -2 * second[:, None], second[None, :]


def projections(degrees):
    half = np.deg2rad(degrees) / 2
    first, second = np.array([1.0, 0.0]), np.array([np.cos(half), np.sin(half)])
    return -first[:, None], first[None, :], -second[:, None], second[None, :]


def product_of(Ws):
    product = np.eye(len(Ws[0]))
    for W in Ws:
        product = W @ product
    return product


def all_at_once(Ws, target, ranks):
    """Every layer takes its own directions, as if the others stayed as they are."""
    left, sigma, right = np.linalg.svd(target - product_of(Ws))
    params, used = [], 0
    for i, R in enumerate(ranks):
        own = slice(used, used + R)
        after = product_of([*Ws[i + 1 :], np.eye(len(target))])
        before = product_of([np.eye(len(target)), *Ws[:i]])
        B = np.linalg.solve(after, left[:, own])
        A = np.linalg.solve(before.T, (sigma[own, None] * right[own]).T).T
        params.append({"A": A, "B": B})
        used += R
    return params


def last_layer_first(Ws, target, ranks):
    return all_at_once(Ws, target, ranks)[::-1]


def without_solving(Ws, target, ranks):
    left, sigma, right = np.linalg.svd(target - product_of(Ws))
    params, used = [], 0
    for R in ranks:
        own = slice(used, used + R)
        params.append({"A": sigma[own, None] * right[own], "B": left[:, own]})
        used += R
    return params


WRONG = {
    "8.1": (
        (rounded_down, "the rank is wrong"),
        (one_factor, "the number of parameters is wrong"),
        (one_layer, "the number of parameters is wrong"),
    ),
    "8.2": (
        (whole_angle, "the product is wrong"),
        (other_order, "the product is wrong"),
        (projections, "the product is wrong"),
    ),
    "8.3": (
        (all_at_once, "the product is wrong"),
        (last_layer_first, "A of layer 0 must be an array of shape"),
        (without_solving, "the product is wrong"),
    ),
}
