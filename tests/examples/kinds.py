"""Adapters of every kind that the referee has to judge: see test_own_adapter.py."""

import sys
import warnings
from functools import partial

import autograd.numpy as np
from autograd.tracer import getval
from dora import DoRA

from minilora import HRA, Full, LoRA
from minilora.checks import check_matrix, check_width
from minilora.weight import dense, linear


class Gains:
    """W' = g ⊙ W, one gain for each row: no rank, no dataclass, no base class."""

    def init(self, rng, W):
        d_out, _ = check_matrix("W", W)
        return {"g": np.ones(d_out, W.dtype)}, {"W": W}

    def forward(self, params, frozen, x):
        return params["g"] * linear(frozen["W"], x)

    def merge(self, params, frozen):
        return params["g"][:, None] * dense(frozen["W"])


class Tempered(DoRA):
    """An adapter that needs more than its rank."""

    def __init__(self, rank, temperature):
        super().__init__(rank)
        object.__setattr__(self, "temperature", temperature)


def even(rank):
    """A function that makes an adapter."""
    return HRA(2 * rank)


with_alpha = partial(LoRA, alpha=3.0)
made = DoRA(rank=8)


def formula(adapter, W, params, frozen):
    """DoRA's W', row by row."""
    V = W + params["B"] @ params["A"]
    return np.array([m * v / np.sqrt(v @ v) for m, v in zip(params["m"], V)])


def wrong_formula(adapter, W, params, frozen):
    return W + params["B"] @ params["A"]


class OtherName(Gains):
    def __init__(self, r):
        self.r = r


class InitRaises(DoRA):
    def init(self, rng, W):
        raise NotImplementedError("to be written")


class InitReturnsNothing(DoRA):
    def init(self, rng, W):
        pass


class NoMerge:
    """An unfinished one."""

    init = Gains.init
    forward = Gains.forward


class InitChangesW(DoRA):
    def init(self, rng, W):
        if isinstance(W, np.ndarray) and W.dtype.kind == "f":
            W *= 2
        return super().init(rng, W)


class ForwardChangesX(DoRA):
    def forward(self, params, frozen, x):
        y = super().forward(params, frozen, x)
        if isinstance(x, np.ndarray) and x.ndim:
            x *= 0
        return y


class ForwardChangesFrozen(Gains):
    def init(self, rng, W):
        params, frozen = super().init(rng, W)
        return params, {**frozen, "calls": np.zeros(1)}

    def forward(self, params, frozen, x):
        frozen["calls"][:] += 1
        return super().forward(params, frozen, x)


class Counts(DoRA):
    """A start that depends on how many there were."""

    starts = 0

    def init(self, rng, W):
        Counts.starts += 1
        params, frozen = super().init(rng, W)
        return {**params, "A": params["A"] * Counts.starts}, frozen


class Detached(Gains):
    """No gradient reaches g."""

    def forward(self, params, frozen, x):
        return super().forward({"g": getval(params["g"])}, frozen, x) + 0 * np.sum(params["g"])


class Dense(Gains):
    """Needs W as a matrix."""

    def forward(self, params, frozen, x):
        check_width(x, frozen["W"])
        return params["g"] * (x @ dense(frozen["W"]).T)


class ExtraAxis(Gains):
    def forward(self, params, frozen, x):
        return np.atleast_2d(super().forward(params, frozen, x))


class MergesIntoThreeAxes(Gains):
    def merge(self, params, frozen):
        return super().merge(params, frozen)[None]


class TwoAxesOnly(Gains):
    def forward(self, params, frozen, x):
        y = super().forward(params, frozen, x)
        return y if y.ndim == 2 else y * 0


class Rough(Gains):
    """Loses digits in float32."""

    def merge(self, params, frozen):
        return super().merge(params, frozen) * (1 + 0.01 * (params["g"].dtype == np.float32))


class HidesX(Gains):
    """No gradient reaches the layers before it."""

    def forward(self, params, frozen, x):
        return super().forward(params, frozen, getval(x))


class Leaky(Gains):
    """Turns float32 into float64."""

    def forward(self, params, frozen, x):
        return super().forward(params, frozen, x) * np.float64(1)


class Draws(Gains):
    """Has a generator of its own."""

    def init(self, rng, W):
        params, frozen = super().init(rng, W)
        return params, {**frozen, "noise": np.random.default_rng().standard_normal(3)}


class MergeChangesFrozen(Gains):
    def init(self, rng, W):
        params, frozen = super().init(rng, W)
        return params, {**frozen, "calls": np.zeros(1)}

    def merge(self, params, frozen):
        frozen["calls"][:] += 1
        return super().merge(params, frozen)


class MergesInPlace(Full):
    def merge(self, params, frozen):
        return params["W"]


class TrainsW(Full):
    """Trains W itself, not a copy."""

    def init(self, rng, W):
        super().init(rng, W)
        return {"W": W}, {}


class Unchecked(Gains):
    def init(self, rng, W):
        return {"g": np.ones(np.shape(W)[0], getattr(W, "dtype", float))}, {"W": W}


class Vague(Gains):
    def init(self, rng, W):
        try:
            return super().init(rng, W)
        except ValueError:
            raise ValueError("something is wrong") from None


class Nameless(Gains):
    def __repr__(self):
        return "an adapter"


class ForwardWarns(Gains):
    def forward(self, params, frozen, x):
        warnings.warn("this will be renamed", DeprecationWarning, stacklevel=1)
        np.log(np.zeros(1))
        return super().forward(params, frozen, x)


class Renamed(Gains):
    """Keeps every promise, and warns of a deprecation."""

    def forward(self, params, frozen, x):
        warnings.warn("this will be renamed", DeprecationWarning, stacklevel=1)
        return super().forward(params, frozen, x)


class Exits(DoRA):
    def forward(self, params, frozen, x):
        sys.exit(0)


class Talks(DoRA):
    """Wrong and noisy."""

    def forward(self, params, frozen, x):
        for line in range(100):
            print("line", line)
        return 2 * super().forward(params, frozen, x)


class Nested(Gains):
    """params that are no flat dict."""

    def init(self, rng, W):
        params, frozen = super().init(rng, W)
        return {"nested": params}, frozen


class Stated(Gains):
    """Starts at 2 W, and says so."""

    expected_failures = {"P1": "it starts at 2 W"}  # noqa: RUF012

    def init(self, rng, W):
        params, frozen = super().init(rng, W)
        return {"g": 2 * params["g"]}, frozen


class StatedInVain(Gains):
    expected_failures = {"P2": "it was wrong once"}  # noqa: RUF012


class StatedWrongly(Gains):
    expected_failures = {"P99": "there is no such promise"}  # noqa: RUF012
