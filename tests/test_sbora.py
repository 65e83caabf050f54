"""SBoRA: the update stays in its region, and what lies outside stays as it is to the last bit."""

import numpy as np
import pytest
from claims import PO, at_least, claim, exactly, within
from contract import moved, weight
from hypothesis import given
from hypothesis import strategies as st

from minilora.adapters import LoRA, SBoRAFA, SBoRAFB
from minilora.adapters.sbora import merge_all
from minilora.train import value_and_grad

SEED = st.integers(0, 2**32 - 1)
SIDE = st.integers(1, 9)


def draw(kind, seed, d_out, d_in, share):
    """An adapter of the kind on a random W with trained numbers: (adapter, W, params, frozen, touched)."""
    rng = np.random.default_rng(seed)
    width = d_in if kind is SBoRAFA else d_out
    adapter, W = kind(rank=max(1, round(share * width)), alpha=1.7), weight(rng, (d_out, d_in))
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
    """For any shape and any rank from 1 to the width: ΔW = s B A with A rows (FA) or B columns (FB) of the identity."""
    adapter, W, params, frozen, touched = draw(kind, seed, d_out, d_out if square else d_in, share)
    delta = adapter.merge(params, frozen) - W
    exactly(not np.any(delta[~touched]))
    exactly(np.all(delta[touched] != 0))
    lines = np.any(delta != 0, axis=0 if kind is SBoRAFA else 1)
    exactly(np.sum(lines) == adapter.rank)


@claim("C2", PO, "merging leaves all other entries bitwise: −0.0, inf and NaN too")
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


@claim("C3", PO, "FA trains r d_out and FB r d_in numbers, together LoRA's r (d_out + d_in)")
@given(SIDE, SIDE, st.floats(0, 1))
def test_counts(d_out, d_in, share):
    """For every shape; FA has exactly half of LoRA's numbers when W is square."""
    rng, r = np.random.default_rng(0), max(1, round(share * min(d_out, d_in)))
    W = weight(rng, (d_out, d_in))
    fa, fb, lora = (sum(array.size for array in kind(r).init(rng, W)[0].values()) for kind in (SBoRAFA, SBoRAFB, LoRA))
    exactly((fa, fb) == (r * d_out, r * d_in))
    exactly(fa + fb == lora)


@claim("C4", PO, "adapters with disjoint index sets merge in any order to the same bits")
@every_kind
@given(SEED, st.integers(1, 8), st.integers(2, 9))
def test_disjoint_adapters_commute(kind, seed, d_out, d_in):
    """For two adapters of one kind on one W whose index sets do not meet: also equal to one joint adapter."""
    rng = np.random.default_rng(seed)
    shape = (d_out, d_in) if kind is SBoRAFA else (d_in, d_out)
    W, order = weight(rng, shape), rng.permutation(d_in)
    cut = rng.integers(1, d_in)
    name = "cols" if kind is SBoRAFA else "rows"
    parts = []
    for index in (order[:cut], order[cut:]):
        adapter = kind(rank=len(index), **{name: tuple(index.tolist())})
        params, frozen = adapter.init(rng, W)
        parts.append((adapter, moved(rng, params), frozen))
    one, two = merge_all(parts), merge_all(parts[::-1])
    exactly(np.array_equal(bits(one), bits(two)))
    joint = kind(rank=d_in, **{name: tuple(order.tolist())})
    letter, axis = ("B", 1) if kind is SBoRAFA else ("A", 0)
    together = {letter: np.concatenate([params[letter] for _, params, _ in parts], axis=axis)}
    exactly(np.array_equal(bits(one), bits(joint.merge(together, joint.init(rng, W)[1]))))


def test_overlap_is_an_error_unless_asked_for(rng):
    """FA and FB of rank 2 and 3 share 6 entries; asked for, the two updates add up there."""
    W, parts = weight(rng, (5, 4)), []
    for adapter in (SBoRAFA(2), SBoRAFB(3)):
        params, frozen = adapter.init(rng, W)
        parts.append((adapter, moved(rng, params), frozen))
    with pytest.raises(ValueError, match=r"^parts overlap in 6 entries of W"):
        merge_all(parts)
    separate = sum(adapter.merge(params, frozen) - W for adapter, params, frozen in parts)
    np.testing.assert_allclose(merge_all(parts, overlap=True), W + separate, atol=1e-15)


@claim("C5", PO, "subtracting the update does not restore W; storing columns does")
def test_subtracting_again_is_not_bitwise():
    """(w + a) − a differs from w in many entries by rounding, at most 2 units in the last place of the larger."""
    rng = np.random.default_rng(0)
    adapter, W = SBoRAFA(10), weight(rng, (200, 40))
    params, frozen = adapter.init(rng, W)
    params, cols = moved(rng, params), frozen["cols"]
    merged = adapter.merge(params, frozen)
    undone = adapter.merge({"B": -params["B"]}, {**frozen, "W": merged})
    outside = np.delete(np.arange(40), cols)
    exactly(np.array_equal(bits(undone[:, outside]), bits(W[:, outside])))
    at_least(np.mean(undone[:, cols] != W[:, cols]), 0.1)
    unit = np.spacing(np.maximum(np.abs(W[:, cols]), np.abs(params["B"])))
    within(np.max(np.abs(undone - W)[:, cols] / unit), 2)
    merged[:, cols] = W[:, cols]
    exactly(np.array_equal(bits(merged), bits(W)))


@claim("C6", PO, "the gradient of B is columns cols of full fine-tuning's, in their order")
@given(SEED, SIDE, SIDE, st.floats(0, 1))
def test_the_gradient_is_the_chosen_columns_of_the_full_gradient(seed, d_out, d_in, share):
    """For any loss of W' x, here Σ (W' x)²/2 with full gradient (W' X) Xᵀ; likewise rows for FB."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((6, d_in))
    for kind, letter in ((SBoRAFA, "B"), (SBoRAFB, "A")):
        adapter, _, params, frozen, _ = draw(kind, seed, d_out, d_in, share)
        full = (X @ adapter.merge(params, frozen).T).T @ X
        _, grads = value_and_grad(lambda p, a=adapter, f=frozen: 0.5 * (a.forward(p, f, X) ** 2).sum(), params)
        within(np.abs(grads[letter] - 1.7 / adapter.rank * full[adapter.region(frozen)]), 1e-10)


@every_kind
def test_indices_are_drawn_without_replacement_from_everywhere(kind):
    name = "cols" if kind is SBoRAFA else "rows"
    seen = []
    for seed in range(200):
        index = kind(3).init(np.random.default_rng(seed), np.ones((6, 6)))[1][name]
        assert len(set(index.tolist())) == 3
        seen.extend(index.tolist())
    assert np.min(np.bincount(seen, minlength=6)) > 60


@every_kind
@pytest.mark.parametrize(
    "index", [(1, 1), (-1, 2), (0, 5), (1,), (1, 2, 3), (0.0, 1.0), ((0, 1),), (True, False)], ids=str
)
def test_impossible_indices_are_a_value_error(kind, index, rng):
    name = "cols" if kind is SBoRAFA else "rows"
    with pytest.raises(ValueError, match=f"^{name} must"):
        kind(2, **{name: index}).init(rng, np.ones((5, 5)))
