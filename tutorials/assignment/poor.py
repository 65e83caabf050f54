"""A poor hand-in: part 2 forgets s in one place, 3 has A and B for each other, 4 is LoRA."""

from dataclasses import dataclass

import numpy as np

from minilora import LoRA


def merged(W, A, B, alpha):
    return (W + alpha / A.shape[0] * B @ A).astype(W.dtype)


def lora_gradients(x, W, A, B, s, g):
    dA = s * (g @ B).T @ x
    dB = s * g.T @ (x @ A.T)
    dx = g @ W + g @ B @ A
    return dA, dB, dx


def as_lora(W0, W1, r):
    U, sigma, Vt = np.linalg.svd(W1 - W0)
    return U[:, :r], sigma[:r, None] * Vt[:r]


@dataclass(frozen=True)
class Mine(LoRA):
    def merge(self, params, frozen):
        return frozen["W"] + params["B"] @ params["A"]

    def formula(self, W, params, frozen):
        return self.merge(params, frozen)
