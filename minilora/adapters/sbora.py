"""SBoRA: LoRA with one of its two matrices frozen to rows of the identity, so that the update stays in one region.

    SBoRA-FA   A = rows `cols` of I (frozen), B (d_out, r) trained:   W' = W, with s B added to the columns `cols`
    SBoRA-FB   B = columns `rows` of I (frozen), A (r, d_in) trained:  W' = W, with s A added to the rows `rows`

Half the trained numbers of LoRA at equal rank (r d_out or r d_in), or twice the rank at equal numbers. All of W outside
the region stays as it is, to the last bit, so adapters for two tasks with disjoint regions do not disturb each other.

Po et al., 2024, arXiv 2407.05413. The trained matrix starts at zero; `cols` and `rows` are drawn without replacement.
"""

from dataclasses import dataclass

import autograd.numpy as np

from minilora.linalg import check_matrix, choose, linear, pick, place
from minilora.scaling import Scaled


@dataclass(frozen=True)
class SBoRAFA(Scaled):
    """SBoRA-FA, W' = W + s B I[cols]: r whole columns of W are free to move, r d_out trained numbers.

    rank: r, at most d_in. alpha, scaling: as for LoRA. cols: r distinct column numbers; None draws them.

    Raises ValueError when rank, alpha or cols is impossible.
    """

    cols: tuple | None = None

    def init(self, rng, W):
        """params: B (d_out, r) = 0. frozen: W, cols (r,). Raises ValueError when W is no finite matrix or r > d_in."""
        d_out, d_in = check_matrix(W)
        cols = choose(rng, self.rank, d_in, self.cols, "cols")
        return {"B": np.zeros((d_out, self.rank), W.dtype)}, {"W": W, "cols": cols}

    def forward(self, params, frozen, x):
        """y = W x + B (s x[cols])."""
        base = linear(frozen["W"], x)
        low = self.scale * pick(x, frozen["cols"])
        return base + linear(params["B"], low)

    def merge(self, params, frozen):
        """W' is a copy of W with s B added to the columns cols."""
        merged = np.array(frozen["W"])
        merged[self.region(frozen)] += self.scale * params["B"]
        return merged

    def region(self, frozen):
        """The index of the entries of W that the adapter may change."""
        return slice(None), frozen["cols"]


@dataclass(frozen=True)
class SBoRAFB(Scaled):
    """SBoRA-FB, W' = W + s I[:, rows] A: r whole rows of W are free to move, r d_in trained numbers.

    rank: r, at most d_out. alpha, scaling: as for LoRA. rows: r distinct row numbers; None draws them.

    Raises ValueError when rank, alpha or rows is impossible.
    """

    rows: tuple | None = None

    def init(self, rng, W):
        """params: A (r, d_in) = 0. frozen: W, rows (r,). Raises ValueError when W is no finite matrix or r > d_out."""
        d_out, d_in = check_matrix(W)
        rows = choose(rng, self.rank, d_out, self.rows, "rows")
        return {"A": np.zeros((self.rank, d_in), W.dtype)}, {"W": W, "rows": rows}

    def forward(self, params, frozen, x):
        """y = W x, with s A x added to the entries rows."""
        base = linear(frozen["W"], x)
        low = self.scale * linear(params["A"], x)
        return base + place(low, frozen["rows"], base.shape[-1])

    def merge(self, params, frozen):
        """W' is a copy of W with s A added to the rows."""
        merged = np.array(frozen["W"])
        merged[self.region(frozen)] += self.scale * params["A"]
        return merged

    def region(self, frozen):
        """The index of the entries of W that the adapter may change."""
        return frozen["rows"], slice(None)


def merge_all(parts, overlap=False):
    """One matrix from several adapters of the same W, parts = [(adapter, params, frozen), …].

    When no entry is in two regions, the order of the parts makes no difference, not even in the last bit.
    Raises ValueError when regions overlap (SBoRA-FA and SBoRA-FB always do), unless overlap is allowed.
    """
    merged = np.array(parts[0][2]["W"])
    taken = np.zeros(merged.shape, int)
    for adapter, params, frozen in parts:
        merged = adapter.merge(params, {**frozen, "W": merged})
        taken[adapter.region(frozen)] += 1
    if taken.max() > 1 and not overlap:
        raise ValueError(f"parts overlap in {np.sum(taken > 1)} entries of W: pass overlap=True to add them up there")
    return merged
