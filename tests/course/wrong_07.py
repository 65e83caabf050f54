"""Wrong answers to the exercises of lesson 7, each with words of the verdict that it must get."""

import numpy as np


def one_factor(layers, kinds, d, rank):
    return layers * kinds * rank * d, kinds * rank * d, layers * rank


def one_pair_for_all(layers, kinds, d, rank):
    lora = layers * kinds * rank * 2 * d
    return lora, rank * 2 * d, lora // (2 * d)


def not_shared(layers, kinds, d, rank):
    lora = layers * kinds * rank * 2 * d
    return lora, lora, rank


def shared(Ws, r):
    return [np.eye(r, len(W)) @ W for W in Ws]


def one_r_for_all(Ws, r):
    R = np.random.default_rng(0).standard_normal((r, r))
    return [R @ np.eye(r, len(W)) @ W for W in Ws]


def random_factors(Ws, r):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((r, len(W))) for W in Ws]


def not_times_w(Ws, r):
    return [(-1) ** i * np.eye(r, len(W)) for i, W in enumerate(Ws)]


def one_layer_counts(Ws, r):
    return [np.eye(r, len(W)) @ W * (-0.001 if i else 1) for i, W in enumerate(Ws)]


def zeros(Ws, r):
    return [np.zeros((r, len(W))) for W in Ws]


def mean_of_layers(Ws, deltas):
    layers = zip(Ws, deltas)
    return np.mean([np.linalg.pinv(W) @ delta @ np.linalg.pinv(W) for W, delta in layers], axis=0)


def first_layer(Ws, deltas):
    return np.linalg.pinv(Ws[0]) @ deltas[0] @ np.linalg.pinv(Ws[0])


def kron_exchanged(Ws, deltas):
    rows = np.concatenate([np.kron(W.T, W) for W in Ws])
    wanted = np.concatenate([delta.ravel() for delta in deltas])
    return np.linalg.lstsq(rows, wanted, rcond=None)[0].reshape(Ws[0].T.shape)


def one_sided(Ws, deltas):
    return np.linalg.lstsq(np.concatenate(Ws), np.concatenate(deltas), rcond=None)[0]


WRONG = {
    "7.1": (
        (one_factor, "LoRA's number is wrong"),
        (one_pair_for_all, "CondLoRA's number is wrong"),
        (not_shared, "CondLoRA's number is wrong"),
    ),
    "7.2": (
        (shared, "one Θ fits all layers too well"),
        (one_r_for_all, "one Θ fits all layers too well"),
        (one_layer_counts, "one Θ fits all layers too well"),
        (random_factors, "φ of A_0 W_0⁻¹ and A_1 W_1⁻¹ is wrong"),
        (not_times_w, "⁻¹ is wrong"),
        (zeros, "A_0 must have rank 1"),
    ),
    "7.3": (
        (mean_of_layers, "the gradient of the sum at M is wrong"),
        (first_layer, "the gradient of the sum at M is wrong"),
        (kron_exchanged, "the gradient of the sum at M is wrong"),
        (one_sided, "the gradient of the sum at M is wrong"),
    ),
}
