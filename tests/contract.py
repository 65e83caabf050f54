"""The rows of the contract matrix: one for each adapter. A new adapter adds a row here, not a test."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.scaling import alpha_over_sqrt_rank


def always(shape, rank):
    return True


@dataclass(frozen=True)
class Row:
    """An adapter and what is promised of it beyond what all adapters promise; m and n are d_out and d_in."""

    name: str
    make: Callable  # rank -> adapter
    count: Callable | None = None  # (m, n, rank) -> trained numbers
    delta_rank: Callable | None = None  # (m, n, rank) -> the rank of W' − W after random training
    most: Callable | None = None  # (m, n) -> the largest rank that is allowed
    fits: Callable = always  # (shape, rank) -> whether every trained number can make a difference there
    start: float | None = 0.0  # how far W' may be from W at the start, in units of rounding; None: it never is W


def even(n):
    return n - n % 2


def odd(n):
    return n - 1 + n % 2


def turns(shape, rank):
    """With one input there is nothing to turn: a reflection is −1 whatever its vector is."""
    return shape[1] > 1


def turns_some(shape, rank):
    """Reflections in all d_in directions are −I whatever their vectors are."""
    return rank < shape[1]


ROWS = (
    Row("Full", lambda r: Full(), lambda m, n, r: m * n, lambda m, n, r: min(m, n), most=None),
    Row("LoRA", lambda r: LoRA(r), lambda m, n, r: r * (m + n), lambda m, n, r: r, min),
    Row("LoRA alpha", lambda r: LoRA(r, alpha=2 * r + 1), lambda m, n, r: r * (m + n), lambda m, n, r: r, min),
    Row(
        "rsLoRA",
        lambda r: LoRA(r, alpha=3.0, scaling=alpha_over_sqrt_rank),
        lambda m, n, r: r * (m + n),
        lambda m, n, r: r,
        min,
    ),
    Row("SBoRA-FA", lambda r: SBoRAFA(r), lambda m, n, r: r * m, lambda m, n, r: r, lambda m, n: n),
    Row("SBoRA-FB", lambda r: SBoRAFB(r), lambda m, n, r: r * n, lambda m, n, r: r, lambda m, n: m),
    Row("SBoRA-FA alpha", lambda r: SBoRAFA(r, alpha=3.0), lambda m, n, r: r * m, lambda m, n, r: r, lambda m, n: n),
    Row("SBoRA-FB alpha", lambda r: SBoRAFB(r, alpha=3.0), lambda m, n, r: r * n, lambda m, n, r: r, lambda m, n: m),
    Row(
        "HRA",
        lambda r: HRA(2 * r),
        lambda m, n, r: 2 * r * n,
        lambda m, n, r: min(m, even(min(2 * r, n))),
        most=None,
        fits=turns,
        start=40.0,
    ),
    Row(
        "HRA odd",
        lambda r: HRA(2 * r - 1, odd=True),
        lambda m, n, r: (2 * r - 1) * n,
        lambda m, n, r: min(m, odd(min(2 * r - 1, n))),
        most=None,
        fits=turns,
        start=None,
    ),
    Row(
        "HRA strict",
        lambda r: HRAStrict(r),
        lambda m, n, r: r * n,
        lambda m, n, r: min(m, r),
        lambda m, n: n,
        fits=turns_some,
        start=None,
    ),
    Row("CondLoRA", lambda r: CondLoRA(r), lambda m, n, r: r * (m + n), lambda m, n, r: r, min),
    Row("CondLoRA alpha", lambda r: CondLoRA(r, alpha=3.0), lambda m, n, r: r * (m + n), lambda m, n, r: r, min),
)


def row_of(adapter):
    """The row of somebody's own adapter class: nothing is promised of it but what every adapter promises."""
    return Row(adapter.__name__, lambda r: adapter(rank=r), fits=turns, start=40.0)


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
