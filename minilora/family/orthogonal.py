"""Orthogonal maps of the input, W' = W R, by Cayley's formula; W keeps its singular values.

    OFT    R is block-diagonal: R_b = (I − Q_b)⁻¹ (I + Q_b) with Q_bᵀ = −Q_b
    BOFT   R = R_1 R_2 …, each block-diagonal in another order of the inputs

HRA is the third way: reflections. A block of Cayley's formula is never a reflection, since its
determinant is 1; and no Q gives a rotation by 180°.
"""

from dataclasses import dataclass

import autograd.numpy as np

from minilora.checks import check_count, check_matrix, check_width
from minilora.ops import gather
from minilora.weight import dense, linear


@dataclass(frozen=True)
class OFT:
    """OFT, W' = W R with R of blocks: (b − 1) / 2 trainable parameters for each input in a block.

    block: b, from 2 up. A block cannot be wider than d_in; of d_in inputs, the last d_in mod b stay
    as they are.

    Qiu et al., 2023, arXiv 2306.07280. They write R W for a W whose columns are the neurons, our
    rows: it is W Rᵀ here, and their Q is our −Q. Departure: PEFT by default sums five terms of a
    series for the inverse; this is exact.
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
        return _turn(_cayley(params["Q"], frozen["skew"]), dense(frozen["W"]))


@dataclass(frozen=True)
class BOFT:
    """BOFT, W' = W R_1 … R_m: m (b − 1) / 2 trainable parameters for each input in blocks.

    block: b, even. factors: m, from 1 up. Factor k = 0 … m − 1 joins two runs of b/2 inputs into a
    block, 2^k runs apart; inputs beyond the last multiple of b 2^k keep their order.

    Liu et al., 2023, arXiv 2311.06243. Departures: theirs asks for a multiple; here any d_in will
    do. PEFT trains a gain for each output as well, and without CUDA always takes m = 1.
    """

    block: int = 4
    factors: int = 2

    def __post_init__(self):
        check_count("factors", self.factors)
        _check_even(self.block)

    def init(self, rng, W):
        """params: Q (m, blocks, b (b − 1) / 2) = 0. frozen: W, and each factor's order of inputs.

        Raises ValueError when W is not a finite matrix.
        """
        _, d_in = check_matrix("W", W)
        b, m = min(self.block, d_in), self.factors
        Q = np.zeros((m, d_in // b, b * (b - 1) // 2), W.dtype)
        orders = np.array([_butterfly(d_in, b, k) for k in range(m)])
        return {"Q": Q}, {"W": W, "skew": _skew(b, W.dtype), "orders": orders}

    def forward(self, params, frozen, x):
        """y = W (R_1 … (R_m x))."""
        check_width(x, frozen["W"])
        for Q, order in zip(params["Q"][::-1], frozen["orders"][::-1]):
            x = _rotate(_cayley(Q, frozen["skew"]), gather(x, order))
            x = gather(x, np.argsort(order))
        return linear(frozen["W"], x)

    def merge(self, params, frozen):
        """W' = W R_1 … R_m, factor by factor on the columns of W."""
        merged = dense(frozen["W"])
        for Q, order in zip(params["Q"], frozen["orders"]):
            R = _cayley(Q, frozen["skew"])
            merged = _turn(R, merged[:, order])[:, np.argsort(order)]
        return merged


def _check_even(block):
    """Raise ValueError unless block is an even integer from 2 up."""
    check_count("block", block, least=2)
    if block % 2:
        raise ValueError(f"block must be even, got {block}: a butterfly halves it")


def _butterfly(d_in, b, k):
    """The order of inputs in which block i holds runs i and i + 2^k of b/2 inputs, in each group.

    A group is 2^k blocks in a row; an incomplete last group stays as it is.
    """
    if k == 0:
        return np.arange(d_in)
    whole = d_in - d_in % (b * 2**k)
    runs = np.arange(whole).reshape((-1, 2, 2**k, max(b // 2, 1)))
    return np.concatenate([np.swapaxes(runs, 1, 2).reshape(-1), np.arange(whole, d_in)])


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
    cut = np.swapaxes(x[..., : blocks * b].reshape((-1, blocks, b)), 0, 1)
    turned = np.swapaxes(cut @ np.swapaxes(R, 1, 2), 0, 1).reshape((*x.shape[:-1], blocks * b))
    return np.concatenate([turned, x[..., blocks * b :]], axis=-1)


def _turn(R, W):
    """W times the block-diagonal matrix of R, block by block; a new array."""
    b = R.shape[1]
    blocks = [W[:, i * b : (i + 1) * b] @ one for i, one in enumerate(R)]
    return np.concatenate([*blocks, W[:, len(R) * b :]], axis=1)
