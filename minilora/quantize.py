"""NF4: a frozen matrix in about four bits an entry. LoRA over a quantised W is QLoRA; it takes no class of its own:

    weights["layers.0.W"] = quantize(weights["layers.0.W"])
    attach(weights, {"layers.0.W": LoRA(rank=4)}, rng)

An entry is stored as one of 16 levels times the largest magnitude in its block, a run of 64 entries in row-major order:

    Ŵ[i, j] = a · level[code]        code ∈ 0 … 15,      a = max |W| over the block

The levels lie in [−1, 1] at quantiles of the normal distribution, close together where weights that look normal are
many. Double quantisation stores the a themselves in eight bits:

    â = mean + step · code           code ∈ −127 … 127,  step = max |a − mean| / 127 over a group of 256,  mean over all

Every a, step and the mean is a float32. Bits per entry of a large matrix: 4 + 32/64 = 4.5, and with double quantisation
4 + 8/64 + 32/(64 · 256) = 4.127. Blocks straddle rows when their length does not divide d_in.

Dettmers et al., 2023, arXiv 2305.14314, section 3. The levels follow the authors' code, whose 16 numbers the paper
prints. Departure: they hold the a in 8-bit floats, this file in 8-bit whole numbers.

What does it mean to merge an update ΔW into Ŵ? There are three answers.

1. A dense float matrix Ŵ + ΔW, which is what an adapter's `merge` returns. Exact, but no longer four bits.
2. The same, quantised again. Every entry of Ŵ lies on a level, so as long as a stays, what ΔW adds is lost wherever it
   is below half the gap to the next one. When a changes, entries of its block move that ΔW does not touch:
   - ΔW in a few rows (SBoRA-FB) leaves the codes and a of all other rows as they are, bit for bit, when the block
     divides d_in. Else the neighbours that share a block with a touched row may move; and with double quantisation
     every row, because the mean of all a does.
   - ΔW in a few columns (SBoRA-FA) touches every row, and a block whose a grows or shrinks moves nearly whole. For W
     of normal numbers and four columns of ΔW twice its size, about 60 % of the untouched entries move for d_in = 64
     and 40 % for 128; for ΔW a tenth of the size of W it is still 8 % and 4 %.
   With Wᵀ quantised in place of W the two change roles.
3. The touched columns in full precision beside the four-bit rest. Nothing else moves; for SBoRA-FA this takes the
   memory of the adapter left unmerged.

SBoRA over a quantised base is QSBoRA: Po et al., 2024, arXiv 2407.05413.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from minilora.linalg import check_count, check_matrix, linear


def nf4_levels():
    """The 16 levels (16,), rising from −1 to 1: seven negative ones, 0, eight positive ones.

    Each side holds the normal quantiles of equally spaced probabilities from ½ to 1 − ½ (1/30 + 1/32), divided by the
    last. The quantile of 1 is infinite, so they stop short of it, by half a step of 15 or of 16 equal ones: the mean of
    the two. (The authors' code has it as 0.9677083.)
    """
    last = 1 - (1 / 30 + 1 / 32) / 2
    negative = [-NormalDist().inv_cdf(p) for p in np.linspace(last, 0.5, 8)[:-1]]
    positive = [NormalDist().inv_cdf(p) for p in np.linspace(0.5, last, 9)[1:]]
    return np.array([*negative, 0.0, *positive]) / positive[-1]


LEVELS = nf4_levels()
MIDPOINTS = (LEVELS[1:] + LEVELS[:-1]) / 2
PAIRS = np.stack([np.repeat(LEVELS, 16), np.tile(LEVELS, 16)], axis=1)  # byte -> the levels of its two codes
GROUP = 256  # how many a share a step


@dataclass(frozen=True)
class Quantized:
    """A matrix (d_out, d_in) in four bits an entry. `linear` calls it, `np.asarray` makes it dense."""

    codes: np.ndarray  # uint8, two codes to a byte, the earlier one in the upper half; an odd last one has 0 beside it
    absmax: object  # a of every block: float32 (blocks,), or EightBit
    shape: tuple
    dtype: np.dtype  # of the dense matrix
    block: int
    ndim = 2

    def __call__(self, x):
        """Ŵ x for every vector on the last axis of x: (..., d_in) -> (..., d_out).

        Gradients flow through x. Every call makes the dense Ŵ anew, which reads one table; it lives until the product
        is there, or in a gradient until the tape is gone, so that only the four bits stay from one step to the next.

        Raises ValueError when the last axis of x is not d_in.
        """
        return linear(np.asarray(self), x)

    def __array__(self, dtype=None, copy=None):
        """The dense Ŵ (d_out, d_in), always a new array."""
        levels = np.take(PAIRS.astype(self.dtype), self.codes, axis=0).ravel()[: self.size]
        dense = levels * spread(np.asarray(self.absmax, self.dtype), self.block, self.size)
        return np.asarray(dense.reshape(self.shape), dtype)

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


@dataclass(frozen=True)
class EightBit:
    """The a of all blocks, doubly quantised: â = mean + step · code, with |a − â| ≤ max |a − mean| / 254 in a group."""

    codes: np.ndarray  # int8 (blocks,)
    steps: np.ndarray  # float32, one for each group
    mean: np.float32  # over the whole matrix

    def __array__(self, dtype=None, copy=None):
        """The â of every block."""
        offset = self.codes * spread(self.steps.astype(np.float64), GROUP, self.codes.size)
        return np.asarray(self.mean + offset, dtype)

    @property
    def nbytes(self):
        """The memory of codes, steps and mean, in bytes."""
        return self.codes.nbytes + self.steps.nbytes + self.mean.nbytes


def quantize(W, block=64, double=False):
    """The `Quantized` nearest to W (d_out, d_in): every entry gets the code for which |W − a · level[code]| is least.

    block: how many entries share an a. double: whether the a are quantised too, after the codes are chosen.

    Raises ValueError when W is not a finite matrix, holds numbers beyond float32, or block is not a whole number of at
    least 1.
    """
    shape = check_matrix(W)
    check_count("block", block)
    entries = np.asarray(W).ravel()
    if np.max(np.abs(entries)) > np.finfo(np.float32).max:
        raise ValueError("W holds numbers beyond float32, which ends at 3.4e38: the absmax of a block is a float32")
    absmax = largest(entries, block).astype(np.float32)
    codes = np.searchsorted(MIDPOINTS, relative(entries, absmax, block)).astype(np.uint8)
    even = np.pad(codes, (0, codes.size % 2))
    return Quantized(even[0::2] << 4 | even[1::2], eight_bit(absmax) if double else absmax, shape, W.dtype, block)


def eight_bit(absmax):
    """The `EightBit` of the a of all blocks, float32 (blocks,)."""
    mean = np.mean(absmax, dtype=np.float64).astype(np.float32)
    centred = absmax.astype(np.float64) - mean
    steps = (largest(centred, GROUP) / 127).astype(np.float32)
    codes = np.round(relative(centred, steps, GROUP)).astype(np.int8)
    return EightBit(codes, steps, mean)


def largest(values, block):
    """max |v| over each block of consecutive values; the last block may be shorter."""
    return np.maximum.reduceat(np.abs(values), np.arange(0, values.size, block))


def spread(units, block, size):
    """One number for each of size values: that of its block."""
    return np.repeat(units, min(block, size))[:size]


def relative(values, units, block):
    """Each value as a multiple of its block's unit; 0 stays 0 where the unit is 0."""
    return values / spread(np.where(units > 0, units, 1), block, values.size)
