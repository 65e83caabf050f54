"""Wrong answers to the exercises of lesson 11, each with words of the verdict that it must get."""

import numpy as np


def not_relative(W, r):
    sigma = 2 * np.linalg.svd(W, compute_uv=False)
    return float(np.sqrt(np.sum(sigma[r:] ** 2)))


def spectral(W, r):
    sigma = np.append(np.linalg.svd(W, compute_uv=False), 0.0)
    return float(sigma[r] / sigma[0])


def squared(W, r):
    squares = np.linalg.svd(W, compute_uv=False) ** 2
    return float(np.sum(squares[r:]) / np.sum(squares))


def scaled_rows(rng, W):
    return rng.uniform(1, 2, len(W))[:, None] * W


def from_the_right(rng, W):
    root = rng.standard_normal(W.shape)
    return W @ root @ root.T


def symmetric(rng, W):
    root = rng.standard_normal(W.shape)
    return (root + root.T - 2 * np.eye(len(W))) @ W


def always_the_same(rng, W):
    return (np.ones(W.shape) + np.eye(len(W))) @ W


def anything(rng, W):
    return rng.standard_normal(W.shape)


def all_parameters(d, r):
    return 2 * r * d, r * d


def lengths_only(d, r):
    return r * (2 * d - r), r * (d - 1)


def lora_for_both(d, r):
    return r * (2 * d - r), r * (2 * d - r)


WRONG = {
    "11.1": (
        (not_relative, "the distance is wrong"),
        (spectral, "the distance is wrong"),
        (squared, "the distance is wrong"),
    ),
    "11.2": (
        (scaled_rows, "T W⁻¹ is diagonal"),
        (from_the_right, "an orthogonal Q brings W Q nearer to T"),
        (symmetric, "an orthogonal Q brings W Q nearer to T"),
        (always_the_same, "T is the same for every rng"),
        (anything, "an orthogonal Q brings W Q nearer to T"),
    ),
    "11.3": (
        (all_parameters, "LoRA's number is wrong"),
        (lengths_only, "HRA's number is wrong"),
        (lora_for_both, "HRA's number is wrong"),
    ),
}
