"""NF4 against the printed levels and loops over blocks; QLoRA is LoRA over four bits."""

import math
from dataclasses import FrozenInstanceError
from fractions import Fraction
from itertools import pairwise

import autograd.numpy as anp
import numpy as np
import pytest
from autograd.test_util import check_grads
from hypothesis import given
from hypothesis import strategies as st

from minilora.adapters import LoRA
from minilora.attachment import attach
from minilora.models.mlp import init_mlp, mlp
from minilora.ops import cross_entropy
from minilora.quantization import LEVELS, quantize
from minilora.testing.claims import DETTMERS, OURS, at_least, claim, exactly, within
from minilora.train import fit, value_and_grad
from minilora.weight import linear

PRINTED = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
)  # fmt: skip
HALF_GAP = (1 + LEVELS[1]) / 2  # half the gap between −1 and the next level, the widest

seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from([np.float64, np.float32])
blocks = st.sampled_from([1, 3, 64])


@st.composite
def matrices(draw):
    """W of entries that float32 can hold: normally distributed ones, or integers with ties."""
    rng = np.random.default_rng(draw(seeds))
    shape = draw(st.integers(1, 9)), draw(st.integers(1, 70))
    W = rng.integers(-3, 4, shape) if draw(st.booleans()) else rng.standard_normal(shape)
    if draw(st.booleans()):
        W = W * rng.integers(0, 2, (shape[0], 1))  # rows of zeros
    return (W * 10.0 ** draw(st.integers(-20, 20))).astype(np.float32).astype(draw(dtypes))


def blocks_of(W, block):
    """The entries of W in runs of `block`, in row-major order."""
    entries = [float(w) for row in np.asarray(W) for w in row]
    return [entries[start : start + block] for start in range(0, len(entries), block)]


def unpacked(q):
    """The codes of q as a matrix, the first of each pair in the upper half of its byte."""
    codes = [half for byte in q.codes for half in (int(byte) >> 4, int(byte) & 15)]
    return np.array(codes[: q.size]).reshape(q.shape)


def rounding(dtype):
    """What two roundings to this dtype may add to an error, as a fraction of the absmax."""
    return max(1e-13, float(np.finfo(dtype).eps))


# The levels


@claim("C9", DETTMERS, "the levels are the 16 numbers that the paper prints")
def test_the_levels_are_the_printed_ones():
    """Quantiles of equally spaced probabilities, scaled to [−1, 1]: the paper prints float32."""
    within(np.abs(LEVELS - PRINTED), 5e-7)


@claim("C9", DETTMERS, "7 levels below 0 and 8 above, at equal steps of probability")
def test_each_side_has_equal_steps_of_probability():
    """Φ(z · level) has eight equal steps from ½ to 1 − ½ (1/30 + 1/32), and seven below ½.

    Φ is written with the error function; z is the one number for which Φ(z) is that end.
    """
    end = 1 - (1 / 30 + 1 / 32) / 2
    low = 0.0
    high = 4.0
    for _ in range(60):
        z = (low + high) / 2
        low, high = (z, high) if math.erf(z / math.sqrt(2)) < 2 * end - 1 else (low, z)
    distances = [math.erf(abs(level) * z / math.sqrt(2)) / (2 * end - 1) for level in LEVELS]
    expected = [i / 7 for i in range(7, 0, -1)] + [i / 8 for i in range(9)]
    within(np.abs(np.array(distances) - expected), 1e-12)
    exactly([int(np.sign(level)) for level in LEVELS] == [-1] * 7 + [0] + [1] * 8)


@claim("C9", DETTMERS, "for normally distributed W the error is below that of 15 equal steps")
def test_normally_distributed_entries_suit_nf4_better_than_equal_steps():
    """W ~ N(0, 1), blocks of 64: the relative error is 0.092; of 15 equal steps it is 0.108."""
    W = np.random.default_rng(0).standard_normal((500, 640))
    runs = W.reshape(-1, 64)
    step = np.max(np.abs(runs), axis=1, keepdims=True) / 7
    equal = np.linalg.norm(np.round(runs / step) * step - runs) / np.linalg.norm(W)
    found = np.linalg.norm(np.asarray(quantize(W)) - W) / np.linalg.norm(W)
    within(abs(found - 0.0918), 5e-4)
    at_least(equal / found, 1.15)


# One block


@given(matrices(), blocks)
@claim("C10", OURS, "an entry is off by at most 0.152 absmax, the max |W| over its block")
def test_no_entry_is_off_by_more_than_half_the_widest_gap(W, block):
    """|W − Ŵ| ≤ h · absmax for every finite W: h is half the widest gap between levels."""
    with np.errstate(all="raise"):
        found = quantize(W, block)
        dense = np.asarray(found)
    for before, after in zip(blocks_of(W, block), blocks_of(dense, block)):
        absmax = max(abs(w) for w in before)
        for w, w_hat in zip(before, after):
            slack = rounding(W.dtype) if W.dtype == np.float32 else 0.0
            within(abs(w - w_hat), absmax * (HALF_GAP * (1 + 1e-12) + slack))


@claim("C10", OURS, "the bound on the error is attained half way between −1 and the next level")
def test_the_bound_on_the_error_is_attained():
    """W = (1, −1 + h) has the error h = 0.151904, the largest of the 15 half gaps."""
    within(abs(HALF_GAP - 0.151904), 5e-7)
    exactly(np.max(np.diff(LEVELS)) / 2 == HALF_GAP)
    W = np.array([[1.0, -1 + HALF_GAP]])
    within(abs(np.max(np.abs(np.asarray(quantize(W)) - W)) - HALF_GAP), 1e-13)


@given(matrices(), blocks)
@claim("C10", DETTMERS, "every entry gets the nearest of the 16 multiples of absmax")
def test_every_entry_gets_the_nearest_level(W, block):
    """|W − Ŵ| = min over the 16 levels of |W − absmax · level|, up to rounding."""
    dense = np.asarray(quantize(W, block))
    for before, after in zip(blocks_of(W, block), blocks_of(dense, block)):
        absmax = max(abs(w) for w in before)
        for w, w_hat in zip(before, after):
            nearest = min(abs(w - absmax * level) for level in LEVELS)
            within(abs(abs(w - w_hat) - nearest), absmax * rounding(W.dtype))


def near_halves(dtype):
    """(entry, code) one float to either side of half way between two levels, by exact fractions.

    In float64 half way itself too, where the lower level is taken; and next to −1 and 1.
    """
    for code, (low, high) in enumerate(pairwise(LEVELS)):
        half = dtype((low + high) / 2)
        if dtype is np.float64:
            yield half, code
        for entry in (np.nextafter(half, dtype(-2)), np.nextafter(half, dtype(2))):
            to_low = Fraction(float(entry)) - Fraction(low)
            to_high = Fraction(high) - Fraction(float(entry))
            yield entry, code + (to_high < to_low)
    yield np.nextafter(dtype(-1), dtype(0)), 0
    yield np.nextafter(dtype(1), dtype(0)), 15


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("absmax", [1, 2.0**-100, 2.0**100])
def test_codes_change_exactly_half_way_between_two_levels(absmax, dtype):
    entries, codes = zip(*near_halves(dtype))
    for sign in (1, -1):
        W = dtype(absmax) * np.array([[entry, sign] for entry in entries], dtype)
        found = quantize(W, block=2)
        np.testing.assert_array_equal(unpacked(found)[:, 0], codes)
        np.testing.assert_array_equal(np.asarray(found)[:, 1], W[:, 1])


@given(matrices(), blocks)
@claim("C10", DETTMERS, "zeros and the entry of largest magnitude are exact")
def test_zeros_and_the_largest_entry_are_exact(W, block):
    """Ŵ = W where W = 0 or |W| = absmax, a float32; a block of zeros divides nothing by zero."""
    with np.errstate(all="raise"):
        found = quantize(W, block)
        dense = np.asarray(found)
    for before, after, codes in zip(
        blocks_of(W, block), blocks_of(dense, block), blocks_of(unpacked(found), block)
    ):
        absmax = max(abs(w) for w in before)
        for w, w_hat, code in zip(before, after, codes):
            if w == 0:
                exactly(w_hat == 0 and code == 7)
            elif abs(w) == absmax:
                exactly(w_hat == w and code == (15 if w > 0 else 0))


@given(matrices(), blocks)
@claim("C11", OURS, "quantising Ŵ again, without double quantisation, changes no bit")
def test_quantising_again_changes_no_bit(W, block):
    """quantize(Ŵ) has the codes and absmax of Ŵ for every W whose absmax are normal float32."""
    once = quantize(W, block)
    for again in (quantize(np.asarray(once), block), quantize(once, block)):
        exactly(np.array_equal(again.codes, once.codes))
        exactly(np.array_equal(again.absmax.view(np.int32), once.absmax.view(np.int32)))


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble])
def test_other_floating_point_types_are_quantised_too(dtype, rng):
    W = rng.standard_normal((7, 9)).astype(dtype)
    once = quantize(W, 4)
    dense = np.asarray(once)
    assert dense.dtype == once.dtype == dtype
    bound = HALF_GAP + 2 * max(np.finfo(dtype).eps, 1e-15)
    assert np.max(np.abs(dense - W)) <= bound * np.max(np.abs(W))
    np.testing.assert_array_equal(quantize(dense, 4).codes, once.codes)


# Layout and memory


def test_blocks_run_along_rows_and_straddle_them():
    """Blocks of 4 in a matrix with rows of 3: 1 2 4 8 | 1 2 100 2 | 9."""
    found = quantize(np.array([[1.0, 2, 4], [8, 1, 2], [100, 2, 9]]), block=4)
    np.testing.assert_array_equal(found.absmax, np.array([8, 100, 9], np.float32))
    assert found.absmax.dtype == np.float32
    np.testing.assert_array_equal(unpacked(found), [[9, 10, 12], [15, 7, 7], [15, 7, 15]])
    np.testing.assert_array_equal(found.codes, [0x9A, 0xCF, 0x77, 0xF7, 0xF0])


@pytest.mark.parametrize("block", [1, 2, 3, 64])
@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize("double", [False, True])
def test_blocks_begin_and_end_where_they_should(block, more, double):
    """Entries of ± the number of their block, in 1, 2 or 5 blocks that are full or nearly so."""
    for count in (1, 2, 5):
        size = max(1, count * block + more)
        numbers = 1.0 + np.arange(size) // block
        W = np.where(np.arange(size) % 2, -numbers, numbers)
        for shape in ((1, size), (size, 1)):
            found = quantize(W.reshape(shape), block, double)
            absmax = np.asarray(found.absmax)
            np.testing.assert_allclose(absmax, 1 + np.arange(math.ceil(size / block)), atol=0.02)
            expected = (np.sign(W) * np.repeat(absmax, block)[:size]).reshape(shape)
            np.testing.assert_array_equal(np.asarray(found), expected)


def test_one_large_block_among_small_ones_keeps_to_itself():
    """Every block has its own absmax, at the start, at the end and in between."""
    for place in (0, 3, 6):
        W = np.full((7, 5), 0.5)
        W[place] = -1e6
        np.testing.assert_array_equal(quantize(W, 5), W)


def test_the_order_in_memory_makes_no_difference(rng):
    W = rng.standard_normal((6, 9))
    np.testing.assert_array_equal(quantize(W.T, 4).codes, quantize(W.T.copy(), 4).codes)


def test_a_block_longer_than_the_matrix_is_one_block(rng):
    W = rng.standard_normal((3, 5))
    np.testing.assert_array_equal(quantize(W, np.int64(10**15)), quantize(W, 15))
    large = np.full((70, 3000), 0.5)
    large[-1, -1] = 1e3
    for block, absmax in {10**15: [1e3], 105_000: [0.5, 1e3], 209_999: [0.5, 1e3]}.items():
        np.testing.assert_array_equal(quantize(large, block).absmax, absmax)


@given(st.integers(1, 9), st.integers(1, 70), blocks, st.booleans())
def test_memory_is_half_a_byte_an_entry_and_the_absmax(d_out, d_in, block, double):
    found = quantize(np.ones((d_out, d_in)), block, double)
    count = math.ceil(d_out * d_in / block)
    absmax = count + 4 * math.ceil(count / 256) + 4 if double else 4 * count
    assert found.nbytes == math.ceil(d_out * d_in / 2) + absmax
    assert found.bits == 8 * found.nbytes / (d_out * d_in)
    assert (found.shape, found.ndim, found.size, found.dtype) == (
        (d_out, d_in),
        2,
        d_out * d_in,
        np.float64,
    )


@claim("C12", DETTMERS, "4.5 bits per entry, 4.127 with double quantisation")
def test_bits_per_entry():
    """Blocks of 64 in groups of 256: 4 + 32/64, or 4 + 8/64 + 32/(64 · 256) and 32 for the mean."""
    W = np.ones((1024, 1024), np.float32)
    exactly(quantize(W).bits == 4.5)
    exactly(quantize(W, double=True).bits == 4 + 8 / 64 + 32 / (64 * 256) + 32 / 1024**2)
    within(abs(quantize(W, double=True).bits - 4.127), 5e-4)


# Double quantisation


@st.composite
def uneven(draw):
    """W whose absmax differ by orders of magnitude or in the last digits; the block length."""
    rng = np.random.default_rng(draw(seeds))
    count = draw(st.integers(1, 2000))
    block = draw(st.sampled_from([1, 3]))
    W = 10.0 ** rng.uniform(-3, 0, (count, 1)) * rng.standard_normal((count, block))
    if draw(st.booleans()):
        nearly_one = 1 + 10.0 ** draw(st.integers(-6, -2)) * rng.random((count, block))
        W = rng.choice([-1, 1], (count, block)) * nearly_one
    return (10.0 ** draw(st.integers(-6, 6)) * W).astype(np.float32).astype(draw(dtypes)), block


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 512, 513, 600])
@pytest.mark.parametrize("kind", ["random", "one is larger", "the last is zero", "two values"])
def test_what_double_quantisation_stores(count, kind, dtype, rng):
    """The mean of all absmax, a step for each group of 256, an int8 code for each block."""
    absmax = np.ones(count, np.float32)
    if kind == "random":
        absmax = (10.0 ** rng.uniform(-2, 2, count)).astype(np.float32)
    elif kind == "one is larger":
        absmax[count // 2] = 9
    elif kind == "the last is zero":
        absmax[-1] = 0
    else:
        absmax[: count // 2] = 2
    W = np.stack([-absmax, absmax / 2]).T.astype(dtype)
    found = quantize(W, 2, double=True).absmax
    mean = np.float32(math.fsum(absmax.tolist()) / count)
    assert found.mean == mean
    groups = [absmax[i : i + 256].astype(float) - mean for i in range(0, count, 256)]
    steps = np.array([np.max(np.abs(group)) / 127 for group in groups], np.float32)
    np.testing.assert_array_equal(found.steps, steps)
    codes = [v / step if step else 0.0 for v, step in zip(groups, steps.astype(float))]
    codes = np.concatenate([np.broadcast_to(c, v.shape) for c, v in zip(codes, groups)])
    assert np.max(np.abs(found.codes - codes)) <= 0.5 + 1e-9
    expected = float(mean) + np.repeat(steps.astype(float), 256)[:count] * found.codes
    np.testing.assert_array_equal(np.asarray(found), expected)
    assert (found.codes.dtype, found.steps.dtype) == (np.int8, np.float32)
    assert type(found.mean) is np.float32
    if np.ptp(absmax):
        assert np.max(np.abs(found.codes.astype(int))) == 127


@given(uneven())
@claim("C12", OURS, "absmax: off by ≤ max |absmax − mean| / 254; entries: by 0.152 absmax + that")
def test_double_quantisation_moves_an_absmax_by_half_a_step_at_most(drawn):
    """An entry is off by 0.152 absmax and the error of its absmax at most. Groups of 256."""
    W, block = drawn
    with np.errstate(all="raise"):
        found = quantize(W, block, double=True)
        rounded_absmax = np.asarray(found.absmax)
        dense = np.asarray(found)
    absmax = np.max(np.abs(W.astype(np.float64)), axis=1)
    mean = float(np.float32(math.fsum(absmax) / len(absmax)))
    groups = [absmax[i : i + 256] for i in range(0, len(absmax), 256)]
    half_steps = [np.max(np.abs(group - mean)) / 254 for group in groups]
    bound = np.repeat(half_steps, 256)[: len(absmax)]
    moved = np.abs(absmax - rounded_absmax)
    slack = 1e-12 * np.max(absmax)
    within(np.max(moved / (bound * (1 + 2**-24) + slack)), 1)
    rounded = rounding(W.dtype) * np.maximum(np.abs(rounded_absmax), absmax)
    error = np.max(np.abs(W - dense.astype(np.float64)), axis=1)
    within(np.max(error / (HALF_GAP * absmax + moved + rounded + slack)), 1)
    exactly(np.array_equal(found.codes, quantize(W, block).codes))


@given(seeds, st.integers(1, 600), st.integers(-6, 6))
@claim("C12", OURS, "equal absmax stay exact when they are quantised, and so do zeros")
def test_equal_absmax_stay_exact(seed, count, power):
    """When all absmax are the same float32, the step is 0; when all entries are 0, so is Ŵ."""
    rng = np.random.default_rng(seed)
    absmax = float(np.float32(rng.uniform(1, 2) * 10.0**power))
    W = absmax * rng.choice([-1.0, 1.0], (count, 3))
    with np.errstate(all="raise"):
        exactly(np.array_equal(quantize(W, 3, double=True), W))
        exactly(not np.any(np.asarray(quantize(0 * W, 3, double=True))))


# Merging


@given(seeds, st.sampled_from([64, 128]), st.integers(1, 4), st.integers(-3, 3), st.booleans())
@claim("C8", OURS, "FB: quantising the merged Ŵ keeps other rows bitwise if 64 divides d_in")
def test_an_update_of_rows_leaves_the_codes_of_all_other_rows(seed, d_in, touched, power, integers):
    """Rows in which ΔW = 0 keep their codes and absmax: d_in 64 and 128, 1 to 4 of 8 rows change.

    W normally distributed or of integers, ΔW of sizes from 10⁻³ to 10³.
    """
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((8, d_in))
    if integers:
        W = rng.integers(-3, 4, (8, d_in)).astype(np.float64)
    base = quantize(W)
    rows = rng.choice(8, touched, replace=False)
    merged = np.array(base)
    merged[rows] += 10.0**power * rng.standard_normal((touched, d_in))
    again = quantize(merged)
    others = np.setdiff1d(np.arange(8), rows)
    exactly(np.array_equal(unpacked(again)[others], unpacked(base)[others]))
    exactly(np.array_equal(again.absmax.reshape(8, -1)[others], base.absmax.reshape(8, -1)[others]))
    exactly(np.array_equal(np.asarray(again)[others], np.asarray(base)[others]))


@claim("C8", OURS, "FB: only entries that share a block with a changed row move")
def test_an_update_of_rows_moves_neighbours_when_blocks_straddle_rows():
    """Four rows grow tenfold, d_in = 96: of the others entries of shared blocks move, most of them.

    Rows 4 … 7 are the entries 384 = 6 · 64 to 768 = 12 · 64, which are complete blocks. Rows 5 … 8
    are the entries 480 = 7.5 · 64 to 864 = 13.5 · 64: the end of row 4 and the start of row 9 share
    blocks with them.
    """
    for seed in range(20):
        base = quantize(np.random.default_rng(seed).standard_normal((16, 96)))
        for start, shared in ((4, []), (5, [slice(448, 480), slice(864, 896)])):
            merged = np.array(base)
            merged[start : start + 4] *= 10
            moved = np.ravel(np.asarray(quantize(merged)) != np.asarray(base))
            moved[96 * start : 96 * (start + 4)] = False
            for part in shared:
                at_least(np.mean(moved[part]), 0.5)
                moved[part] = False
            exactly(not np.any(moved))


@pytest.mark.parametrize(
    "d_in, size, typical", [(64, 2, 0.61), (128, 2, 0.41), (64, 0.1, 0.08), (128, 0.1, 0.035)]
)
@claim("C8", OURS, "FA: quantising the merged Ŵ moves entries of the other columns too")
def test_an_update_of_columns_moves_untouched_entries(d_in, size, typical):
    """4 columns of ΔW ~ N(0, size²), W ~ N(0, 1): an untouched entry moves only as its absmax."""
    moved_fractions = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        base = quantize(rng.standard_normal((64, d_in)))
        cols = rng.choice(d_in, 4, replace=False)
        merged = np.array(base)
        merged[:, cols] += size * rng.standard_normal((64, 4))
        again = quantize(merged)
        moved = np.delete(np.asarray(again) != np.asarray(base), cols, axis=1)
        moved_fractions.append(np.mean(moved))
        rescaled = np.repeat((again.absmax != base.absmax).reshape(64, -1), 64, axis=1)
        exactly(not np.any(moved & ~np.delete(rescaled, cols, axis=1)))
    within(abs(np.mean(moved_fractions) - typical), 0.01 + 0.02 * size)
    at_least(np.mean(moved_fractions), 0.02 if size < 1 else 1 / 3)


@given(seeds, st.integers(2, 8), st.sampled_from([4, 64]))
@claim("C8", OURS, "an update below half the narrowest gap is lost when it is quantised")
def test_a_small_update_is_lost_when_it_is_quantised(seed, d_out, block):
    """quantize(Ŵ + ΔW) is Ŵ if |ΔW| < 0.0397 absmax, and ΔW = 0 at the largest entries."""
    rng = np.random.default_rng(seed)
    base = quantize(rng.standard_normal((d_out, 64)), block)
    dense = np.array(base)
    absmax = np.repeat(base.absmax, block).reshape(dense.shape)
    small = rng.uniform(-0.0397, 0.0397, dense.shape) * absmax
    delta = np.where(np.abs(dense) < absmax, small, 0)
    exactly(np.array_equal(quantize(dense + delta, block), dense))
    exactly(np.any(dense + delta != dense))


@claim("C8", OURS, "FB: with double quantisation most entries of other rows move")
def test_with_double_quantisation_an_update_of_one_row_moves_the_others():
    """Every absmax depends on the mean of all. W ~ N(0, 1), 16 rows of 64, one of them doubled."""
    for seed in range(10):
        base = quantize(np.random.default_rng(seed).standard_normal((16, 64)), double=True)
        merged = np.array(base)
        merged[3] *= 2
        moved = np.asarray(quantize(merged, double=True)) != np.asarray(base)
        at_least(np.mean(np.delete(moved, 3, axis=0)), 0.5)


# The seam: linear, gradients, LoRA


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("axes", [(), (4,), (2, 3), (0,)], ids=str)
@pytest.mark.parametrize("double", [False, True])
def test_linear_takes_a_quantised_matrix(dtype, axes, double, rng):
    found = quantize(rng.standard_normal((5, 7)).astype(dtype), 4, double)
    x = rng.standard_normal((*axes, 7)).astype(dtype)
    y = linear(found, x)
    np.testing.assert_array_equal(y, linear(np.asarray(found), x))
    assert y.dtype == np.asarray(found).dtype == anp.asarray(found).dtype == dtype


def test_a_dense_copy_has_the_dtype_that_is_asked_for(rng):
    for double in (False, True):
        found = quantize(rng.standard_normal((5, 7)).astype(np.float32), double=double)
        assert found.__array__(np.float64).dtype == np.float64
        assert np.asarray(found, np.float64).dtype == np.float64
        assert found.absmax.__array__(np.float32).dtype == np.float32
        np.testing.assert_array_equal(np.asarray(found, np.float64), np.asarray(found))
        assert not np.shares_memory(np.asarray(found), np.asarray(found))


def test_gradients_flow_through_stacked_layers(rng):
    """LoRA on four bits, after another one: gradients for A, B, x agree with finite differences."""
    first = quantize(rng.standard_normal((6, 7)), 4)
    second = quantize(rng.standard_normal((5, 6)), 4, double=True)
    params, frozen = zip(*(LoRA(2).init(rng, W) for W in (first, second)))
    params = [
        {name: array + rng.standard_normal(array.shape) for name, array in own.items()}
        for own in params
    ]

    def loss(params, x):
        hidden = anp.tanh(LoRA(2).forward(params[0], frozen[0], x))
        return anp.sum(anp.tanh(LoRA(2).forward(params[1], frozen[1], hidden)))

    check_grads(loss, modes=["rev"], order=1)(params, rng.standard_normal((3, 7)))


def test_qlora_is_lora_over_a_quantised_base(rng):
    """LoRA on a quantised model trains bitwise as on its dense copy, in float32 throughout."""
    weights = init_mlp(rng, (9, 8, 8, 4))
    four_bit = {name: quantize(W, 5) if W.ndim == 2 else W for name, W in weights.items()}
    dense = {name: np.asarray(W) for name, W in four_bit.items()}
    codes = {name: W.codes.copy() for name, W in four_bit.items() if callable(W)}
    x = rng.standard_normal((40, 9)).astype(np.float32)
    labels = rng.integers(4, size=40)
    trained = []
    for base in (four_bit, dense):
        attached = attach(base, {"*.W": LoRA(2)}, rng=np.random.default_rng(1))

        def loss(params, x, labels, attached=attached):
            return cross_entropy(mlp(attached.bind(params), x), labels)

        params = fit(
            loss,
            attached.params,
            (x, labels),
            rng=np.random.default_rng(2),
            steps=5,
            batch=10,
            lr=0.01,
        )
        trained.append((attached, params))
        value, grads = value_and_grad(loss, params, x, labels)
        assert value.dtype == np.float32
        assert {grad.dtype for own in grads.values() for grad in own.values()} == {
            np.dtype(np.float32)
        }
    (quantised, one), (_, two) = trained
    for name, own in one.items():
        assert np.any(own["B"])
        for letter, array in own.items():
            np.testing.assert_array_equal(array, two[name][letter])
    merged = quantised.merge(one)
    assert {(type(W), W.dtype) for W in merged.values()} == {(np.ndarray, np.dtype(np.float32))}
    np.testing.assert_allclose(mlp(merged, x), mlp(quantised.bind(one), x), rtol=0, atol=1e-5)
    assert all(np.array_equal(four_bit[name].codes, before) for name, before in codes.items())


def test_nothing_given_is_changed(rng):
    W = rng.standard_normal((5, 7))
    before = W.copy()
    np.asarray(quantize(W, 4, double=True))[:] = 0
    np.testing.assert_array_equal(W, before)


def test_entries_down_to_the_smallest_normal_float32_are_kept():
    """And a subnormal entry beside a normal one is a zero of its block, as any small entry."""
    tiny = float(np.finfo(np.float32).tiny)
    np.testing.assert_array_equal(quantize(np.array([[tiny, -tiny]])), [[tiny, -tiny]])
    np.testing.assert_array_equal(quantize(np.array([[1e-46, 1.0]])), [[0.0, 1.0]])
    np.testing.assert_array_equal(quantize(np.zeros((2, 3))), np.zeros((2, 3)))
    largest = float(np.finfo(np.float32).max)
    np.testing.assert_array_equal(quantize(np.array([[0, -largest]])), [[0, -largest]])
    np.testing.assert_array_equal(quantize(np.array([[largest, 0]])), [[largest, 0]])


def test_a_weight_in_four_bits_is_indexed_as_an_array_is(rng):
    found = quantize(rng.standard_normal((5, 7)), 4)
    tokens = np.array([[3, 0], [1, 1]])
    np.testing.assert_array_equal(found[tokens], np.asarray(found)[tokens])


def test_a_quantised_matrix_shows_its_size_and_is_one_fixed_thing(rng):
    """It cannot be changed in place of being made anew, and is equal to itself alone."""
    W = rng.standard_normal((5, 64)).astype(np.float32)
    assert repr(quantize(W)) == "Quantized(5 × 64 float32 in 4.50 bits an entry)"
    found, other = quantize(W, double=True), quantize(W, double=True)
    assert found == found
    assert found != other
    assert found.absmax != other.absmax
    assert len({found, other, found.absmax, other.absmax}) == 4
    for fixed, name in ((found, "block"), (found.absmax, "mean")):
        with pytest.raises(FrozenInstanceError):
            setattr(fixed, name, 1)


def wrong_arguments():
    """(what is wrong, what the message starts with, a call)."""
    q = quantize(np.ones((2, 3)))
    largest = float(np.finfo(np.float32).max)
    tiny = float(np.finfo(np.float32).tiny)
    for start, wrong in {
        "W must be an array, got ": {"a list": [[1.0, 2.0]], "None": None},
        r"W must be a matrix \(d_out, d_in\) of floats": {
            "a vector": np.ones(3),
            "three axes": np.ones((2, 2, 2)),
            "no rows": np.ones((0, 3)),
            "no columns": np.ones((3, 0)),
            "integers": np.ones((2, 2), int),
            "complex": np.ones((2, 2), complex),
            "a masked array": np.ma.masked_array(np.ones((2, 2)), np.eye(2)),
        },
        "W must be finite": {
            "NaN": np.array([[1.0, np.nan]]),
            "inf": np.array([[np.inf, 1.0]], np.float32),
            "-inf": np.array([[1.0, -np.inf]]),
        },
        "W has entries beyond float32": {
            "beyond float32": np.array([[1.0, -1e39]]),
            "just beyond float32": np.nextafter([[largest, 1]], np.inf),
        },
        "W has no entry above 1.2e-38": {
            "below float32": np.array([[1e-46, -1e-46]]),
            "subnormal in float32": np.array([[1e-40]]),
            "just subnormal in float32": np.nextafter([[tiny]], 0),
        },
    }.items():
        for name, W in wrong.items():
            yield f"W {name}", start, lambda W=W: quantize(W)
    for block in (0, -1, 1.5, 2.0, "4", None, True):
        yield f"block {block!r}", "block ", lambda block=block: quantize(np.eye(2), block)
    yield "x too short", "x has shape", lambda: q(np.ones(2))
    yield "x a scalar", "x has shape", lambda: q(np.float64(1))


@pytest.mark.parametrize(
    "start, call", [pytest.param(start, call, id=wrong) for wrong, start, call in wrong_arguments()]
)
def test_a_mistake_is_a_value_error_that_names_the_argument(start, call):
    with pytest.raises(ValueError, match=f"^{start}"):
        call()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_double_quantisation_at_the_end_of_a_dtype_stays_finite(dtype):
    """The largest absmax would be rounded up, to one that the dtype has not."""
    largest = np.finfo(dtype).max
    W = np.full((3, 64), 0.916 * largest, dtype)
    W[0], W[1] = 0, largest
    assert np.all(np.isfinite(np.asarray(quantize(W, double=True))))


def test_four_bits_can_be_quantised_again(rng):
    coarse = quantize(rng.standard_normal((8, 64)))
    assert quantize(coarse, block=16).block == 16
    assert quantize(coarse, double=True).nbytes < coarse.nbytes


def test_entries_are_indexed_as_those_of_an_array(rng):
    coarse = quantize(rng.standard_normal((6, 5)))
    for index in (slice(1, 3), (0, 1), ([0, 2], 1), 3):
        np.testing.assert_array_equal(coarse[index], np.asarray(coarse)[index])
