"""NF4: a frozen matrix in about four bits an entry.

LoRA over a quantised W is QLoRA; it needs no class of its own:

    weights["layers.0.W"] = quantize(weights["layers.0.W"])
    attach(weights, {"layers.0.W": LoRA(rank=4)}, rng=rng)

An entry is stored as one of 16 levels times the absmax of its block, a run of 64 entries in
row-major order:

    Ŵ[i, j] = absmax · level[code]        code ∈ 0 … 15,      absmax = max |W| over the block

The levels lie in [−1, 1] at quantiles of the normal distribution, close together where normally
distributed weights are dense. Double quantisation stores the absmax values themselves in eight
bits:

    absmax ≈ mean + step · code      code ∈ −127 … 127,  step = max |absmax − mean| / 127
                                     over a group of 256 blocks,  mean over all blocks

Every absmax, step and the mean is a float32. Bits per entry of a large matrix: 4 + 32/64 = 4.5, and
with double quantisation 4 + 8/64 + 32/(64 · 256) = 4.127. A block can lie in two rows when the
block length does not divide d_in.

Dettmers et al., 2023, arXiv 2305.14314, section 3. The levels follow the authors' code, whose 16
values the paper prints. Departure: they hold the absmax in 8-bit floats, this file in 8-bit
integers.

What does it mean to merge an update ΔW into Ŵ? There are three answers.

1. A dense float matrix Ŵ + ΔW, which is what an adapter's `merge` returns. Exact, but no longer
   four bits.
2. The same, quantised again. Every entry of Ŵ lies on a level. So while the absmax stays the same,
   what ΔW adds is lost wherever it is below half the gap to the next level. When the absmax
   changes, entries of its block move that ΔW does not touch:
   - ΔW in a few rows (SBoRA-FB) leaves codes and absmax of all other rows bitwise identical when
     the block divides d_in. Otherwise the neighbours that share a block with a changed row may
     move; and with double quantisation every row, because the mean of all absmax does.
   - ΔW in a few columns (SBoRA-FA) changes every row, and a block whose absmax grows or shrinks
     moves nearly whole. For normally distributed W and four columns of ΔW twice its size, about
     60 % of the untouched entries move for d_in = 64 and 40 % for 128; for ΔW a tenth of the size
     of W it is still 8 % and 4 %.
   With Wᵀ quantised in place of W the two swap roles.
3. The changed columns in full precision beside the four-bit rest. Nothing else moves; for SBoRA-FA
   this takes the memory of the unmerged adapter.

SBoRA over a quantised base is QSBoRA: Po et al., 2024, arXiv 2407.05413.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from minilora.checks import check_count
from minilora.weight import linear


def _nf4_levels():
    """The 16 levels (16,), rising from −1 to 1: seven negative ones, 0, eight positive ones.

    Each side holds the normal quantiles of equally spaced probabilities from ½ to 1 − ½ (1/30 +
    1/32), divided by the last. The quantile of 1 is infinite, so they stop short of it, by half a
    step of 15 or of 16 equal ones: the mean of the two. (The authors' code has it as 0.9677083.)
    """
    last = 1 - (1 / 30 + 1 / 32) / 2
    negative = [-NormalDist().inv_cdf(p) for p in np.linspace(last, 0.5, 8)[:-1]]
    positive = [NormalDist().inv_cdf(p) for p in np.linspace(0.5, last, 9)[1:]]
    return np.array([*negative, 0.0, *positive]) / positive[-1]


LEVELS = _nf4_levels()
_MIDPOINTS = (LEVELS[1:] + LEVELS[:-1]) / 2
# byte -> the levels of its two codes
_PAIRS = np.stack([np.repeat(LEVELS, 16), np.tile(LEVELS, 16)], axis=1)
_GROUP = 256  # block maxima that share one step size


@dataclass(frozen=True, eq=False, repr=False)
class Quantized:
    """A weight (d_out, d_in) in four bits an entry. `linear` calls it, np.asarray unpacks it."""

    codes: (
        np.ndarray
    )  # uint8, two codes a byte, the earlier in the upper half; an odd last one is padded
    absmax: object  # of every block: float32 (blocks,), or _EightBit
    shape: tuple
    dtype: np.dtype  # of the dense matrix
    block: int
    ndim = 2

    def __call__(self, x):
        """Ŵ x for every vector on the last axis of x: (..., d_in) -> (..., d_out).

        Gradients flow through x. Every call makes the dense Ŵ anew, by looking up one table.
        It exists until the product is computed or, in a gradient, until the tape is freed. So only
        the four bits stay from one step to the next.

        Raises ValueError when the last axis of x is not d_in.
        """
        return linear(np.asarray(self), x)

    def __array__(self, dtype=None, copy=None):
        """The dense Ŵ (d_out, d_in), always a new array."""
        pairs = np.take(_PAIRS.astype(self.dtype), self.codes, axis=0)
        levels = pairs.ravel()[: self.size]
        absmax = np.asarray(self.absmax, self.dtype)
        dense = levels * _repeat_for_entries(absmax, self.block, self.size)
        return np.asarray(dense.reshape(self.shape), dtype)

    def __getitem__(self, index):
        """Entries of the dense Ŵ, for a model that indexes a weight as an embedding."""
        return np.asarray(self)[index]

    @property
    def size(self):
        """How many entries the matrix has."""
        return self.shape[0] * self.shape[1]

    @property
    def nbytes(self):
        """The memory that codes and absmax take, in bytes."""
        return self.codes.nbytes + self.absmax.nbytes

    @property
    def bits(self):
        """Bits of memory per entry."""
        return 8 * self.nbytes / self.size

    def __repr__(self):
        d_out, d_in = self.shape
        return f"Quantized({d_out} × {d_in} {self.dtype} in {self.bits:.2f} bits an entry)"


@dataclass(frozen=True, eq=False)
class _EightBit:
    """The absmax of all blocks, doubly quantised: mean + step · code.

    In each group, |absmax − (mean + step · code)| ≤ max |absmax − mean| / 254.
    """

    codes: np.ndarray  # int8 (blocks,)
    steps: np.ndarray  # float32, one for each group
    mean: np.float32  # over the whole matrix

    def __array__(self, dtype=None, copy=None):
        """The absmax of every block, up to rounding to eight bits."""
        steps = self.steps.astype(np.float64)
        offset = self.codes * _repeat_for_entries(steps, _GROUP, self.codes.size)
        return np.asarray(np.minimum(self.mean + offset, np.finfo(np.dtype(dtype)).max), dtype)

    @property
    def nbytes(self):
        """The memory of codes, steps and mean, in bytes."""
        return self.codes.nbytes + self.steps.nbytes + self.mean.nbytes


def quantize(W, block=64, double=False):
    """The `Quantized` nearest to W (d_out, d_in): each code has the least |W − absmax · level|.

    W may be of any floating-point type, float16 too; `np.asarray` of the result has W's dtype.
    block: how many entries share an absmax. double: whether the absmax are quantised too, after the
    codes are chosen.

    Raises ValueError when W is not a finite matrix, has entries that float32 cannot hold, or block
    is not an integer of at least 1.
    """
    if not hasattr(W, "dtype"):
        raise ValueError(
            f"W must be an array, got {type(W).__name__}: try np.asarray(W, np.float32)"
        )
    dense = np.asarray(W)
    if np.ma.isMaskedArray(W) or dense.ndim != 2 or 0 in dense.shape or dense.dtype.kind != "f":
        raise ValueError(
            f"W must be a matrix (d_out, d_in) of floats, got {dense.dtype} {dense.shape}"
        )
    if not np.all(np.isfinite(dense)):
        raise ValueError(f"W must be finite, but {dense.shape} holds NaN or inf")
    check_count("block", block)
    entries = dense.ravel()
    largest = np.max(np.abs(entries))
    if largest > np.finfo(np.float32).max:
        raise ValueError(
            "W has entries beyond float32, which ends at 3.4e38: the absmax is a float32"
        )
    if 0 < largest < np.finfo(np.float32).tiny:
        raise ValueError(
            "W has no entry above 1.2e-38, where float32 loses digits: the absmax is a float32"
        )
    absmax = _max_per_block(entries, block).astype(np.float32)
    codes = np.searchsorted(_MIDPOINTS, _relative(entries, absmax, block)).astype(np.uint8)
    even = np.pad(codes, (0, codes.size % 2))
    packed = even[0::2] << 4 | even[1::2]
    return Quantized(
        packed, _eight_bit(absmax) if double else absmax, dense.shape, dense.dtype, block
    )


def _eight_bit(absmax):
    """The `_EightBit` of the absmax of all blocks, float32 (blocks,)."""
    mean = np.mean(absmax, dtype=np.float64).astype(np.float32)
    centred = absmax.astype(np.float64) - mean
    steps = (_max_per_block(centred, _GROUP) / 127).astype(np.float32)
    codes = np.round(_relative(centred, steps, _GROUP)).astype(np.int8)
    return _EightBit(codes, steps, mean)


def _max_per_block(values, block):
    """max |v| over each block of consecutive values; the last block may be shorter."""
    return np.maximum.reduceat(np.abs(values), np.arange(0, values.size, block))


def _repeat_for_entries(units, block, size):
    """One unit for each of size values: that of its block."""
    return np.repeat(units, min(block, size))[:size]


def _relative(values, units, block):
    """Each value as a multiple of its block's unit; 0 stays 0 where the unit is 0."""
    safe_units = np.where(units > 0, units, 1)
    return values / _repeat_for_entries(safe_units, block, values.size)
