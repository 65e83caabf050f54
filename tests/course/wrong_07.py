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


def cosines(M1, M2):
    return float(np.sum((M1.T @ M2) ** 2) / np.sum(M1**2) / np.sum(M2**2))


def not_divided(M1, M2):
    return float(np.sum((np.linalg.qr(M1)[0].T @ np.linalg.qr(M2)[0]) ** 2))


def normalised_columns(M1, M2):
    U1, U2 = M1 / np.linalg.norm(M1, axis=0), M2 / np.linalg.norm(M2, axis=0)
    return float(np.sum((U1.T @ U2) ** 2) / M1.shape[1])


def mean_of_thetas(Ws, As):
    return np.mean([A @ np.linalg.pinv(W) for W, A in zip(Ws, As)], axis=0)


def first_layer(Ws, As):
    return As[0] @ np.linalg.pinv(Ws[0])


def transposed(Ws, As):
    rows = np.concatenate([W.T for W in Ws])
    return np.linalg.lstsq(rows, np.concatenate([A.T for A in As]), rcond=None)[0]


WRONG = {
    "7.1": (
        (one_factor, "LoRA's number is wrong"),
        (one_pair_for_all, "CondLoRA's number is wrong"),
        (not_shared, "CondLoRA's number is wrong"),
    ),
    "7.2": (
        (cosines, "the similarity is wrong"),
        (not_divided, "the similarity is wrong"),
        (normalised_columns, "the similarity is wrong"),
    ),
    "7.3": (
        (mean_of_thetas, "the gradient of the sum at Θ is wrong"),
        (first_layer, "the gradient of the sum at Θ is wrong"),
        (transposed, "Θ must be an array of shape"),
    ),
}
