"""Wrong answers to the exercises of lesson 16, each with words of the verdict that it must get."""

from dataclasses import dataclass

import autograd.numpy as np
from autograd.tracer import getval

from minilora import LoRA, dense, linear
from minilora.checks import check_matrix, check_rank
from minilora.weight import normal


class NotLazy(LoRA):
    """LoRA under another name."""


@dataclass(frozen=True)
class LazyInit(LoRA):
    def init(self, rng, W):
        params, _ = super().init(rng, W)
        return params, {"W": dense(W)}


@dataclass(frozen=True)
class OtherScale(LoRA):
    def forward(self, params, frozen, x):
        return linear(dense(frozen["W"]) + params["B"] @ params["A"], x)

    def merge(self, params, frozen):
        return dense(frozen["W"]) + 2 * params["B"] @ params["A"]


@dataclass(frozen=True)
class DoRA:
    rank: int

    def __post_init__(self):
        check_rank(self.rank)

    def init(self, rng, W):
        d_out, d_in = check_matrix("W", W)
        check_rank(self.rank, most=min(d_out, d_in))
        squares = np.sum(dense(W) ** 2, axis=1)
        A = normal(rng, (self.rank, d_in), d_in**-0.5, W.dtype)
        B = np.zeros((d_out, self.rank), W.dtype)
        return {"A": A, "B": B, "m": np.sqrt(squares)}, {"W": W, "squares": squares}

    def forward(self, params, frozen, x):
        A, B = params["A"], params["B"]
        W_A = linear(frozen["W"], A).T
        squares = frozen["squares"] + np.sum(B * (2.0 * W_A + B @ (A @ A.T)), axis=1)
        y = linear(frozen["W"], x) + linear(B, linear(A, x))
        return params["m"] / np.sqrt(squares) * y

    def merge(self, params, frozen):
        V = dense(frozen["W"]) + params["B"] @ params["A"]
        return (params["m"] / np.sqrt(np.sum(V * V, axis=1)))[:, None] * V


@dataclass(frozen=True)
class AllHeld(DoRA):
    """Nothing but m gets a gradient."""

    def forward(self, params, frozen, x):
        fixed = {name: getval(params[name]) for name in "AB"}
        return super().forward({**params, **fixed}, frozen, x)


@dataclass(frozen=True)
class OldLengths(DoRA):
    """The lengths of W in place of those of V."""

    def forward(self, params, frozen, x):
        y = linear(frozen["W"], x) + linear(params["B"], linear(params["A"], x))
        return params["m"] / np.sqrt(frozen["squares"]) * y


@dataclass(frozen=True)
class HalfHeld(DoRA):
    """B is held in the lengths, and A is not."""

    def forward(self, params, frozen, x):
        A, B, fixed = params["A"], params["B"], getval(params["B"])
        change = fixed * (2.0 * linear(frozen["W"], A).T + fixed @ (A @ A.T))
        squares = frozen["squares"] + np.sum(change, axis=1)
        y = linear(frozen["W"], x) + linear(B, linear(A, x))
        return params["m"] / np.sqrt(squares) * y


class Unfinished:
    """The class as it is handed out."""


@dataclass(frozen=True)
class TrainedVeRA:
    """A and B are trained too."""

    rank: int

    def __post_init__(self):
        check_rank(self.rank)

    def init(self, rng, W):
        d_out, d_in = check_matrix("W", W)
        check_rank(self.rank, most=min(d_out, d_in))
        A = normal(rng, (self.rank, d_in), d_in**-0.5, W.dtype)
        B = normal(rng, (d_out, self.rank), self.rank**-0.5, W.dtype)
        start = {"b": np.zeros(d_out, W.dtype), "d": np.full(self.rank, 0.1, W.dtype)}
        return start | {"A": A, "B": B}, {"W": W}

    def forward(self, params, frozen, x):
        low = params["d"] * linear(params["A"], x)
        return linear(frozen["W"], x) + params["b"] * linear(params["B"], low)

    def merge(self, params, frozen):
        update = (params["b"][:, None] * params["B"] * params["d"]) @ params["A"]
        return dense(frozen["W"]) + update


@dataclass(frozen=True)
class FrozenVeRA(TrainedVeRA):
    """VeRA."""

    def init(self, rng, W):
        params, frozen = super().init(rng, W)
        return {name: params[name] for name in "bd"}, frozen | {n: params[n] for n in "AB"}

    def forward(self, params, frozen, x):
        return super().forward({**params, **frozen}, frozen, x)

    def merge(self, params, frozen):
        return super().merge({**params, **frozen}, frozen)


class NotDrawn(FrozenVeRA):
    """B is drawn, A is the same each time."""

    def init(self, rng, W):
        params, frozen = super().init(rng, W)
        return params, frozen | {"A": np.ones_like(frozen["A"])}


class Exchanged(FrozenVeRA):
    """A is stored as B."""

    def init(self, rng, W):
        params, frozen = super().init(rng, W)
        return params, frozen | {"A": frozen["B"], "B": frozen["A"]}


class Swapped(FrozenVeRA):
    """d starts where b should."""

    def init(self, rng, W):
        params, frozen = super().init(rng, W)
        return {"b": params["b"] + np.asarray(0.1, W.dtype), "d": 0 * params["d"]}, frozen


WRONG = {
    "16.1": (
        (NotLazy, "keeps P11, P12, which this class cannot keep"),
        (LazyInit, "16.1 does not hold"),
        (OtherScale, "OtherScale breaks P2"),
        (Unfinished, "takes no arguments"),
    ),
    "16.2": (
        (DoRA, "DoRA keeps P3"),
        (AllHeld, "AllHeld breaks P4"),
        (HalfHeld, "the gradient for A with the lengths held is wrong"),
        (OldLengths, "OldLengths breaks P2"),
    ),
    "16.3": (
        (TrainedVeRA, "frozen at rank 2, with W (3, 4), must have A (2, 4)"),
        (Swapped, "d at the start is wrong"),
        (NotDrawn, "A must be drawn with rng"),
        (Exchanged, "must have A (2, 4)"),
    ),
}
