"""What a weight is: arrays, four bits and adapted weights keep one protocol, so adapters stack."""

import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, fields

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from autograd.test_util import check_grads
from support.draws import assert_normal
from support.watched import Watched

from minilora import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.adapters.scaling import alpha_over_sqrt_rank
from minilora.attachment import attach
from minilora.models.mlp import init_mlp, mlp
from minilora.models.transformer import init_transformer, transformer
from minilora.quantization import quantize
from minilora.testing.rows import moved
from minilora.train import value_and_grad
from minilora.weight import dense, describe, linear, normal, reflect

MAPS = [LoRA(2), SBoRAFA(2), SBoRAFB(2), HRA(2), HRAStrict(2), CondLoRA(2)]
every_map = pytest.mark.parametrize("adapter", MAPS, ids=describe)


class Plain:
    """An adapter that is no dataclass and inherits from nothing: W' = W + D."""

    def init(self, rng, W):
        return {"D": np.zeros(W.shape, W.dtype)}, {"W": W}

    def forward(self, params, frozen, x):
        return linear(frozen["W"], x) + linear(params["D"], x)

    def merge(self, params, frozen):
        return dense(frozen["W"]) + params["D"]


def as_trained(rng, tree):
    """Params perturbed as if trained."""
    return {key: moved(rng, own, size=0.3) for key, own in tree.items()}


@every_map
def test_forward_never_asks_for_the_matrix_of_a_weight(adapter, rng):
    """An adapted one would be merged for it, a four-bit one unpacked, in every step."""
    W = Watched(rng.standard_normal((6, 6)))
    params, frozen = adapter.init(rng, W)
    W.asked = 0
    adapter.forward(params, frozen, rng.standard_normal((2, 6)))
    assert W.asked == 0


@pytest.mark.parametrize("upper", [Full(), *MAPS], ids=describe)
@every_map
def test_adapters_stack_on_each_other_and_on_four_bits(adapter, upper, rng):
    """upper over adapter over NF4: forward is merge, in float64."""
    weights = {"layers.0.W": quantize(rng.standard_normal((6, 6))), "layers.0.b": np.zeros(6)}
    x = rng.standard_normal((2, 3, 6))
    for each in (adapter, upper):
        attached = attach(weights, {"layers.0.W": each}, rng=rng)
        params = as_trained(rng, attached.params)
        weights = attached.bind(params)
    expected = x @ attached.merge(params)["layers.0.W"].T
    bound = 1e-12 * np.max(np.abs(expected))
    np.testing.assert_allclose(mlp(weights, x), expected, rtol=0, atol=bound)


@every_map
@pytest.mark.parametrize("stacked", [False, True], ids=["on an array", "on an adapted one"])
def test_gradients_through_bind_and_merge_are_ours_autograds_and_each_others(adapter, stacked, rng):
    """The twin test: ours and autograd's, through the map and through the merged matrix."""
    weights = init_mlp(rng, (5, 6, 6, 3), np.float64)
    if stacked:
        below = attach(weights, {"layers.*.W": LoRA(1)}, rng=rng)
        weights = below.bind(as_trained(rng, below.params))
    attached = attach(weights, {"layers.[12].W": adapter}, rng=rng)
    params = as_trained(rng, attached.params)
    x = rng.standard_normal((4, 5))

    def through_bind(params, x):
        return anp.sum(anp.tanh(mlp(attached.bind(params), x)))

    def through_merge(params, x):
        return anp.sum(anp.tanh(mlp(attached.merge(params), x)))

    value, grads = value_and_grad(through_bind, params, x)
    others = [
        autograd.value_and_grad(through_bind)(params, x),
        value_and_grad(through_merge, params, x),
        autograd.value_and_grad(through_merge)(params, x),
    ]
    for other_value, other_grads in others:
        assert other_value == pytest.approx(value, rel=1e-12)
        for key, own in grads.items():
            for letter, grad in own.items():
                np.testing.assert_allclose(other_grads[key][letter], grad, rtol=1e-9, atol=1e-12)
    # autograd has no forward mode of np.linalg.inv, which HRA's forward needs.
    modes = ["rev"] if isinstance(adapter, (HRA, HRAStrict)) else ["fwd", "rev"]
    check_grads(through_bind, argnum=0, modes=modes, order=1)(params, x)


@every_map
def test_the_gradient_of_a_lower_adapter_flows_through_an_upper_one(adapter, rng):
    """Through its forward, and through its merge, where `dense` of the lower one is on the tape."""
    below = attach({"W": rng.standard_normal((6, 6))}, {"W": LoRA(2)}, rng=rng)
    upper, frozen = adapter.init(rng, below.bind()["W"])
    upper = moved(rng, upper, size=0.3)
    x = rng.standard_normal((4, 6))

    def through_forward(params):
        y = adapter.forward(upper, {**frozen, "W": below.bind(params)["W"]}, x)
        return anp.sum(anp.tanh(y))

    def through_merge(params):
        merged = adapter.merge(upper, {**frozen, "W": below.bind(params)["W"]})
        return anp.sum(anp.tanh(linear(merged, x)))

    params = as_trained(rng, below.params)
    _, one = value_and_grad(through_forward, params)
    _, other = value_and_grad(through_merge, params)
    for letter in "AB":
        assert np.max(np.abs(one["W"][letter])) > 1e-3
        np.testing.assert_allclose(one["W"][letter], other["W"][letter], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal_draws_are_independent_and_normally_distributed(dtype, rng):
    draws = normal(rng, (100, 120), 0.3, dtype)
    assert draws.dtype == dtype
    assert np.any(draws != draws.astype(np.float32)) == (dtype is np.float64)
    assert_normal(draws, 0.3)
    assert_normal(normal(rng, (2, 64, 64), 7.0, dtype).reshape(64, 128), 7.0)
    one, two, other = (normal(np.random.default_rng(s), (3, 4), 1.0, dtype) for s in (5, 5, 6))
    np.testing.assert_array_equal(one, two)
    assert np.all(one != other)


def test_reflect_is_a_reflection_of_every_row_whatever_the_length_of_u(rng):
    """u goes to −u, what is orthogonal to u stays, and a second time undoes the first."""
    W = rng.standard_normal((4, 5))
    before = W.copy()
    for length in (1e-3, 1.0, 1e3):
        u = length * rng.standard_normal(5)
        reflected = reflect(W, u)
        np.testing.assert_array_equal(W, before)
        np.testing.assert_allclose(reflected @ u, -(W @ u), rtol=1e-12)
        beside = W - np.outer(W @ u, u) / (u @ u)
        np.testing.assert_allclose(reflected + W, 2 * beside, atol=1e-13)
        np.testing.assert_allclose(reflect(reflected, u), W, atol=1e-13)
    assert reflect(W.astype(np.float32), u.astype(np.float32)).dtype == np.float32


def test_dense_is_the_matrix_of_any_weight(rng):
    W = rng.standard_normal((4, 5))
    four_bits = quantize(W)
    adapted = attach({"W": W}, {"W": LoRA(2)}, rng=rng).bind()["W"]
    assert dense(W) is W
    np.testing.assert_array_equal(dense(four_bits), np.asarray(four_bits))
    np.testing.assert_array_equal(dense(adapted), W)
    assert not np.shares_memory(dense(adapted), W)


def test_a_dense_copy_has_the_dtype_that_is_asked_for(rng):
    bound = attach(init_mlp(rng, (5, 4)), {"*.W": LoRA(2)}, rng=rng).bind()["layers.0.W"]
    assert np.asarray(bound).dtype == np.float32
    assert bound.__array__(np.float64).dtype == np.asarray(bound, np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.asarray(bound, np.float64), np.asarray(bound))
    wide = attach({"W": np.eye(3)}, {"W": LoRA(2)}, rng=rng).bind()["W"]
    for dtype in (np.float16, np.float32, np.float64):
        assert wide.__array__(dtype).dtype == np.asarray(wide, dtype).dtype == dtype


def test_autograds_jacobian_goes_through_bind(rng):
    weights = {"layers.0.W": rng.standard_normal((3, 4)), "layers.0.b": np.zeros(3)}
    attached = attach(weights, {"*.W": LoRA(2)}, rng=rng)
    own = attached.params["layers.0.W"]
    x = rng.standard_normal(4)

    def outputs(B):
        return mlp(attached.bind({"layers.0.W": {"A": own["A"], "B": B}}), x)

    jacobian = autograd.jacobian(outputs)(own["B"])
    expected = np.einsum("ij,k->ijk", np.eye(3), own["A"] @ x)
    np.testing.assert_allclose(jacobian, expected, rtol=0, atol=1e-13)


def test_an_adapted_weight_shows_what_it_is(rng):
    attached = attach(init_mlp(rng, (5, 4)), {"*.W": LoRA(2)}, rng=rng)
    bound = attached.bind()["layers.0.W"]
    assert repr(bound) == "Adapted(layers.0.W: 4 × 5 float32 with LoRA(rank=2))"
    assert repr(attached) == "Attached(LoRA(rank=2) on 1 weights, 18 trainable parameters of 24)"
    assert (bound.shape, bound.ndim, bound.dtype) == ((4, 5), 2, np.float32)
    assert repr(quantize(np.ones((2, 64)))) == "Quantized(2 × 64 float64 in 4.50 bits an entry)"
    assert len(repr(attached)) < 200


@pytest.mark.parametrize("adapter", [LoRA(2), SBoRAFA(2), SBoRAFB(2), CondLoRA(2)], ids=describe)
def test_repr_shows_what_one_would_type(adapter):
    assert repr(adapter) == f"{type(adapter).__name__}(rank=2)"
    assert eval(repr(adapter)) == adapter


@pytest.mark.parametrize("adapter", [Full(), *MAPS], ids=describe)
def test_an_adapter_is_a_value_that_nothing_changes(adapter):
    """Equal to what is made alike, also as the key of a dict, and to nothing else."""
    alike = type(adapter)(*(getattr(adapter, field.name) for field in fields(adapter)))
    assert adapter == alike
    assert {adapter: 1}[alike] == 1
    assert sum(adapter == other for other in [Full(), *MAPS]) == 1
    with pytest.raises(FrozenInstanceError):
        adapter.rank = 1


def test_any_class_with_the_three_methods_can_be_attached_and_printed(rng):
    weights = init_mlp(rng, (5, 4))
    attached = attach(weights, {"*": Plain()}, rng=rng)
    assert "Plain()" in str(attached)
    assert "Plain()" in repr(attached)
    x = rng.standard_normal((3, 5)).astype(np.float32)
    params = as_trained(rng, attached.params)
    merged = attached.merge(params)
    np.testing.assert_allclose(mlp(attached.bind(params), x), mlp(merged, x), atol=1e-5)


@dataclass(frozen=True)
class Masked:
    """An adapter whose choices are an array, a function and a number."""

    mask: np.ndarray
    rule: Callable = np.tanh
    size: float = 1.0


@dataclass(frozen=True)
class Sized:
    """An adapter whose defaults are often written or computed in another form."""

    size: float = 1000.0
    places: tuple = (1,)


class Named:
    """An adapter that is no dataclass and says itself what it is."""

    def __repr__(self):
        return "Named(3)"


class Borrowed:
    """An adapter that is no dataclass and uses `describe` as its repr."""

    __repr__ = describe


def test_describe_writes_an_adapter_as_one_would_type_it():
    assert describe(LoRA(4)) == "LoRA(rank=4)"
    assert describe(LoRA(4, alpha=8)) == "LoRA(rank=4, alpha=8)"
    by_root = "LoRA(rank=4, scaling=alpha_over_sqrt_rank)"
    assert describe(LoRA(4, scaling=alpha_over_sqrt_rank)) == by_root
    assert describe(HRA(3, odd=True)) == "HRA(rank=3, odd=True)"
    assert describe(Full()) == "Full()"
    assert describe(Masked(np.ones(2))) == "Masked(mask=[1. 1.])"
    assert describe(Masked(np.ones(2), np.exp, 2.0)) == "Masked(mask=[1. 1.], rule=exp, size=2.0)"
    assert describe(Plain()) == "Plain()"
    assert describe(Sized()) == describe(Sized(float("1e3"), tuple([1]))) == "Sized()"
    assert describe(Sized(1000)) == "Sized()"
    assert describe(Sized(1.5, (2,))) == "Sized(size=1.5, places=(2,))"
    assert describe(Named()) == "Named(3)"
    assert describe(Borrowed()) == "Borrowed()"


def test_any_class_is_named_in_an_error(rng):
    class Failing(Plain):
        def init(self, rng, W):
            raise ValueError("W is too large")

    with pytest.raises(ValueError, match=r"Failing\(\) on 'layers.0.W': W is too large"):
        attach(init_mlp(rng, (5, 4)), {"*.W": Failing()}, rng=rng)


VECTORS = ["blocks.0.norm1.gain", "blocks.0.ffn.up.b", "norm.bias"]


@every_map
@pytest.mark.parametrize("name", VECTORS)
def test_an_adapter_of_maps_on_a_vector_is_refused_by_name(adapter, name, rng):
    weights = init_transformer(rng, 7, 5, 8, 1)
    message = re.escape(f"{describe(adapter)} on {name!r}: W must be a matrix")
    with pytest.raises(ValueError, match=f"^{message}"):
        attach(weights, {name: adapter}, rng=rng)


@every_map
@pytest.mark.parametrize("name", ["embedding", "positions"])
@pytest.mark.parametrize("quantised", [False, True], ids=["array", "four bits"])
def test_an_adapter_of_maps_on_an_embedding_is_refused_by_name(adapter, name, quantised, rng):
    weights = init_transformer(rng, 7, 5, 8, 1)
    if quantised:
        weights[name] = quantize(weights[name])
    bound = attach(weights, {name: adapter}, rng=rng).bind()
    with pytest.raises(ValueError, match=rf"^{name}: .*{type(adapter).__name__}"):
        transformer(bound, np.array([[1, 2]]), heads=2)


def test_a_weight_that_a_model_adds_is_refused_by_name(rng):
    """Whatever stands on the left: an array, a box of autograd's, the weight itself."""
    square = attach({"bias": np.eye(3)}, {"bias": LoRA(1)}, rng=rng).bind()["bias"]
    for wrong in (
        lambda: np.ones(3) + square,
        lambda: square + np.ones(3),
        lambda: autograd.grad(lambda x: anp.sum(x + square))(np.ones(3)),
        lambda: autograd.grad(lambda x: anp.sum(x @ square))(np.ones(3)),
    ):
        message = r"^bias: the model computes with this weight .* LoRA\(rank=1\) .*Full\(\)"
        with pytest.raises(ValueError, match=message):
            wrong()


def test_full_trains_a_quantised_embedding_as_an_array(rng):
    weights = init_transformer(rng, 7, 5, 8, 1)
    weights["embedding"] = quantize(weights["embedding"])
    attached = attach(weights, {"embedding": Full()}, rng=rng)
    tokens = np.array([[1, 2]])
    expected = transformer(weights, tokens, heads=2)
    np.testing.assert_array_equal(transformer(attached.bind(), tokens, heads=2), expected)


def wrong_params():
    """What bind and merge refuse: (what is wrong, what the message has, change)."""
    rank = r"^params\['layers.0.W'\]\['A'\] .*\(2, 5\).*\(3, 5\)"
    yield "another rank", rank, {"A": np.ones((3, 5), np.float32)}
    yield "a broadcast", r"\['B'\].*\(4, 2\).*\(1, 2\)", {"B": np.ones((1, 2), np.float32)}
    yield "a scalar", r"\['B'\].*\(4, 2\)", {"B": np.float32(1)}
    yield "float64", r"\['A'\] must be finite float32.*float64", {"A": np.ones((2, 5))}
    yield "integers", r"\['A'\] must be finite float32.*int", {"A": np.ones((2, 5), int)}
    complex64 = r"\['A'\] must be finite float32.*complex"
    yield "complex", complex64, {"A": np.ones((2, 5), np.complex64)}
    yield "float16", r"\['A'\] must be .*float32.*float16", {"A": np.ones((2, 5), np.float16)}
    yield "NaN", r"\['B'\] must be finite", {"B": np.full((4, 2), np.nan, np.float32)}
    for value in (np.nan, np.inf, -np.inf):
        for place in ((0, 0), (1, 4)):
            A = np.ones((2, 5), np.float32)
            A[place] = value
            yield f"{value} at {place}", r"\['A'\] must be finite float32, got NaN or inf", {"A": A}
    yield "inf", r"\['B'\] must be finite", {"B": np.full((4, 2), np.inf, np.float32)}
    yield "a list", r"\['B'\].*list", {"B": [[0.0, 0.0]] * 4}
    yield "None", r"\['B'\].*NoneType", {"B": None}
    yield "one letter too many", r"\['A', 'B', 'C'\]", {"C": np.ones(1, np.float32)}


@pytest.mark.parametrize("use", ["bind", "merge"])
@pytest.mark.parametrize(
    "message, change", [pytest.param(m, c, id=i) for i, m, c in wrong_params()]
)
def test_params_of_another_form_are_a_value_error(use, message, change, rng):
    attached = attach(init_mlp(rng, (5, 4)), {"*.W": LoRA(2)}, rng=rng)
    wrong = {"layers.0.W": attached.params["layers.0.W"] | change}
    with pytest.raises(ValueError, match=message):
        getattr(attached, use)(wrong)


@pytest.mark.parametrize("use", ["bind", "merge"])
@pytest.mark.parametrize(
    "wrong", [{"layers.0.W": {"A": 1}}, {"layers.0.W": None}, [], None.__class__, {}], ids=repr
)
def test_params_without_a_letter_or_of_another_kind_are_a_value_error(use, wrong, rng):
    attached = attach(init_mlp(rng, (5, 4)), {"*.W": LoRA(2)}, rng=rng)
    with pytest.raises(ValueError, match=r"^params"):
        getattr(attached, use)(wrong)


def test_merging_the_upper_of_two_adapters_leaves_plain_weights_alone(rng):
    below = attach(init_mlp(rng, (5, 4, 3)), {"*.W": LoRA(2)}, rng=rng)
    upper = attach(below.bind(as_trained(rng, below.params)), {"layers.0.W": LoRA(1)}, rng=rng)
    assert all(isinstance(W, np.ndarray) for W in upper.merge().values())


def test_bind_and_merge_start_from_the_initial_params(rng):
    weights = init_mlp(rng, (5, 4))
    attached = attach(weights, {"*.W": LoRA(2)}, rng=rng)
    x = rng.standard_normal((3, 5)).astype(np.float32)
    np.testing.assert_array_equal(mlp(attached.bind(), x), mlp(weights, x))
    np.testing.assert_array_equal(mlp(attached.merge(), x), mlp(weights, x))


def test_wrong_shapes_are_seen_on_autograds_tape_too(rng):
    attached = attach(init_mlp(rng, (5, 4), np.float64), {"*.W": LoRA(2)}, rng=rng)
    wrong = {"layers.0.W": {"A": np.ones((3, 5)), "B": np.ones((4, 3))}}

    def loss(params):
        return anp.sum(mlp(attached.bind(params), np.ones(5)))

    message = r"^params\['layers.0.W'\]\['A'\]"
    with pytest.raises(ValueError, match=message):
        value_and_grad(loss, wrong)
    with pytest.raises(ValueError, match=message):
        autograd.grad(loss)(wrong)
    with pytest.raises(ValueError, match=message):
        value_and_grad(lambda params: anp.sum(attached.merge(params)["layers.0.W"]), wrong)


def test_another_dtype_is_seen_on_the_tape_too(rng):
    """A float64 array in a float32 model would make all later layers float64."""
    attached = attach(init_mlp(rng, (5, 4)), {"*.W": LoRA(2)}, rng=rng)
    wrong = {"layers.0.W": {"A": np.ones((2, 5)), "B": np.ones((4, 2), np.float32)}}
    with pytest.raises(ValueError, match=r"^params\['layers.0.W'\]\['A'\] .*float32, got float64"):
        value_and_grad(lambda p: anp.sum(mlp(attached.bind(p), np.ones(5, np.float32))), wrong)
