"""CondLoRA: what one shared linear layer can and cannot make of each layer's W."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora.adapters import CondLoRA, LoRA
from minilora.attachment import attach, kind
from minilora.testing.claims import KIM, claim, exactly, within
from minilora.testing.rows import moved, weight

SEED = st.integers(0, 2**32 - 1)
SIDE = st.integers(1, 7)


def deficient(rng, d_out, d_in, rank):
    """A random matrix of the given rank."""
    return rng.standard_normal((d_out, rank)) @ rng.standard_normal((rank, d_in)) / rank


@claim("D1", KIM, "ΔW = W M W with M = Θ_Bᵀ Θ_A, of rank at most min(r, rank W), any shape")
@claim("D2", KIM, "ΔW stays in the column and row space of W, so rank W' ≤ rank W")
@given(SEED, SIDE, SIDE, st.data())
def test_the_update_cannot_leave_the_spaces_of_w(seed, d_out, d_in, data):
    """For any W, rank-deficient ones too, and any Θ_A, Θ_B."""
    rng = np.random.default_rng(seed)
    most = min(d_out, d_in)
    rank = data.draw(st.integers(1, most))
    r = data.draw(st.integers(1, most))
    W = deficient(rng, d_out, d_in, rank)
    adapter = CondLoRA(r)
    params, frozen = adapter.init(rng, W)
    exactly(np.array_equal(adapter.merge(params, frozen), W))
    params = moved(rng, params)
    merged = adapter.merge(params, frozen)
    delta = merged - W
    expected = W @ params["Theta_B"].T @ params["Theta_A"] @ W
    within(np.abs(delta - expected), 1e-10 * (1 + np.abs(delta).max()))
    left, _, right = np.linalg.svd(W)
    size = 1e-7 * (np.linalg.norm(delta) + np.linalg.norm(W))
    within(np.linalg.norm(left[:, rank:].T @ delta), size)
    within(np.linalg.norm(delta @ right[rank:].T), size)
    spectrum = np.linalg.svd(delta, compute_uv=False)
    within(spectrum[min(r, rank) :].sum(), size)
    within(np.linalg.svd(merged, compute_uv=False)[rank:].sum(), size)


@claim("D3", KIM, "r (d_in + d_out) parameters for all N layers of a kind, LoRA N times that")
@given(st.integers(1, 5), SIDE, SIDE, st.data())
def test_counts(layers, d_out, d_in, data):
    """For any number of layers of equal shape that share their key."""
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


def test_unequal_shapes_under_one_key_are_an_error_that_names_the_layers(rng):
    weights = {"layers.0.W": weight(rng, (4, 4)), "layers.1.W": weight(rng, (4, 5))}
    names = r"^key: 'layers\.0\.W' and 'layers\.1\.W' share 'layers\.\*\.W'"
    with pytest.raises(ValueError, match=names + r".*\(2, 4\).*\(2, 5\)"):
        attach(weights, {"*": CondLoRA(2)}, rng=rng, key=kind)
