"""The form of the contract: a row is an adapter, a column a promise, checked at every case."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from minilora.adapters import Full, HRAStrict
from minilora.testing.trials import Trial, moved, start, weight

EVERY = [((6, 6), 1), ((6, 6), 4), ((7, 3), 2), ((3, 7), 2), ((3, 7), 3), ((1, 5), 1), ((5, 1), 1)]
ONE = [((6, 5), 2)]
BOTH = [np.float64, np.float32]
# Where adapters of this package are known to break a promise, and why.
EXPECTED_FAILURES = {
    Full: {
        "P11": "its trainable array is a matrix of the size of W",
        "P12": "it trains a dense copy of W, so forward never calls W",
    },
    HRAStrict: {"P1": "orthogonal reflections do not cancel in pairs, so H is never I"},
}


class _Case(NamedTuple):
    """Where a promise is checked."""

    shape: tuple
    rank: int | None
    dtype: np.dtype

    def __str__(self):
        rank = "" if self.rank is None else f", rank {self.rank}"
        return f"W {self.shape}{rank}, {self.dtype}"


def can_rotate(shape, rank):
    """Whether a reflection makes a difference: on one input it is a change of sign."""
    return shape[1] > 1


@dataclass(frozen=True)
class Row:
    """An adapter and what is known of it. By default, nothing but its methods."""

    name: str
    make: Callable  # rank -> adapter
    # (shape, rank) -> whether all trainable parameters can make a difference there
    fits: Callable = can_rotate
    start: float = 40.0  # how far W' may be from W at the start, in units of rounding
    most: Callable | None = None  # (d_out, d_in) -> the largest rank that is allowed
    takes_rank: bool = True
    wrong_rank: Callable | None = None  # rank -> adapter, for a rank that is to be refused
    rank: int | None = None  # the only rank it has, when it does not take one
    any_shape: bool = False  # whether W may be an array that is not a matrix
    formula: Callable | None = None  # (adapter, W, params, frozen) -> W'
    expected: dict = field(default_factory=dict)  # {"P1": why it is known to fail}

    def case(self, shape, rank, dtype=np.float64):
        """A case for this row. An adapter with a rank of its own gets a W that has room for it."""
        if not self.takes_rank:
            rank = self.rank
            missing = 0 if rank is None else max(0, rank + 1 - min(shape))
            shape = tuple(n + missing for n in shape)
        return _Case(shape, rank, np.dtype(dtype))

    def trial(self, case):
        """The same `Trial` whenever it is called with this case."""
        rng = np.random.default_rng(0)
        adapter = self.make(case.rank)
        W = weight(rng, case.shape, case.dtype)
        given = W.copy()
        params, frozen = start(rng, adapter, W)
        x = rng.standard_normal((4, case.shape[1])).astype(case.dtype)
        return Trial(rng, adapter, W, given, params, moved(rng, params), frozen, x)


def every_case(row, shapes=EVERY, dtypes=(np.float64,)):
    """All cases at which every parameter of the row's adapter can make a difference."""
    cases = [row.case(shape, rank, dtype) for dtype in dtypes for shape, rank in shapes]
    return [case for case in dict.fromkeys(cases) if row.fits(case.shape, case.rank)]


def cases_if_formula(row):
    """All cases, if there is a formula to compare with."""
    return every_case(row, dtypes=BOTH) if row.formula else []
