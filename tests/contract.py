"""The rows of the contract matrix: one for each adapter. A new adapter adds a row here, not a test."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.adapters import Full, LoRA
from minilora.scaling import alpha_over_sqrt_rank


@dataclass(frozen=True)
class Row:
    """An adapter and what is promised of it beyond what all adapters promise."""

    name: str
    make: Callable  # rank -> adapter
    count: Callable  # (d_out, d_in, rank) -> trained numbers
    delta_rank: Callable = lambda d_out, d_in, rank: rank  # the rank of W' − W after random training
    ranked: bool = True  # whether it has a rank that can be wrong


ROWS = (
    Row("Full", lambda rank: Full(), lambda d_out, d_in, r: d_out * d_in, lambda m, n, r: min(m, n), ranked=False),
    Row("LoRA", lambda rank: LoRA(rank), lambda d_out, d_in, r: r * (d_out + d_in)),
    Row("LoRA alpha", lambda rank: LoRA(rank, alpha=2 * rank + 1), lambda d_out, d_in, r: r * (d_out + d_in)),
    Row(
        "rsLoRA",
        lambda rank: LoRA(rank, alpha=3.0, scaling=alpha_over_sqrt_rank),
        lambda d_out, d_in, r: r * (d_out + d_in),
    ),
)


def weight(rng, shape, dtype=np.float64):
    """A random weight whose singular values are of size 1."""
    return (rng.standard_normal(shape) / np.sqrt(shape[1])).astype(dtype)


def moved(rng, params, size=0.5):
    """Params some way off, as training leaves them."""
    return {name: (a + size * rng.standard_normal(a.shape)).astype(a.dtype) for name, a in params.items()}


def start(row, rng, shape, rank, dtype=np.float64):
    """An adapter on a random weight: (adapter, W, params as trained, frozen)."""
    adapter, W = row.make(rank), weight(rng, shape, dtype)
    params, frozen = adapter.init(rng, W)
    return adapter, W, moved(rng, params), frozen
