"""CondLoRA: what one shared linear layer can and cannot make of each layer's W."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora.adapters import CondLoRA, LoRA
from minilora.attachment import attach, kind
from minilora.testing.claims import KIM, OURS, claim, exactly, within
from minilora.testing.rows import moved, weight

SEED = st.integers(0, 2**32 - 1)
SIDE = st.integers(1, 7)


def trained_case(seed, d_out, d_in, data):
    """A generic W = P S Qᵀ of any rank and condition up to 1e3, an adapter for it, params and W'.

    P is (d_out, d_out) and Q (d_in, d_in).
    """
    rng = np.random.default_rng(seed)
    most = min(d_out, d_in)
    rank = data.draw(st.integers(1, most))
    adapter = CondLoRA(data.draw(st.integers(1, most)), alpha=data.draw(st.floats(0.5, 8)))
    P, Q = (np.linalg.qr(rng.standard_normal((d, d)))[0] for d in (d_out, d_in))
    values = 10 ** -rng.uniform(0, data.draw(st.floats(0, 3)), rank)
    W = (P[:, :rank] * values) @ Q[:, :rank].T
    params, frozen = adapter.init(rng, W)
    params = moved(rng, params)
    return W, P, Q, rank, adapter, params, adapter.merge(params, frozen)


@claim("D1", KIM, "ΔW = s W Θ_Bᵀ Θ_A W, and zero at the start")
@given(SEED, SIDE, SIDE, st.data())
def test_the_update_is_made_from_w_on_both_sides(seed, d_out, d_in, data):
    """Generic W up to 7 × 7 of any shape, rank and scale s, condition up to 1e3, any Θ. To 1e-14.

    The start is W, bitwise identical.
    """
    W, _, _, _, adapter, params, merged = trained_case(seed, d_out, d_in, data)
    exactly(np.array_equal(adapter.merge(*adapter.init(np.random.default_rng(seed), W)), W))
    M = params["Theta_B"].T @ params["Theta_A"]
    expected = adapter.alpha / adapter.rank * W @ M @ W
    within(np.abs(merged - W - expected), 1e-14 * (1 + np.abs(expected).max()))


@claim("D2", OURS, "ΔW stays in the column and row space of W: what W maps to 0, W' does")
@given(SEED, SIDE, SIDE, st.data())
def test_the_update_cannot_leave_the_spaces_of_w(seed, d_out, d_in, data):
    """Generic W up to 7 × 7 of any shape and rank, condition up to 1e3, any Θ. To 1e-14."""
    W, P, Q, rank, _, _, merged = trained_case(seed, d_out, d_in, data)
    size = 1e-14 * (np.linalg.norm(merged) + np.linalg.norm(W))
    within(np.linalg.norm(P[:, rank:].T @ merged), size, "columns")
    within(np.linalg.norm(merged @ Q[:, rank:]), size, "rows")


@claim("D2", OURS, "rank ΔW ≤ min(r, rank W) and rank W' ≤ rank W")
@given(SEED, SIDE, SIDE, st.data())
def test_the_rank_cannot_grow(seed, d_out, d_in, data):
    """Generic W up to 7 × 7 of any shape and rank, condition up to 1e3, any Θ.

    By singular values: those beyond the rank sum to 1e-14 of the norms or less.
    """
    W, _, _, rank, adapter, _, merged = trained_case(seed, d_out, d_in, data)
    size = 1e-14 * (np.linalg.norm(merged) + np.linalg.norm(W))
    spectrum = np.linalg.svd(merged - W, compute_uv=False)
    within(spectrum[min(adapter.rank, rank) :].sum(), size, "ΔW")
    within(np.linalg.svd(merged, compute_uv=False)[rank:].sum(), size, "W'")


@claim("D2", OURS, "invertible W: one layer reaches LoRA's every ΔW = B A")
@given(SEED, st.integers(1, 7), st.data())
def test_one_layer_with_an_invertible_w_reaches_what_lora_reaches(seed, d, data):
    """Generic A, B and W of condition up to 1e3, by Θ_A = A W⁻¹, Θ_B = (W⁻¹ B)ᵀ. To 1e-12."""
    rng = np.random.default_rng(seed)
    r = data.draw(st.integers(1, d))
    P, Q = (np.linalg.qr(rng.standard_normal((d, d)))[0] for _ in "PQ")
    values = 10 ** -rng.uniform(0, 3, d)
    W, inverse = (P * values) @ Q.T, (Q / values) @ P.T
    A, B = rng.standard_normal((r, d)), rng.standard_normal((d, r))
    merged = CondLoRA(r).merge({"Theta_A": A @ inverse, "Theta_B": (inverse @ B).T}, {"W": W})
    within(np.linalg.norm(merged - W - B @ A), 1e-12 * (1 + np.linalg.norm(B @ A)))


@claim("D3", KIM, "r (d_in + d_out) parameters for all N layers of a kind, LoRA N times that")
@given(st.integers(1, 5), SIDE, SIDE, st.data())
def test_counts(layers, d_out, d_in, data):
    """For 1 to 5 layers of two kinds, all of one shape up to 7 × 7, with key=kind. Exact."""
    r = data.draw(st.integers(1, min(d_out, d_in)))
    rng = np.random.default_rng(0)
    names = [f"blocks.{layer}.{part}.W" for layer in range(layers) for part in "qv"]
    weights = {name: weight(rng, (d_out, d_in)) for name in names}
    shared = attach(weights, {"*.W": CondLoRA(r)}, rng=rng, key=kind)
    exactly(sorted(shared.params) == ["blocks.*.q.W", "blocks.*.v.W"])
    exactly(shared.trainable == 2 * r * (d_out + d_in))
    exactly(attach(weights, {"*.W": LoRA(r)}, rng=rng).trainable == layers * shared.trainable)


def test_each_layer_gets_its_own_update_from_the_shared_parameters(rng):
    weights = {f"layers.{i}.W": weight(rng, (4, 4)) for i in range(3)}
    attached = attach(weights, {"*": CondLoRA(2)}, rng=rng, key=kind)
    params = {"layers.*.W": moved(rng, attached.params["layers.*.W"])}
    M = params["layers.*.W"]["Theta_B"].T @ params["layers.*.W"]["Theta_A"]
    for name, merged in attached.merge(params).items():
        W = weights[name]
        np.testing.assert_allclose(merged, W + W @ M @ W, atol=1e-13)


def test_what_is_frozen_is_w_itself_and_no_copy(rng):
    W = weight(rng, (3, 4))
    assert CondLoRA(2).init(rng, W)[1]["W"] is W


def test_unequal_shapes_under_one_key_are_an_error_that_names_the_layers(rng):
    weights = {"layers.0.W": weight(rng, (4, 4)), "layers.1.W": weight(rng, (4, 5))}
    names = r"^key: 'layers\.0\.W' and 'layers\.1\.W' share 'layers\.\*\.W'"
    with pytest.raises(ValueError, match=names + r".*\(2, 4\).*\(2, 5\)"):
        attach(weights, {"*": CondLoRA(2)}, rng=rng, key=kind)
