"""SBoRA: LoRA with one factor frozen to a part of the identity: the update stays in one region.

    SBoRA-FA   A = rows `cols` of I, frozen; B (d_out, r) trained: s B is added to columns `cols`
    SBoRA-FB   B = columns `rows` of I, frozen; A (r, d_in) trained: s A is added to rows `rows`

r d_out or r d_in trainable parameters, where LoRA has r (d_out + d_in): for a square W half of them
at equal rank, or twice the rank at equal parameters. All of W outside the region stays bitwise
identical, so the updates of two tasks with disjoint regions do not overwrite each other. The tasks
can still disturb each other: their columns and rows meet in the activations.

FA needs only x[cols], not all of x, for the gradient of B. FB needs x for that of A, as LoRA does.

Po et al., 2024, arXiv 2407.05413. The trained matrix starts at zero; `cols` and `rows` are drawn
without replacement.
"""

from collections.abc import Callable
from dataclasses import dataclass

import autograd.numpy as np

from minilora.adapters.scaling import alpha_over_rank, check_scale, scale_of
from minilora.checks import as_indices, check_matrix, check_rank
from minilora.ops import add_at, gather, scatter
from minilora.weight import dense, describe, linear


@dataclass(frozen=True)
class SBoRAFA:
    """SBoRA-FA, W' = W + s B I[cols]: r columns of W can move, r d_out trainable parameters.

    rank: r, at most d_in. alpha, scaling: as for LoRA. cols: r distinct column indices; None draws
    them.

    Raises ValueError when rank, alpha or cols is impossible.
    """

    rank: int
    alpha: float | None = None
    scaling: Callable = alpha_over_rank
    cols: tuple | None = None

    __repr__ = describe

    scale = property(scale_of)  # s = scaling(α, r)

    def __post_init__(self):
        check_scale(self)
        object.__setattr__(self, "cols", as_indices("cols", self.cols, self.rank))

    def init(self, rng, W):
        """params: B (d_out, r) = 0. frozen: W, cols (r,).

        Raises ValueError when W is not a finite matrix, r > d_in, or an index of cols is beyond
        d_in − 1.
        """
        d_out, d_in = check_matrix("W", W)
        cols = _choose(rng, self.rank, d_in, self.cols, "cols")
        return {"B": np.zeros((d_out, self.rank), W.dtype)}, {"W": W, "cols": cols}

    def forward(self, params, frozen, x):
        """y = W x + B (s x[cols])."""
        base = linear(frozen["W"], x)
        low = self.scale * gather(x, frozen["cols"])
        return base + linear(params["B"], low)

    def merge(self, params, frozen):
        """W' is a copy of W with s B added to the columns cols."""
        return add_at(dense(frozen["W"]), self.region(frozen), self.scale * params["B"])

    def region(self, frozen):
        """The index of the entries of W that the adapter may change."""
        return slice(None), frozen["cols"]


@dataclass(frozen=True)
class SBoRAFB:
    """SBoRA-FB, W' = W + s I[:, rows] A: r rows of W can move, r d_in trainable parameters.

    rank: r, at most d_out. alpha, scaling: as for LoRA. rows: r distinct row indices; None draws
    them.

    Raises ValueError when rank, alpha or rows is impossible.
    """

    rank: int
    alpha: float | None = None
    scaling: Callable = alpha_over_rank
    rows: tuple | None = None

    __repr__ = describe

    scale = property(scale_of)  # s = scaling(α, r)

    def __post_init__(self):
        check_scale(self)
        object.__setattr__(self, "rows", as_indices("rows", self.rows, self.rank))

    def init(self, rng, W):
        """params: A (r, d_in) = 0. frozen: W, rows (r,).

        Raises ValueError when W is not a finite matrix, r > d_out, or an index of rows is beyond
        d_out − 1.
        """
        d_out, d_in = check_matrix("W", W)
        rows = _choose(rng, self.rank, d_out, self.rows, "rows")
        return {"A": np.zeros((self.rank, d_in), W.dtype)}, {"W": W, "rows": rows}

    def forward(self, params, frozen, x):
        """y = W x, with s A x added to the entries rows."""
        base = linear(frozen["W"], x)
        low = self.scale * linear(params["A"], x)
        return base + scatter(low, frozen["rows"], base.shape[-1])

    def merge(self, params, frozen):
        """W' is a copy of W with s A added to the rows."""
        return add_at(dense(frozen["W"]), self.region(frozen), self.scale * params["A"])

    def region(self, frozen):
        """The index of the entries of W that the adapter may change."""
        return frozen["rows"], slice(None)


def _choose(rng, rank, width, given, name):
    """`rank` distinct indices below width: the given ones, or drawn without replacement.

    Raises ValueError, with the argument's name, when the rank or an index is too large for this W.
    """
    check_rank(rank, most=width)
    if given is None:
        return rng.choice(width, size=rank, replace=False)
    return np.array(as_indices(name, given, rank, width))
