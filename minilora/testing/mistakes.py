"""Promise P13: the mistakes that must end with a ValueError that names the argument."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np


class Mistake(NamedTuple):
    """A wrong argument, and a call that makes it."""

    wrong: str
    argument: str  # with which the message must start
    call: Callable

    def __str__(self):
        return self.wrong


def mistakes(row):
    """Every mistake that can be made with the adapter of a row."""
    case = row.case((4, 3), 1)
    d_in = case.shape[1]
    found = [
        Mistake("x too wide", "x", partial(_forward, row, case, np.ones((2, d_in + 1)))),
        Mistake("x a scalar", "x", partial(_forward, row, case, np.float64(1))),
    ]
    for wrong, W in _wrong_weights(row, case.shape):
        found.append(Mistake(wrong, "W", partial(_init, row, case.rank, W)))
    if row.takes_rank:
        for rank in (0, -1, 1.5, 2.0, "2", None, True, np.nan):
            found.append(Mistake(f"rank {rank!r}", "rank", partial(_make, row, rank)))
    for shape in ((4, 3), (3, 4)) if row.most else ():
        rank = row.most(*shape) + 1
        call = partial(_init, row, rank, np.ones(shape))
        found.append(Mistake(f"rank {rank} on W {shape}", "rank", call))
    return found


def _wrong_weights(row, shape):
    """(what is wrong, W) for every W that an adapter must refuse."""
    good = np.ones(shape)
    yield "NaN in W", np.where(good > 0, np.nan, 0)
    yield "inf in W", np.where(np.eye(*shape) > 0, np.inf, good)
    yield "integers in W", np.ones(shape, int)
    if not row.any_shape:
        yield "W a vector", np.ones(3)
        yield "W a list", [[1.0, 2.0], [3.0, 4.0]]
        yield "W without rows", np.ones((0, 3))
        yield "W of three dimensions", np.ones((2, 4, 3))


def _forward(row, case, x):
    trial = row.trial(case)
    trial.adapter.forward(trial.params, trial.frozen, x)


def _init(row, rank, W):
    row.make(rank).init(np.random.default_rng(0), W)


def _make(row, rank):
    """The row's adapter with a rank on which `row.make` may compute before it passes it on."""
    if row.wrong_rank:
        row.wrong_rank(rank)
        return
    adapter = row.make(1)
    if dataclasses.is_dataclass(adapter):
        dataclasses.replace(adapter, rank=rank)
    else:
        type(adapter)(rank=rank)
