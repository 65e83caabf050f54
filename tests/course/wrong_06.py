"""Wrong answers to the exercises of lesson 6, each with words of the verdict that it must get."""

import numpy as np

from minilora import HRA


def whole_angle(degrees):
    angle = np.deg2rad(degrees)
    return np.array([np.cos(angle), np.sin(angle)]), np.array([1.0, 0.0])


def other_way(degrees):
    half = np.deg2rad(degrees) / 2
    return np.array([1.0, 0.0]), np.array([np.cos(half), np.sin(half)])


def in_radians(degrees):
    half = degrees / 2
    return np.array([np.cos(half), np.sin(half)]), np.array([1.0, 0.0])


def same_order(merged, U):
    return HRA(U.shape[1]).merge({"U": U}, {"W": merged})


def not_normalised(merged, U):
    for u in U.T[::-1]:
        merged = merged - 2 * np.outer(merged @ u, u).astype(merged.dtype)
    return merged


def in_float64(merged, U):
    for u in U.T[::-1].astype(np.float64):
        merged = merged - 2 * np.outer(merged @ u, u) / (u @ u)
    return merged


def from_the_left(merged, U):
    chain = np.eye(len(U), dtype=merged.dtype)
    for u in U.T:
        chain = chain - 2 * np.outer(u, u @ chain) / (u @ u)
    return (merged.T @ chain).T if len(merged) == len(chain) else merged


def positive_ones(H):
    values, vectors = np.linalg.eigh(H)
    return vectors[:, values > 0]


def all_of_them(H):
    return np.linalg.eigh(H)[1]


def columns_of_h(H):
    values = np.linalg.eigvalsh(H)
    return (np.eye(len(H)) + H)[:, : np.sum(values < 0)]


def first_columns(H):
    return (np.eye(len(H)) - H)[:, : np.sum(np.linalg.eigvalsh(H) < 0)]


WRONG = {
    "6.1": (
        (whole_angle, "where (1, 0) and (0, 1) go is wrong"),
        (other_way, "where (1, 0) and (0, 1) go is wrong"),
        (in_radians, "where (1, 0) and (0, 1) go is wrong"),
    ),
    "6.2": (
        (same_order, "W is wrong"),
        (not_normalised, "W is wrong"),
        (in_float64, "W must be float32"),
        (from_the_left, "W is wrong"),
    ),
    "6.3": (
        (positive_ones, "U must be an array of shape"),
        (all_of_them, "U must be an array of shape"),
        (columns_of_h, "the columns of U must be independent"),
        (first_columns, "the columns of U must be independent"),
    ),
}
