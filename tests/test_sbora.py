"""SBoRA: the update stays in its region, and all of W outside it stays bitwise identical."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.draws import assert_equally_often

from minilora.adapters import LoRA, SBoRAFA, SBoRAFB
from minilora.attachment import attach, merge_all
from minilora.attachment import kind as by_layer
from minilora.quantization import quantize
from minilora.testing.claims import OURS, PO, at_least, claim, exactly, within
from minilora.testing.rows import moved, weight
from minilora.train import value_and_grad

SEED = st.integers(0, 2**32 - 1)
SIDE = st.integers(1, 9)


def draw(kind, seed, d_out, d_in, share):
    """An adapter of the kind on a random W, as trained: (adapter, W, params, frozen, touched)."""
    rng = np.random.default_rng(seed)
    width = d_in if kind is SBoRAFA else d_out
    adapter = kind(rank=max(1, round(share * width)), alpha=1.7)
    W = weight(rng, (d_out, d_in))
    params, frozen = adapter.init(rng, W)
    touched = np.zeros(W.shape, bool)
    if kind is SBoRAFA:
        touched[:, frozen["cols"]] = True
    else:
        touched[frozen["rows"], :] = True
    return adapter, W, moved(rng, params), frozen, touched


def bits(W):
    return np.ascontiguousarray(W).view(np.int64)


every_kind = pytest.mark.parametrize("kind", [SBoRAFA, SBoRAFB])


@claim("C1", PO, "the update is exactly zero outside r columns (FA) or r rows (FB)")
@every_kind
@given(SEED, SIDE, SIDE, st.floats(0, 1), st.booleans())
def test_the_update_is_zero_outside_its_region(kind, seed, d_out, d_in, share, square):
    """For any shape and any rank from 1 to the width.

    ΔW = s B A with A rows (FA) or B columns (FB) of the identity.
    """
    adapter, W, params, frozen, touched = draw(kind, seed, d_out, d_out if square else d_in, share)
    delta = adapter.merge(params, frozen) - W
    exactly(not np.any(delta[~touched]))
    exactly(np.all(delta[touched] != 0))
    lines = np.any(delta != 0, axis=0 if kind is SBoRAFA else 1)
    exactly(np.sum(lines) == adapter.rank)


@claim("C2", OURS, "merging leaves all other entries bitwise identical: −0.0, inf and NaN too")
@every_kind
@given(SEED, SIDE, SIDE, st.floats(0, 1))
def test_merging_leaves_every_other_entry_bitwise(kind, seed, d_out, d_in, share):
    """For every W, even one that holds −0.0, inf and NaN; W itself is not changed."""
    adapter, W, params, frozen, touched = draw(kind, seed, d_out, d_in, share)
    rng = np.random.default_rng(seed)
    special = rng.choice([-0.0, np.inf, -np.inf, np.nan, 1.5], size=W.shape)
    before = bits(special).copy()
    merged = adapter.merge(params, {**frozen, "W": special})
    exactly(np.array_equal(bits(merged)[~touched], before[~touched]))
    exactly(np.array_equal(bits(special), before))


@claim("C3", PO, "FA trains r d_out parameters and FB r d_in, together LoRA's r (d_out + d_in)")
@given(SIDE, SIDE, st.floats(0, 1))
def test_counts(d_out, d_in, share):
    """For every shape; FA has exactly half of LoRA's parameters when W is square."""
    rng = np.random.default_rng(0)
    r = max(1, round(share * min(d_out, d_in)))
    W = weight(rng, (d_out, d_in))
    count = {}
    for kind in (SBoRAFA, SBoRAFB, LoRA):
        params, _ = kind(r).init(rng, W)
        count[kind] = sum(array.size for array in params.values())
    exactly(count[SBoRAFA] == r * d_out)
    exactly(count[SBoRAFB] == r * d_in)
    exactly(count[SBoRAFA] + count[SBoRAFB] == count[LoRA])


@claim("C4", OURS, "disjoint columns or rows: merged in either order, bitwise identical")
@every_kind
@given(SEED, st.integers(1, 8), st.integers(2, 9))
def test_disjoint_adapters_commute(kind, seed, d_out, d_in):
    """Both FA or both FB, on one W of any shape; and the result is that of one joint adapter."""
    rng = np.random.default_rng(seed)
    shape = (d_out, d_in) if kind is SBoRAFA else (d_in, d_out)
    W = weight(rng, shape)
    order = rng.permutation(d_in)
    cut = rng.integers(1, d_in)
    name = "cols" if kind is SBoRAFA else "rows"
    parts = []
    for index in (order[:cut], order[cut:]):
        adapter = kind(rank=len(index), **{name: tuple(index.tolist())})
        params, frozen = adapter.init(rng, W)
        parts.append((adapter, moved(rng, params), frozen))
    one = merge_all(parts)
    two = merge_all(parts[::-1])
    exactly(np.array_equal(bits(one), bits(two)))
    joint = kind(rank=d_in, **{name: tuple(order.tolist())})
    letter, axis = ("B", 1) if kind is SBoRAFA else ("A", 0)
    together = {letter: np.concatenate([params[letter] for _, params, _ in parts], axis=axis)}
    exactly(np.array_equal(bits(one), bits(joint.merge(together, joint.init(rng, W)[1]))))


def test_overlap_is_an_error_unless_asked_for(rng):
    """FA and FB of rank 2 and 3 share 6 entries; asked for, the two updates add up there."""
    W = weight(rng, (5, 4))
    parts = []
    for adapter in (SBoRAFA(2), SBoRAFB(3)):
        params, frozen = adapter.init(rng, W)
        parts.append((adapter, moved(rng, params), frozen))
    with pytest.raises(ValueError, match=r"^parts overlap in 6 entries of W"):
        merge_all(parts)
    separate = sum(adapter.merge(params, frozen) - W for adapter, params, frozen in parts)
    np.testing.assert_allclose(merge_all(parts, overlap=True), W + separate, atol=1e-15)
    with pytest.raises(ValueError, match=r"^parts overlap in 16 entries of W"):
        merge_all([*parts, *parts, parts[0]])


@every_kind
def test_regions_that_share_one_line_overlap_and_neighbours_do_not(kind, rng):
    """The first or the last line shared, each entry counted once however many parts share it."""
    name = "cols" if kind is SBoRAFA else "rows"
    W = weight(rng, (5, 5))

    def parts(*indices):
        adapters = [kind(len(index), **{name: index}) for index in indices]
        return [(adapter, *adapter.init(rng, W)) for adapter in adapters]

    np.testing.assert_array_equal(merge_all(parts((0, 1), (2,), (4, 3))), W)
    for shared in (((0,), (1, 0)), ((3, 4), (2,), (4,)), ((4,), (4,), (4, 0))):
        with pytest.raises(ValueError, match=r"^parts overlap in 5 entries of W"):
            merge_all(parts(*shared))


@every_kind
def test_what_is_merged_in_float32_stays_float32_and_bitwise_outside_the_regions(kind, rng):
    """Three parts in all six orders, the first and the last line among them."""
    name, letter = ("cols", "B") if kind is SBoRAFA else ("rows", "A")
    W = weight(rng, (6, 6), np.float32)
    parts = []
    for index in ((5, 1), (0,), (3,)):
        adapter = kind(len(index), alpha=1.7, **{name: index})
        params, frozen = adapter.init(rng, W)
        parts.append((adapter, moved(rng, params), frozen))
    expected = W.copy()
    for adapter, params, frozen in parts:
        scaled = np.float32(adapter.scale) * params[letter]
        expected[adapter.region(frozen)] = W[adapter.region(frozen)] + scaled
    for order in permutations(parts):
        merged = merge_all(list(order))
        assert merged.dtype == np.float32
        np.testing.assert_array_equal(merged.view(np.int32), expected.view(np.int32))


def wrong_parts():
    """(what is wrong, what the message says, parts)."""
    rng = np.random.default_rng(0)
    W = weight(rng, (5, 4))
    yield "no part", "^parts must hold at least one", []
    lora = (LoRA(1), *LoRA(1).init(rng, W))
    fa = (SBoRAFA(1), *SBoRAFA(1).init(rng, W))
    no_region = r"^parts must be adapters of a region of W.*got LoRA\(rank=1\)$"
    yield "an adapter without a region", no_region, [lora]
    yield "one of two without a region", no_region, [fa, lora]
    near = W.copy()
    near[4, 3] = np.nextafter(near[4, 3], 1)
    for other, V in {"shape": weight(rng, (4, 4)), "last digit": near, "W": 2 * W}.items():
        changed = (SBoRAFA(1, cols=(2,)), *SBoRAFA(1, cols=(2,)).init(rng, V))
        second = (SBoRAFA(1, cols=(1,)), *SBoRAFA(1, cols=(1,)).init(rng, W.copy()))
        first = (SBoRAFA(1, cols=(0,)), *SBoRAFA(1, cols=(0,)).init(rng, W))
        unlike = "^parts must be adapters of the same W"
        yield f"another {other}, first", unlike, [changed, first]
        yield f"another {other}, last", unlike, [first, second, changed]


@pytest.mark.parametrize(
    "message, parts", [pytest.param(m, parts, id=wrong) for wrong, m, parts in wrong_parts()]
)
def test_parts_that_cannot_be_merged_are_a_value_error(message, parts):
    with pytest.raises(ValueError, match=message):
        merge_all(parts)


def test_merging_changes_no_part_and_takes_any_weight(rng):
    base = quantize(weight(rng, (5, 4)), block=4)
    parts = []
    for cols in ((0, 2), (3,)):
        adapter = SBoRAFA(len(cols), cols=cols)
        params, frozen = adapter.init(rng, base)
        parts.append((adapter, moved(rng, params), frozen))
    merged = merge_all(parts)
    expected = np.array(base)
    expected[:, [0, 2]] += parts[0][1]["B"]
    expected[:, [3]] += parts[1][1]["B"]
    np.testing.assert_array_equal(merged, expected)
    assert all(frozen["W"] is base for _, _, frozen in parts)
    adapter, params, frozen = parts[1]
    np.testing.assert_array_equal(merge_all(parts[1:]), adapter.merge(params, frozen))
    W = np.array(base)
    W[:, 1] = expected[:, 1] = -0.0
    dense_parts = [(adapter, params, {**frozen, "W": W}) for adapter, params, frozen in parts]
    same = [parts[0], (*parts[1][:2], {**parts[1][2], "W": np.asarray(base)})]
    np.testing.assert_array_equal(merge_all(same), merged)
    np.testing.assert_array_equal(merge_all(same[::-1]), merged)
    before = W.copy()
    np.testing.assert_array_equal(bits(merge_all(dense_parts)), bits(expected))
    np.testing.assert_array_equal(bits(W), bits(before))


@claim("C5", OURS, "subtracting the update does not restore W; storing columns does")
def test_subtracting_again_is_not_bitwise():
    """(w + a) − a differs from w in many entries by rounding.

    The difference is at most 2 units in the last digit of the larger of the two.
    """
    rng = np.random.default_rng(0)
    adapter = SBoRAFA(10)
    W = weight(rng, (200, 40))
    params, frozen = adapter.init(rng, W)
    params = moved(rng, params)
    cols = frozen["cols"]
    merged = adapter.merge(params, frozen)
    undone = adapter.merge({"B": -params["B"]}, {**frozen, "W": merged})
    outside = np.delete(np.arange(40), cols)
    exactly(np.array_equal(bits(undone[:, outside]), bits(W[:, outside])))
    at_least(np.mean(undone[:, cols] != W[:, cols]), 0.1)
    unit = np.spacing(np.maximum(np.abs(W[:, cols]), np.abs(params["B"])))
    within(np.max(np.abs(undone - W)[:, cols] / unit), 2)
    merged[:, cols] = W[:, cols]
    exactly(np.array_equal(bits(merged), bits(W)))


@claim("C6", OURS, "the gradient of B is s times columns cols of full fine-tuning's, in order")
@given(SEED, SIDE, SIDE, st.floats(0, 1))
def test_the_gradient_is_the_chosen_columns_of_the_full_gradient(seed, d_out, d_in, share):
    """For a loss of W' x, here Σ (W' x)²/2 with full gradient (W' X) Xᵀ; likewise rows for FB."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((6, d_in))
    for kind, letter in ((SBoRAFA, "B"), (SBoRAFB, "A")):
        adapter, _, params, frozen, _ = draw(kind, seed, d_out, d_in, share)
        full = (X @ adapter.merge(params, frozen).T).T @ X

        def loss(params, adapter=adapter, frozen=frozen):
            return 0.5 * (adapter.forward(params, frozen, X) ** 2).sum()

        _, grads = value_and_grad(loss, params)
        within(np.abs(grads[letter] - 1.7 / adapter.rank * full[adapter.region(frozen)]), 1e-10)


@every_kind
def test_every_ordered_pair_of_distinct_indices_is_drawn_as_often(kind, rng):
    """Of 6 columns or rows, in 900 draws from one generator."""
    name, shape = ("cols", (9, 6)) if kind is SBoRAFA else ("rows", (6, 9))
    W = np.ones(shape)
    drawn = [tuple(kind(2).init(rng, W)[1][name].tolist()) for _ in range(900)]
    assert_equally_often(drawn, permutations(range(6), 2))


@every_kind
def test_the_indices_depend_on_the_generator_alone(kind):
    name = "cols" if kind is SBoRAFA else "rows"
    drawn = [
        kind(5).init(np.random.default_rng(seed), W)[1][name].tolist()
        for seed, W in ((3, np.ones((40, 40))), (3, np.eye(40, dtype=np.float32)), (4, np.eye(40)))
    ]
    assert drawn[0] == drawn[1] != drawn[2]


IMPOSSIBLE = [
    (1, 1),
    (-1, 2),
    (1,),
    (1, 2, 3),
    (0.0, 1.0),
    ((0, 1),),
    ((0, 1), (2,)),
    (True, False),
    "01",
    1,
    {0, 1},
    (0, None),
]


@every_kind
@pytest.mark.parametrize("index", IMPOSSIBLE, ids=str)
def test_impossible_indices_are_a_value_error(kind, index):
    name = "cols" if kind is SBoRAFA else "rows"
    message = rf"^{name} must be 2 distinct integers from 0 up, or None, got"
    with pytest.raises(ValueError, match=message):
        kind(2, **{name: index})


@every_kind
def test_an_index_or_a_rank_that_is_too_large_for_w_is_a_value_error(kind, rng):
    name = "cols" if kind is SBoRAFA else "rows"
    with pytest.raises(ValueError, match=rf"^{name} must be 2 distinct integers from 0 to 4"):
        kind(2, **{name: (0, 5)}).init(rng, np.ones((5, 5)))
    for index in (None, range(6)):
        with pytest.raises(ValueError, match=r"^rank must be an integer from 1 to 5, got 6"):
            kind(6, **{name: index}).init(rng, np.ones((5, 5)))


@every_kind
@pytest.mark.parametrize("form", [tuple, list, np.array, np.uint8], ids=lambda form: form.__name__)
def test_indices_may_be_any_sequence_and_are_kept_as_a_tuple(kind, form, rng):
    """So that such adapters print, compare and share a key."""
    name = "cols" if kind is SBoRAFA else "rows"
    adapter = kind(2, **{name: form([3, 1])})
    assert repr(adapter) == f"{kind.__name__}(rank=2, {name}=(3, 1))"
    assert adapter == kind(2, **{name: (3, 1)})
    assert hash(adapter) == hash(kind(2, **{name: (3, 1)}))
    weights = {"layers.0.W": np.eye(5), "layers.1.W": np.ones((5, 5))}
    own = {"layers.0.W": adapter, "layers.1.W": kind(2, **{name: form([3, 1])})}
    attached = attach(weights, own, rng=rng, key=by_layer)
    assert f"{name}=(3, 1)" in str(attached)
    assert attached.trainable == 10
    np.testing.assert_array_equal(attached.frozen["layers.1.W"][name], [3, 1])
    assert isinstance(attached.frozen["layers.1.W"][name], np.ndarray)


def test_an_index_may_be_large(rng):
    _, frozen = SBoRAFA(1, cols=(70_000,)).init(rng, np.ones((2, 70_001)))
    assert frozen["cols"].tolist() == [70_000]
