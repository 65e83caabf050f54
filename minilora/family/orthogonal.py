"""Orthogonal maps of the input, W' = W R, by Cayley's formula; W keeps its singular values.

    OFT    R is block-diagonal: R_b = (I − Q_b)⁻¹ (I + Q_b) with Q_bᵀ = −Q_b
    BOFT   R = R_1 R_2 …, each block-diagonal in another order of the inputs

HRA is the third way: reflections. A block of Cayley's formula is never a reflection, since its
determinant is 1; and no Q gives a rotation by 180°.
"""

from dataclasses import dataclass

import autograd.numpy as np

from minilora.checks import check_count, check_matrix, check_width
from minilora.weight import dense, linear


@dataclass(frozen=True)
class OFT:
    """OFT, W' = W R with R of blocks: (b − 1) / 2 trainable parameters for each input.

    block: b, from 2 up. A block cannot be wider than d_in; of d_in inputs, the last d_in mod b stay
    as they are.

    Qiu et al., 2023, arXiv 2306.07280, which has W' = R W with blocks over outputs; PEFT has this
    form. Departure: PEFT by default sums five terms of a series for the inverse; this is exact.
    """

    block: int = 4

    def __post_init__(self):
        check_count("block", self.block, least=2)

    def init(self, rng, W):
        """params: Q (blocks, b (b − 1) / 2) = 0, above the diagonals. frozen: W, and b.

        Raises ValueError when W is not a finite matrix.
        """
        _, d_in = check_matrix("W", W)
        b = min(self.block, d_in)
        Q = np.zeros((d_in // b, b * (b - 1) // 2), W.dtype)
        return {"Q": Q}, {"W": W, "skew": _skew(b, W.dtype)}

    def forward(self, params, frozen, x):
        """y = W (R x)."""
        check_width(x, frozen["W"])
        return linear(frozen["W"], _rotate(_cayley(params["Q"], frozen["skew"]), x))

    def merge(self, params, frozen):
        """W' = W R, block by block."""
        merged = np.array(dense(frozen["W"]))
        for i, R in enumerate(_cayley(params["Q"], frozen["skew"])):
            own = slice(i * len(R), (i + 1) * len(R))
            merged[:, own] = merged[:, own] @ R
        return merged


@dataclass(frozen=True)
class BOFT:
    """BOFT, W' = W R_1 … R_m: m (b − 1) / 2 trainable parameters for each input.

    block: b, as for OFT. factors: m, from 1 up. Factor k takes inputs together that are b^k apart.

    Liu et al., 2023, arXiv 2311.06243. Departures: theirs is a butterfly, whose sizes have to
    divide; here any d_in will do. PEFT trains a gain for each output as well.
    """

    block: int = 4
    factors: int = 2

    def __post_init__(self):
        check_count("block", self.block, least=2)
        check_count("factors", self.factors)

    def init(self, rng, W):
        """params: Q (m, blocks, b (b − 1) / 2) = 0. frozen: W, and each factor's order of inputs.

        Raises ValueError when W is not a finite matrix.
        """
        _, d_in = check_matrix("W", W)
        b = min(self.block, d_in)
        orders = [np.argsort(np.arange(d_in) % b**k, kind="stable") for k in range(self.factors)]
        Q = np.zeros((self.factors, d_in // b, b * (b - 1) // 2), W.dtype)
        return {"Q": Q}, {"W": W, "skew": _skew(b, W.dtype), "orders": np.array(orders)}

    def forward(self, params, frozen, x):
        """y = W (R_1 … (R_m x))."""
        check_width(x, frozen["W"])
        for Q, order in zip(params["Q"][::-1], frozen["orders"][::-1]):
            x = _rotate(_cayley(Q, frozen["skew"]), x[..., order])[..., np.argsort(order)]
        return linear(frozen["W"], x)

    def merge(self, params, frozen):
        """W' = W R_1 … R_m, factor by factor on the columns of W."""
        merged = np.array(dense(frozen["W"]))
        for Q, order in zip(params["Q"], frozen["orders"]):
            for i, R in enumerate(_cayley(Q, frozen["skew"])):
                own = order[i * len(R) : (i + 1) * len(R)]
                merged[:, own] = merged[:, own] @ R
        return merged


def _skew(b, dtype):
    """S (b (b − 1) / 2, b, b): Σ q_k S_k is the skew matrix with q above its diagonal."""
    rows, columns = np.triu_indices(b, 1)
    S = np.zeros((len(rows), b, b), dtype)
    S[np.arange(len(rows)), rows, columns] = 1
    return S - np.swapaxes(S, 1, 2)


def _cayley(Q, skew):
    """R = (I − Q)⁻¹ (I + Q) for each row of Q, as (blocks, b, b)."""
    full = np.tensordot(Q, skew, axes=1)
    identity = np.eye(skew.shape[-1], dtype=skew.dtype)
    return np.linalg.solve(identity - full, identity + full)


def _rotate(R, x):
    """R x for blocks R (blocks, b, b); entries of x beyond the last block stay."""
    blocks, b, _ = R.shape
    cut = x[..., : blocks * b].reshape((*x.shape[:-1], blocks, b))
    turned = (R @ cut[..., None])[..., 0].reshape((*x.shape[:-1], blocks * b))
    return np.concatenate([turned, x[..., blocks * b :]], axis=-1)
