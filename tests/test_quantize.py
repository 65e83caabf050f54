"""NF4 against the printed levels and against loops over blocks; QLoRA as LoRA over what `quantize` returns."""

import math

import autograd.numpy as anp
import numpy as np
import pytest
from autograd.test_util import check_grads
from claims import DETTMERS, PO, at_least, claim, exactly, within
from hypothesis import given
from hypothesis import strategies as st

from minilora.adapters import LoRA
from minilora.attach import attach
from minilora.linalg import linear
from minilora.models.mlp import init_mlp, mlp
from minilora.quantize import LEVELS, quantize
from minilora.train import cross_entropy, fit, value_and_grad

PRINTED = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
HALF_GAP = (1 + LEVELS[1]) / 2  # half the gap between −1 and the next level, the widest

seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from([np.float64, np.float32])
blocks = st.sampled_from([1, 3, 64])


@st.composite
def matrices(draw):
    """W of numbers that float32 can hold, in float64 or float32: normal ones, or small integers with ties and zeros."""
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
    """What two roundings to this dtype may add to an error, as a share of the absmax."""
    return max(1e-13, float(np.finfo(dtype).eps))


# The levels


@claim("C9", DETTMERS, "the levels are the 16 numbers that the paper prints")
def test_the_levels_are_the_printed_ones():
    """Quantiles of equally spaced probabilities, scaled to [−1, 1], are the published numbers (float32) up to 5e-7."""
    within(np.abs(LEVELS - PRINTED), 5e-7)


@claim("C9", DETTMERS, "7 levels below 0 and 8 above, at equal steps of probability")
def test_each_side_has_equal_steps_of_probability():
    """Φ(z · level) rises from ½ to 1 − ½ (1/30 + 1/32) in eight equal steps above 0, and falls in seven below.

    Φ is written with the error function; z is the one number for which Φ(z) is that end.
    """
    end = 1 - (1 / 30 + 1 / 32) / 2
    low, high = 0.0, 4.0
    for _ in range(60):
        z = (low + high) / 2
        low, high = (z, high) if math.erf(z / math.sqrt(2)) < 2 * end - 1 else (low, z)
    distances = [math.erf(abs(level) * z / math.sqrt(2)) / (2 * end - 1) for level in LEVELS]
    expected = [i / 7 for i in range(7, 0, -1)] + [i / 8 for i in range(9)]
    within(np.abs(np.array(distances) - expected), 1e-12)
    exactly([int(np.sign(level)) for level in LEVELS] == [-1] * 7 + [0] + [1] * 8)


@claim("C9", DETTMERS, "on normal numbers the error is below that of 15 equal steps")
def test_normal_numbers_suit_nf4_better_than_equal_steps():
    """W ~ N(0, 1), blocks of 64: the relative error is 0.092, and 0.108 for a · code / 7 with code ∈ −7 … 7."""
    W = np.random.default_rng(0).standard_normal((500, 640))
    runs = W.reshape(-1, 64)
    step = np.max(np.abs(runs), axis=1, keepdims=True) / 7
    equal = np.linalg.norm(np.round(runs / step) * step - runs) / np.linalg.norm(W)
    found = np.linalg.norm(np.asarray(quantize(W)) - W) / np.linalg.norm(W)
    within(abs(found - 0.0918), 5e-4)
    at_least(equal / found, 1.15)


# One block


@given(matrices(), blocks)
@claim("C10", DETTMERS, "an entry is off by at most 0.152 a, a = max |W| over its block")
def test_no_entry_is_off_by_more_than_half_the_widest_gap(W, block):
    """|W − Ŵ| ≤ h a for every finite W: h is half the widest gap between levels, a = max |W| over the entry's block."""
    with np.errstate(all="raise"):
        found = quantize(W, block)
        dense = np.asarray(found)
    for before, after in zip(blocks_of(W, block), blocks_of(dense, block)):
        a = max(abs(w) for w in before)
        for w, w_hat in zip(before, after):
            within(abs(w - w_hat), a * (HALF_GAP * (1 + 1e-12) + (W.dtype == np.float32) * rounding(W.dtype)))


@claim("C10", DETTMERS, "the bound is attained, half way between −1 and the next level")
def test_the_bound_on_the_error_is_attained():
    """W = (1, −1 + h) has the error h = 0.151904, the largest of the 15 half gaps."""
    within(abs(HALF_GAP - 0.151904), 5e-7)
    exactly(np.max(np.diff(LEVELS)) / 2 == HALF_GAP)
    W = np.array([[1.0, -1 + HALF_GAP]])
    within(abs(np.max(np.abs(np.asarray(quantize(W)) - W)) - HALF_GAP), 1e-13)


@given(matrices(), blocks)
@claim("C10", DETTMERS, "every entry gets the nearest of the 16 multiples of a")
def test_every_entry_gets_the_nearest_level(W, block):
    """|W − Ŵ| = min over all 16 levels of |W − a · level|, up to 1e-13 a in float64 and one rounding in float32."""
    dense = np.asarray(quantize(W, block))
    for before, after in zip(blocks_of(W, block), blocks_of(dense, block)):
        a = max(abs(w) for w in before)
        for w, w_hat in zip(before, after):
            nearest = min(abs(w - a * level) for level in LEVELS)
            within(abs(abs(w - w_hat) - nearest), a * rounding(W.dtype))


@given(matrices(), blocks)
@claim("C10", DETTMERS, "zeros and the entry of largest magnitude are exact")
def test_zeros_and_the_largest_entry_are_exact(W, block):
    """Ŵ = W bit for bit where W = 0 or |W| = a, when a is a float32; a block of zeros divides nothing by zero."""
    with np.errstate(all="raise"):
        found = quantize(W, block)
        dense = np.asarray(found)
    for before, after, codes in zip(blocks_of(W, block), blocks_of(dense, block), blocks_of(unpacked(found), block)):
        a = max(abs(w) for w in before)
        for w, w_hat, code in zip(before, after, codes):
            if w == 0:
                exactly(w_hat == 0 and code == 7)
            elif abs(w) == a:
                exactly(w_hat == w and code == (15 if w > 0 else 0))


@given(matrices(), blocks)
@claim("C11", DETTMERS, "to quantise what was quantised changes no bit")
def test_quantising_again_changes_no_bit(W, block):
    """quantize(Ŵ) has the codes and a of Ŵ, without double quantisation, for every W whose a are normal float32."""
    once = quantize(W, block)
    for again in (quantize(np.asarray(once), block), quantize(once, block)):
        exactly(np.array_equal(again.codes, once.codes))
        exactly(np.array_equal(again.absmax.view(np.int32), once.absmax.view(np.int32)))


def test_float16_is_quantised_too(rng):
    W = rng.standard_normal((7, 9)).astype(np.float16)
    once = quantize(W, 4)
    dense = np.asarray(once)
    assert dense.dtype == np.float16
    assert np.max(np.abs(dense - W)) <= (HALF_GAP + 2 * np.finfo(np.float16).eps) * np.max(np.abs(W))
    np.testing.assert_array_equal(quantize(dense, 4).codes, once.codes)


# Layout and memory


def test_blocks_run_along_rows_and_straddle_them():
    """Blocks of 4 in a matrix with rows of 3: 1 2 4 8 | 1 2 100 2 | 9."""
    found = quantize(np.array([[1.0, 2, 4], [8, 1, 2], [100, 2, 9]]), block=4)
    np.testing.assert_array_equal(found.absmax, np.array([8, 100, 9], np.float32))
    assert found.absmax.dtype == np.float32
    np.testing.assert_array_equal(unpacked(found), [[9, 10, 12], [15, 7, 7], [15, 7, 15]])
    np.testing.assert_array_equal(found.codes, [0x9A, 0xCF, 0x77, 0xF7, 0xF0])


def test_the_order_in_memory_makes_no_difference(rng):
    W = rng.standard_normal((6, 9))
    np.testing.assert_array_equal(quantize(W.T, 4).codes, quantize(W.T.copy(), 4).codes)


def test_a_block_longer_than_the_matrix_is_one_block(rng):
    W = rng.standard_normal((3, 5))
    np.testing.assert_array_equal(quantize(W, np.int64(10**15)), quantize(W, 15))


@given(st.integers(1, 9), st.integers(1, 70), blocks, st.booleans())
def test_memory_is_half_a_byte_an_entry_and_the_absmax(d_out, d_in, block, double):
    found = quantize(np.ones((d_out, d_in)), block, double)
    count = math.ceil(d_out * d_in / block)
    absmax = count + 4 * math.ceil(count / 256) + 4 if double else 4 * count
    assert found.nbytes == math.ceil(d_out * d_in / 2) + absmax
    assert found.bits == 8 * found.nbytes / (d_out * d_in)
    assert (found.shape, found.ndim, found.size, found.dtype) == ((d_out, d_in), 2, d_out * d_in, np.float64)


@claim("C12", DETTMERS, "4.5 bits per entry, 4.127 with double quantisation")
def test_bits_per_entry():
    """Blocks of 64 in groups of 256: 4 + 32/64 bits, or 4 + 8/64 + 32/(64 · 256), and 32 more for the one mean."""
    W = np.ones((1024, 1024), np.float32)
    exactly(quantize(W).bits == 4.5)
    exactly(quantize(W, double=True).bits == 4 + 8 / 64 + 32 / (64 * 256) + 32 / 1024**2)
    within(abs(quantize(W, double=True).bits - 4.127), 5e-4)


# Double quantisation


@st.composite
def uneven(draw):
    """W whose a differ by orders of magnitude or only in their last digits, and the length of a block."""
    rng = np.random.default_rng(draw(seeds))
    count, block = draw(st.integers(1, 2000)), draw(st.sampled_from([1, 3]))
    W = 10.0 ** rng.uniform(-3, 0, (count, 1)) * rng.standard_normal((count, block))
    if draw(st.booleans()):
        W = rng.choice([-1, 1], (count, block)) * (1 + 10.0 ** draw(st.integers(-6, -2)) * rng.random((count, block)))
    return (10.0 ** draw(st.integers(-6, 6)) * W).astype(np.float32).astype(draw(dtypes)), block


@given(uneven())
@claim("C12", DETTMERS, "|a − â| ≤ max |a − mean| / 254 in a group, |W − Ŵ| ≤ 0.152 a + |a − â|")
def test_double_quantisation_moves_a_by_half_a_step_at_most(drawn):
    """|a − â| ≤ max |a − mean| / 254 over a group of 256, the step rounded to float32, and |W − Ŵ| ≤ h a + |a − â|."""
    W, block = drawn
    with np.errstate(all="raise"):
        found = quantize(W, block, double=True)
        a_hat, dense = np.asarray(found.absmax), np.asarray(found)
    a = np.max(np.abs(W.astype(np.float64)), axis=1)
    mean = float(np.float32(math.fsum(a) / len(a)))
    bound = np.concatenate([np.full(256, np.max(np.abs(a[i : i + 256] - mean))) for i in range(0, len(a), 256)]) / 254
    moved = np.abs(a - a_hat)
    slack = 1e-12 * np.max(a)
    within(np.max(moved / (bound[: len(a)] * (1 + 2**-24) + slack)), 1)
    rounded = rounding(W.dtype) * np.maximum(np.abs(a_hat), a)
    error = np.max(np.abs(W - dense.astype(np.float64)), axis=1)
    within(np.max(error / (HALF_GAP * a + moved + rounded + slack)), 1)
    exactly(np.array_equal(found.codes, quantize(W, block).codes))


@given(seeds, st.integers(1, 600), st.integers(-6, 6))
@claim("C12", DETTMERS, "equal a stay exact, and so does a matrix of zeros")
def test_equal_absmax_stay_exact(seed, count, power):
    """When all blocks have the same a, a float32, the step is 0 and â = a; when all entries are 0, so are all of Ŵ."""
    rng = np.random.default_rng(seed)
    a = float(np.float32(rng.uniform(1, 2) * 10.0**power))
    W = a * rng.choice([-1.0, 1.0], (count, 3))
    with np.errstate(all="raise"):
        exactly(np.array_equal(quantize(W, 3, double=True), W))
        exactly(not np.any(quantize(0 * W, 3, double=True)))


# Merging


@given(seeds, st.sampled_from([64, 128]), st.integers(1, 4), st.integers(-3, 3), st.booleans())
@claim("C8", PO, "FB: quantising the merged Ŵ leaves all other rows, bit for bit")
def test_an_update_of_rows_leaves_the_codes_of_all_other_rows(seed, d_in, touched, power, whole):
    """When the block divides d_in, quantize(Ŵ + ΔW) has the codes and a of Ŵ in every row in which ΔW = 0."""
    rng = np.random.default_rng(seed)
    W = rng.integers(-3, 4, (8, d_in)).astype(np.float64) if whole else rng.standard_normal((8, d_in))
    base = quantize(W)
    rows = rng.choice(8, touched, replace=False)
    merged = np.array(base)
    merged[rows] += 10.0**power * rng.standard_normal((touched, d_in))
    again = quantize(merged)
    others = np.setdiff1d(np.arange(8), rows)
    exactly(np.array_equal(unpacked(again)[others], unpacked(base)[others]))
    exactly(np.array_equal(again.absmax.reshape(8, -1)[others], base.absmax.reshape(8, -1)[others]))
    exactly(np.array_equal(np.asarray(again)[others], np.asarray(base)[others]))


@claim("C8", PO, "FB: rows move with a neighbour when 64 does not divide d_in")
def test_an_update_of_rows_moves_neighbours_when_blocks_straddle_rows():
    """Four rows grow tenfold, d_in = 96: of all others, just the entries that share a block with them may move.

    Rows 4 … 7 are the entries 384 = 6 · 64 to 768 = 12 · 64, which are whole blocks. Rows 5 … 8 are the entries
    480 = 7.5 · 64 to 864 = 13.5 · 64: the end of row 4 and the start of row 9 are in blocks with them.
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


@pytest.mark.parametrize("d_in, size, typical", [(64, 2, 0.61), (128, 2, 0.41), (64, 0.1, 0.08), (128, 0.1, 0.035)])
@claim("C8", PO, "FA: quantising the merged Ŵ moves entries of all other columns")
def test_an_update_of_columns_moves_untouched_entries(d_in, size, typical):
    """4 columns of ΔW ~ N(0, size²), W ~ N(0, 1): an untouched entry moves only when the a of its block does."""
    shares = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        base = quantize(rng.standard_normal((64, d_in)))
        cols = rng.choice(d_in, 4, replace=False)
        merged = np.array(base)
        merged[:, cols] += size * rng.standard_normal((64, 4))
        again = quantize(merged)
        moved = np.delete(np.asarray(again) != np.asarray(base), cols, axis=1)
        shares.append(np.mean(moved))
        rescaled = np.repeat((again.absmax != base.absmax).reshape(64, -1), 64, axis=1)
        exactly(not np.any(moved & ~np.delete(rescaled, cols, axis=1)))
    within(abs(np.mean(shares) - typical), 0.01 + 0.02 * size)
    at_least(np.mean(shares), 0.02 if size < 1 else 1 / 3)


@given(seeds, st.integers(2, 8), st.sampled_from([4, 64]))
@claim("C8", PO, "an update below half a gap is lost when it is quantised")
def test_a_small_update_is_lost_when_it_is_quantised(seed, d_out, block):
    """|ΔW| < 0.0397 a where |Ŵ| < a, and ΔW = 0 where |Ŵ| = a: quantize(Ŵ + ΔW) is Ŵ, while `merge` keeps ΔW."""
    rng = np.random.default_rng(seed)
    base = quantize(rng.standard_normal((d_out, 64)), block)
    dense = np.array(base)
    a = np.repeat(base.absmax, block).reshape(dense.shape)
    delta = np.where(np.abs(dense) < a, rng.uniform(-0.0397, 0.0397, dense.shape) * a, 0)
    exactly(np.array_equal(quantize(dense + delta, block), dense))
    exactly(np.any(dense + delta != dense))


@claim("C8", PO, "FB: with double quantisation most entries of other rows move")
def test_with_double_quantisation_an_update_of_one_row_moves_the_others():
    """Every â depends on the mean of all a, so one row that grows moves over half of the entries of all others."""
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
        assert found.__array__(np.float64).dtype == np.asarray(found, np.float64).dtype == np.float64
        assert found.absmax.__array__(np.float32).dtype == np.float32
        np.testing.assert_array_equal(np.asarray(found, np.float64), np.asarray(found))
        assert not np.shares_memory(np.asarray(found), np.asarray(found))


def test_gradients_flow_through_stacked_layers(rng):
    """LoRA on a quantised matrix, after another one: gradients for A, B and x agree with finite differences."""
    first, second = quantize(rng.standard_normal((6, 7)), 4), quantize(rng.standard_normal((5, 6)), 4, double=True)
    params, frozen = zip(*(LoRA(2).init(rng, W) for W in (first, second)))
    params = [{name: array + rng.standard_normal(array.shape) for name, array in own.items()} for own in params]

    def loss(params, x):
        hidden = anp.tanh(LoRA(2).forward(params[0], frozen[0], x))
        return anp.sum(anp.tanh(LoRA(2).forward(params[1], frozen[1], hidden)))

    check_grads(loss, modes=["rev"], order=1)(params, rng.standard_normal((3, 7)))


def test_qlora_is_lora_over_a_quantised_base(rng):
    """Training LoRA on a quantised model is, bit for bit, training LoRA on its dense copy, in float32 throughout."""
    weights = init_mlp(rng, (9, 8, 8, 4))
    four_bit = {name: quantize(W, 5) if W.ndim == 2 else W for name, W in weights.items()}
    dense = {name: np.asarray(W) for name, W in four_bit.items()}
    codes = {name: W.codes.copy() for name, W in four_bit.items() if callable(W)}
    x, labels = rng.standard_normal((40, 9)).astype(np.float32), rng.integers(4, size=40)
    trained = []
    for base in (four_bit, dense):
        attached = attach(base, {"*.W": LoRA(2)}, np.random.default_rng(1))

        def loss(params, x, labels, attached=attached):
            return cross_entropy(mlp(attached.bind(params), x), labels)

        params = fit(loss, attached.params, (x, labels), np.random.default_rng(2), steps=5, batch=10, lr=0.01)
        trained.append((attached, params))
        value, grads = value_and_grad(loss, params, x, labels)
        assert value.dtype == np.float32
        assert {grad.dtype for own in grads.values() for grad in own.values()} == {np.dtype(np.float32)}
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


@pytest.mark.parametrize(
    "name, call",
    [
        ("W", lambda: quantize(np.ones(3))),
        ("W", lambda: quantize(np.ones((2, 2), int))),
        ("W", lambda: quantize(np.array([[1.0, np.nan]]))),
        ("W", lambda: quantize(np.array([[1.0, -np.inf]]))),
        ("W", lambda: quantize(np.array([[1.0, -1e39]]))),
        *[("block", lambda block=block: quantize(np.eye(2), block)) for block in (0, -1, 1.5, 2.0, "4", None, True)],
        ("x", lambda: quantize(np.ones((2, 3)))(np.ones(2))),
        ("x", lambda: quantize(np.ones((2, 3)))(np.float64(1))),
    ],
)  # fmt: skip
def test_a_mistake_is_a_value_error_that_names_the_argument(name, call):
    with pytest.raises(ValueError, match=rf"^{name} "):
        call()
