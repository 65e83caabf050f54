"""A good hand-in: OLoRA, which starts from a QR factorisation of W."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from minilora import dense, linear
from minilora.checks import check_matrix, check_rank, check_rng


def merged(W, A, B, alpha):
    return W + np.asarray(alpha / len(A), W.dtype) * (B @ A)


def lora_gradients(x, W, A, B, s, g):
    back = g @ B
    return s * back.T @ x, s * g.T @ (x @ A.T), g @ W + s * back @ A


def as_lora(W0, W1, r):
    U, sigma, Vt = np.linalg.svd(W1 - W0, full_matrices=False)
    return Vt[:r], U[:, :r] * sigma[:r]


@dataclass(frozen=True)
class Mine:
    """OLoRA: W = Q R; B and A start as the first r columns of Q and rows of R, and W − B A is frozen."""

    rank: int

    expected_failures: ClassVar = {"P12": "W − B A is a new matrix, so four bits are lost"}

    def __post_init__(self):
        check_rank(self.rank)

    def init(self, rng, W):
        check_rng(rng)
        check_rank(self.rank, min(check_matrix("W", W)))
        whole = dense(W)
        Q, R = np.linalg.qr(whole)
        B, A = Q[:, : self.rank], R[: self.rank]
        return {"A": A.copy(), "B": B.copy()}, {"W": whole - B @ A}

    def forward(self, params, frozen, x):
        return linear(frozen["W"], x) + linear(params["B"], linear(params["A"], x))

    def merge(self, params, frozen):
        return frozen["W"] + params["B"] @ params["A"]

    def formula(self, W, params, frozen):
        """W' = W − B₀ A₀ + B A, with B₀ and A₀ from Gram and Schmidt's process."""
        d_out, d_in = W.shape
        columns = []
        for j in range(min(d_out, d_in)):
            v = W[:, j].copy()
            for q in columns:
                v = v - (q @ v) * q
            columns.append(v / np.sqrt(v @ v))
        result = W.copy()
        for i in range(d_out):
            for j in range(d_in):
                for k in range(self.rank):
                    start = columns[k][i] * (columns[k] @ W[:, j])
                    result[i, j] += params["B"][i, k] * params["A"][k, j] - start
        return result
