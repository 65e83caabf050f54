"""Adapters on the named weights of a model."""

import numpy as np
import pytest

from minilora.adapters import Full, LoRA
from minilora.attach import attach, kind
from minilora.models.mlp import init_mlp, mlp
from minilora.train import value_and_grad


@pytest.fixture
def weights(rng):
    return init_mlp(rng, (5, 6, 6, 3), np.float64)


def as_trained(rng, tree):
    return {key: {name: a + 0.3 * rng.standard_normal(a.shape) for name, a in own.items()} for key, own in tree.items()}


def test_the_untrained_model_computes_what_it_computed_before(weights, rng):
    attached = attach(weights, {"*.W": LoRA(2)}, rng)
    x = rng.standard_normal((4, 5))
    np.testing.assert_array_equal(mlp(attached.bind(attached.params), x), mlp(weights, x))


def test_merged_weights_compute_what_bound_ones_compute(weights, rng):
    attached = attach(weights, {"*.W": LoRA(2), "*.b": Full()}, rng)
    params = as_trained(rng, attached.params)
    x = rng.standard_normal((4, 5))
    merged = attached.merge(params)
    assert {name: W.shape for name, W in merged.items()} == {name: W.shape for name, W in weights.items()}
    assert np.max(np.abs(mlp(merged, x) - mlp(weights, x))) > 0.1
    np.testing.assert_allclose(mlp(attached.bind(params), x), mlp(merged, x), rtol=0, atol=1e-12)


def test_only_the_chosen_weights_are_adapted(weights, rng):
    attached = attach(weights, {"layers.[12].W": LoRA(2)}, rng)
    assert list(attached.params) == ["layers.1.W", "layers.2.W"]
    bound = attached.bind(attached.params)
    assert [name for name, W in bound.items() if callable(W)] == ["layers.1.W", "layers.2.W"]
    assert all(bound[name] is weights[name] for name in weights if name not in attached.params)


def test_nothing_given_is_changed(weights, rng):
    before = {name: W.copy() for name, W in weights.items()}
    attached = attach(weights, {"*": Full()}, rng)
    attached.bind(as_trained(rng, attached.params))
    merged = attached.merge(as_trained(rng, attached.params))
    assert all(attached.weights[name] is weights[name] for name in weights)
    for name, W in weights.items():
        np.testing.assert_array_equal(W, before[name])
        assert not np.shares_memory(merged[name], W)


def test_equal_keys_train_the_same_arrays(weights, rng):
    """Two layers share A and B: the gradient of the shared arrays is the sum of what each layer would have got."""
    square = {name: W for name, W in weights.items()}
    square["layers.2.W"] = rng.standard_normal((6, 6))
    square["layers.2.b"] = np.zeros(6)
    patterns, x = {"layers.[12].W": LoRA(2)}, rng.standard_normal((4, 5))
    shared = attach(square, patterns, rng, key=kind)
    own = attach(square, patterns, rng)
    assert list(shared.params) == ["layers.*.W"]
    together = as_trained(rng, shared.params)["layers.*.W"]
    _, one = value_and_grad(lambda p: (mlp(shared.bind(p), x) ** 2).sum(), {"layers.*.W": together})
    _, two = value_and_grad(lambda p: (mlp(own.bind(p), x) ** 2).sum(), {name: together for name in own.params})
    for letter in "AB":
        summed = two["layers.1.W"][letter] + two["layers.2.W"][letter]
        np.testing.assert_allclose(one["layers.*.W"][letter], summed, rtol=1e-10, atol=1e-12)


def test_kind_forgets_the_number_of_the_layer():
    assert kind("blocks.3.attention.q.W") == kind("blocks.11.attention.q.W") == "blocks.*.attention.q.W"
    assert kind("blocks.3.attention.k.W") != kind("blocks.3.attention.q.W")


def test_counts(weights, rng):
    attached = attach(weights, {"layers.1.W": LoRA(2), "layers.*.b": Full()}, rng)
    assert attached.trained == 2 * (6 + 6) + 6 + 6 + 3
    assert attached.total == 5 * 6 + 6 + 6 * 6 + 6 + 6 * 3 + 3
    assert attached.share == attached.trained / attached.total
    square = {"layers.0.W": np.eye(4), "layers.1.W": np.eye(4)}
    assert attach(square, {"*": LoRA(2)}, rng, key=kind).trained == 2 * 8


def test_printing_says_what_is_trained(rng):
    weights = init_mlp(rng, (5, 6, 6, 6, 3))
    text = str(attach(weights, {"layers.[12].W": LoRA(2, alpha=4), "layers.3.b": Full()}, rng, key=kind))
    assert text.splitlines() == [
        "weight      shape                adapter                 trained",
        "layers.1.W  6 × 6  LoRA(rank=2, alpha=4)                      24",
        "layers.2.W  6 × 6  LoRA(rank=2, alpha=4)  shared with layers.1.W",
        "layers.3.b      3                 Full()                       3",
        "Frozen: 5 other arrays.",
        "Trained: 27 numbers, 19.15% of the model's 141.",
    ]


def wrong_calls():
    weights = init_mlp(np.random.default_rng(0), (5, 6, 6, 3), np.float64)
    rng = np.random.default_rng(0)
    attached = attach(weights, {"layers.0.W": LoRA(2)}, rng)
    yield "no match", r"adapters.*'hidden\.\*'.*layers\.0\.W", lambda: attach(weights, {"hidden.*": LoRA(2)}, rng)
    yield "two matches", r"adapters.*'layers\.0\.W'", lambda: attach(weights, {"*.W": LoRA(2), "*0*": Full()}, rng)
    yield "rank too large", r"LoRA\(rank=4\) on 'layers\.2\.W': rank", lambda: attach(weights, {"*.W": LoRA(4)}, rng)
    yield "LoRA on a bias", r"'layers\.1\.b': W must be a matrix", lambda: attach(weights, {"*1.b": LoRA(1)}, rng)
    yield (
        "shared shapes",
        r"key: 'layers\.0\.W' and 'layers\.1\.W' share 'layers\.\*\.W'",
        lambda: attach(weights, {"*.W": LoRA(2)}, rng, key=kind),
    )
    yield (
        "shared adapters",
        r"key: 'layers\.1\.b' and 'layers\.0\.b'",
        lambda: attach({**weights, "layers.1.b": np.ones((6, 6)), "layers.0.b": np.ones((6, 6))},
                       {"*1.b": LoRA(2), "*0.b": LoRA(2, alpha=3)}, rng, key=kind),
    )  # fmt: skip
    yield "foreign params", r"params.*layers\.0\.W", lambda: attached.bind({"layers.1.W": {}})
    yield "missing params", r"params.*layers\.0\.W", lambda: attached.merge({})


@pytest.mark.parametrize("message, call", [pytest.param(*rest, id=wrong) for wrong, *rest in wrong_calls()])
def test_a_mistake_is_a_value_error_that_names_the_argument(message, call):
    with pytest.raises(ValueError, match=message):
        call()
