"""The gradient, Adam, the losses and the loop, each against something independent of it."""

import io
import math
import sys
from collections import OrderedDict
from itertools import product

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import value_and_grad as autograd_value_and_grad
from autograd.core import VJPNode
from autograd.extend import defvjp, primitive
from autograd.test_util import check_grads
from autograd.tracer import getval, new_box, toposort, trace_stack
from support.draws import assert_equally_often

from minilora.adapters import HRA, CondLoRA, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.attachment import attach
from minilora.models.mlp import init_mlp, mlp
from minilora.ops import cross_entropy
from minilora.testing.rows import moved
from minilora.train import AdamState, accuracy, adam, adam_start, fit, learning_rate, value_and_grad
from minilora.train.loop import show_progress
from minilora.train.optimizer import flatten
from minilora.train.tape import leaves, rebuild


@pytest.fixture
def params(rng):
    return {
        "one": {"A": rng.standard_normal((2, 3)), "B": rng.standard_normal(4)},
        "two": {"A": rng.standard_normal(1)},
    }


def loss(params, x):
    product = anp.dot(params["one"]["A"], x) * anp.sum(params["one"]["B"] ** 2)
    return anp.sum(anp.tanh(product)) + params["one"]["B"][0] * params["two"]["A"][0]


def test_value_and_grad_is_autograds(params, rng):
    x = rng.standard_normal(3)
    value, grads = value_and_grad(loss, params, x)
    expected, expected_grads = autograd_value_and_grad(loss)(params, x)
    assert value == expected
    for key, own in expected_grads.items():
        for name, grad in own.items():
            np.testing.assert_allclose(grads[key][name], grad, rtol=1e-13)


def test_an_array_that_the_loss_does_not_use_has_gradient_zero(rng):
    params = {"used": np.ones(2), "idle": np.ones((2, 3))}
    _, grads = value_and_grad(lambda p: anp.sum(p["used"] ** 2), params)
    np.testing.assert_array_equal(grads["idle"], np.zeros((2, 3)))
    np.testing.assert_array_equal(grads["used"], [2, 2])


def test_an_array_that_the_loss_uses_twice_gets_the_sum_of_both_gradients(rng):
    x = rng.standard_normal(3)
    _, grads = value_and_grad(lambda a: anp.sum(a * a) + anp.sum(3.0 * a), x)
    np.testing.assert_allclose(grads, 2 * x + 3, rtol=1e-15)


def test_an_unused_array_and_the_seed_of_the_gradient_keep_float32():
    """Backwards too all arrays are float32, not only what comes out at the end."""
    seen = []

    @primitive
    def spy(x):
        return x

    def noting(y, x):
        return lambda g: seen.append(g.dtype) or g

    defvjp(spy, noting)
    params = {"used": np.ones(2, np.float32), "idle": np.ones((2, 3), np.float32)}
    _, grads = value_and_grad(lambda p: anp.sum(spy(p["used"]) ** 2), params)
    assert seen == [np.float32]
    assert {grad.dtype for grad in grads.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_loss_is_one_number_of_any_shape(shape, dtype, rng):
    start = {"a": np.array([2.0, 3.0], dtype)}

    def loss(params):
        return anp.reshape(anp.sum(params["a"] ** 2), shape)

    value, grads = value_and_grad(loss, start)
    np.testing.assert_array_equal(value, np.full(shape, 13))
    np.testing.assert_array_equal(grads["a"], [4, 6])
    losses = []
    settings = {"steps": 1, "batch": 1, "lr": 0.1, "record": losses.append}
    found = fit(lambda params, x: loss(params), start, ONES, rng=rng, **settings)
    assert losses == [13.0]
    assert found["a"].dtype == dtype


def test_a_tape_may_be_long():
    def loss(params):
        x = params["a"]
        for _ in range(1500):
            x = 1.0 * x
        return anp.sum(x)

    _, grads = value_and_grad(loss, {"a": np.ones(2)})
    np.testing.assert_array_equal(grads["a"], [1, 1])


# A number in params; one computed from an array. Each is used twice, and twice in one product.
SCALARS = {
    "a parameter": (lambda s: s**3 + s * anp.sin(s) + s * s, ()),
    "a parameter of one entry": (lambda a: anp.sum(a * a * a + a * anp.sin(a)), (1,)),
    "computed": (lambda a: anp.sum(a * a) * anp.sum(a * a) + anp.sin(anp.sum(a * a)), (3,)),
    "computed and kept": (lambda a: (lambda t: t * t + t * anp.sin(t))(anp.sum(a**3)), (3,)),
}


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("size", [0, 1], ids=["at zero", "elsewhere"])
def test_all_derivatives_of_a_number_that_is_used_twice_are_autograds(name, size, rng):
    """The value, the first, the second and the third derivative, ours and autograd's own.

    At zero some gradients vanish, and their own gradients do not.
    """
    function, shape = SCALARS[name]
    start = np.array(size * rng.standard_normal(shape))
    v = rng.standard_normal(shape)

    def slope(differentiate, function):
        return lambda a: anp.sum(differentiate(function, a)[1] * v)

    def ours(function, a):
        value, grads = value_and_grad(lambda p: function(p["a"]), {"a": a})
        return value, grads["a"]

    def theirs(function, a):
        return autograd_value_and_grad(function)(a)

    one = other = function
    for _ in range(3):
        found = ours(one, start)
        expected = theirs(other, start)
        assert found[0] == pytest.approx(expected[0], rel=1e-12)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-10, atol=1e-10)
        one = slope(ours, one)
        other = slope(theirs, other)


def test_the_loss_itself_can_be_differentiated_again(rng):
    """Gradient of value² + ‖gradient‖²: 2 f f′ + 2 f′ f″ for f = a³."""

    def outer(params):
        value, grads = value_and_grad(lambda p: anp.sum(p["a"] ** 3), params)
        return value**2 + anp.sum(grads["a"] ** 2)

    a = np.array([0.7])
    expected = 6 * a**5 + 36 * a**3
    np.testing.assert_allclose(value_and_grad(outer, {"a": a})[1]["a"], expected)
    np.testing.assert_allclose(autograd_value_and_grad(outer)({"a": a})[1]["a"], expected)


def test_params_may_be_any_kind_of_dict():
    params = OrderedDict({7: OrderedDict(c=np.ones(2)), "a": np.ones(1)})
    _, grads = value_and_grad(lambda p: anp.sum(p[7]["c"]) * 3 + anp.sum(p["a"]), params)
    np.testing.assert_array_equal(flatten(grads), [3, 3, 1])
    found, _ = adam(params, grads, adam_start(params), lr=0.1)
    np.testing.assert_allclose(flatten(found), 0.9)
    assert [list(found), list(found[7])] == [[7, "a"], ["c"]]


def test_a_gradient_can_be_differentiated_again(params, rng):
    """The gradient of gᵀv is the Hessian times v: ours, autograd's, and one inside the other."""
    x = rng.standard_normal(3)
    v = rng.standard_normal((2, 3))

    def along_v(differentiate):
        def slope(A):
            of_A = {"one": {**params["one"], "A": A}, "two": params["two"]}
            _, grads = differentiate(lambda params: loss(params, x), of_A)
            return anp.sum(grads["one"]["A"] * v)

        return slope

    def of_autograd(loss, params):
        return autograd_value_and_grad(loss)(params)

    A = params["one"]["A"]
    value, found = value_and_grad(along_v(value_and_grad), A)
    check_grads(along_v(value_and_grad), modes=["rev"], order=1)(A)
    expected_value, expected = autograd_value_and_grad(along_v(of_autograd))(A)
    assert value == pytest.approx(expected_value, rel=1e-13)
    assert value.dtype == found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    _, inside = autograd_value_and_grad(along_v(value_and_grad))(A)
    assert inside.dtype == np.float64
    np.testing.assert_allclose(inside, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_second_derivative_goes_through_a_network_and_keeps_the_dtype(dtype, rng):
    weights = init_mlp(rng, (3, 4, 2), dtype)
    attached = attach(weights, {"*.W": LoRA(1)}, rng=rng)
    params = {key: moved(rng, own) for key, own in attached.params.items()}
    x = rng.standard_normal((5, 3)).astype(dtype)
    labels = rng.integers(2, size=5)

    def network_loss(params):
        return cross_entropy(mlp(attached.bind(params), x), labels)

    def squared_slope(params):
        _, grads = value_and_grad(network_loss, params)
        return sum(anp.sum(grad**2) for own in grads.values() for grad in own.values())

    value, second = value_and_grad(squared_slope, params)
    assert {grad.dtype for grad in [value, *leaves(second)]} == {np.dtype(dtype)}
    assert all(np.any(grad) for grad in leaves(second))
    if dtype is np.float64:
        direction = [rng.standard_normal(leaf.shape) for leaf in leaves(params)]
        ends = []
        for size in (0.5e-5, -0.5e-5):
            steps = [leaf + size * d for leaf, d in zip(leaves(params), direction)]
            ends.append(squared_slope(rebuild(params, iter(steps))))
        slope = sum(np.sum(leaf * d) for leaf, d in zip(leaves(second), direction))
        assert slope == pytest.approx((ends[0] - ends[1]) / 1e-5, rel=1e-6)


def wrong_losses():
    """(what is wrong, the error, what the message says, loss, params)."""
    good = {"A": np.ones(2)}

    def square(params):
        return anp.sum(params["A"] ** 2)

    yield "a constant", ValueError, "^loss does not depend on params", lambda p: 1.0, good
    yield "params", ValueError, "^loss does not depend on params", lambda p: p, good
    vector = r"^loss must be one number, got shape \(2,\)"
    yield "a vector", ValueError, vector, lambda p: 2 * p["A"], good
    nothing = r"^loss must be one number, got shape \(0,\)"
    yield "nothing", ValueError, nothing, lambda p: 2 * p["A"][:0], good
    yield "no array", ValueError, "^params must hold at least one array", square, {}
    yield "an empty part", ValueError, "^params must hold at least one array", square, {"A": {}}
    for name, leaf in {
        "int64": np.ones(2, int),
        "bool": np.ones(2, bool),
        "float16": np.ones(2, np.float16),
        "complex128": np.ones(2, complex),
        str(np.dtype(np.longdouble)): np.ones(2, np.longdouble),
        "list": [1.0, 1.0],
        "tuple": (np.ones(2), np.ones(2)),
        "float": 1.0,
        "NoneType": None,
    }.items():
        message = f"^params must be arrays of float32 or float64, got {name}: use np.float32"
        yield f"params of {name}", ValueError, message, square, {"A": leaf}
        yield f"params of {name} beside others", ValueError, message, square, {**good, "B": leaf}


WRONG_LOSSES = [pytest.param(*rest, id=wrong) for wrong, *rest in wrong_losses()]


@pytest.mark.parametrize("error, message, loss, params", WRONG_LOSSES)
def test_what_has_no_gradient_is_an_error(error, message, loss, params):
    with pytest.raises(error, match=message):
        value_and_grad(loss, params)


@pytest.mark.parametrize("leaf", [np.ones(2, int), np.ones(2, np.float16), [1.0]], ids=repr)
def test_nothing_is_trained_on_integers_or_float16(leaf, rng):
    params = {"A": leaf}
    data = (np.ones((4, 1)),)
    with pytest.raises(ValueError, match=r"^params must be arrays of float32 or float64"):
        adam_start(params)
    with pytest.raises(ValueError, match=r"^params must be arrays of float32 or float64"):
        fit(lambda p, x: anp.sum(x), params, data, rng=rng, steps=1, batch=1, lr=1)


def test_a_loss_that_depends_on_outer_params_alone_is_an_error():
    def outer(a):
        with pytest.raises(ValueError, match=r"^loss does not depend on params"):
            value_and_grad(lambda p: anp.sum(a), {"A": np.ones(2)})
        return anp.sum(a)

    value_and_grad(outer, np.ones(3))


def test_adam_is_kingma_and_bas_algorithm(params, rng):
    """Three steps against algorithm 1, written with loops over single parameters."""
    theta = flatten(params).tolist()
    m = [0.0] * len(theta)
    v = [0.0] * len(theta)
    state = adam_start(params)
    for t in (1, 2, 3):
        grads = random_like(rng, params)
        flat = flatten(grads).tolist()
        for i, g in enumerate(flat):
            m[i] = 0.9 * m[i] + 0.1 * g
            v[i] = 0.999 * v[i] + 0.001 * g * g
            theta[i] -= 0.02 * (m[i] / (1 - 0.9**t)) / (math.sqrt(v[i] / (1 - 0.999**t)) + 1e-8)
        params, state = adam(params, grads, state, lr=0.02)
    assert state.steps == 3
    np.testing.assert_allclose(flatten(params), theta, rtol=1e-12)
    np.testing.assert_allclose(state.mean, m, rtol=1e-13)
    np.testing.assert_allclose(state.square, v, rtol=1e-13)


@pytest.mark.parametrize("steps", [9, 999, 50_000])
def test_adam_counts_steps_without_end(steps, rng):
    """The formula for step t = steps + 1, from any state."""
    g, theta, m, v = rng.random((4, 5))
    found, state = adam({"w": theta}, {"w": g}, AdamState(steps, m, v), lr=0.1)
    t = steps + 1
    m_hat = (0.9 * m + 0.1 * g) / (1 - 0.9**t)
    v_hat = (0.999 * v + 0.001 * g * g) / (1 - 0.999**t)
    assert state.steps == t
    np.testing.assert_allclose(
        found["w"], theta - 0.1 * m_hat / (np.sqrt(v_hat) + 1e-8), rtol=1e-13
    )


def test_params_may_hold_empty_arrays():
    params = {"none": np.ones((0, 3)), "w": np.ones(2), "no": np.ones(0), "b": np.ones((1, 1))}
    _, grads = value_and_grad(lambda p: anp.sum(p["w"]) + anp.sum(p["none"]), params)
    found, _ = adam(params, grads, adam_start(params), lr=0.1)
    assert [a.shape for a in leaves(found)] == [a.shape for a in leaves(params)]
    np.testing.assert_allclose(flatten(found), [0.9, 0.9, 1.0])


def random_like(rng, tree):
    """A nested dict of the form of tree with random entries."""
    return rebuild(tree, (rng.standard_normal(leaf.shape) for leaf in leaves(tree)))


def reordered(tree):
    """The same nested dict with its keys in reverse order."""
    if isinstance(tree, dict):
        return {key: reordered(tree[key]) for key in reversed(tree)}
    return tree


def test_adam_matches_gradients_to_params_by_name(rng):
    """Whatever the order of the keys, also where the arrays that could be confused are alike."""
    params = {"one": {"A": np.ones(2), "B": np.ones(2)}, "two": {"A": np.ones(2)}}
    state = adam_start(params)
    expected = params
    found = params
    expected_state = state
    for _ in range(3):
        grads = random_like(rng, params)
        expected, expected_state = adam(expected, grads, expected_state, lr=0.1)
        found, state = adam(found, reordered(grads), state, lr=0.1)
    for key, own in expected.items():
        for letter, array in own.items():
            np.testing.assert_array_equal(found[key][letter], array)
    np.testing.assert_array_equal(state.mean, expected_state.mean)


def test_adams_decay_and_eps_are_arguments(params, rng):
    """With decays 0 a step is −lr g / (|g| + eps)."""
    state = adam_start(params)
    expected = flatten(params)
    for _ in range(2):
        grads = random_like(rng, params)
        params, state = adam(params, grads, state, lr=0.1, decay=(0.0, 0.0), eps=0.5)
        expected = expected - 0.1 * flatten(grads) / (np.abs(flatten(grads)) + 0.5)
    np.testing.assert_allclose(flatten(params), expected)


def test_adam_changes_nothing_that_it_was_given(params):
    before = rebuild(params, (leaf.copy() for leaf in leaves(params)))
    state = adam_start(params)
    _, later = adam(params, before, state, lr=0.1)
    assert (state.steps, later.steps) == (0, 1)
    assert not np.any(state.mean)
    assert not np.any(state.square)
    np.testing.assert_array_equal(flatten(params), flatten(before))


def test_adam_matches_entries_to_entries_whatever_their_order_in_memory(rng):
    W = rng.standard_normal((3, 4))
    grads = {"W": rng.standard_normal((3, 4))}
    state = adam_start({"W": W})
    expected, _ = adam({"W": W}, grads, state, lr=0.1, eps=30.0)
    for a, g in ((np.asfortranarray(W), grads["W"]), (W, np.asfortranarray(grads["W"]))):
        found, _ = adam({"W": a}, {"W": g}, state, lr=0.1, eps=30.0)
        np.testing.assert_array_equal(found["W"], expected["W"])


def test_adam_keeps_the_dtype_of_every_array(params, rng):
    """Also where they differ: the step is taken in the wider one."""
    params["two"]["A"] = params["two"]["A"].astype(np.float32)
    new, _ = adam(params, params, adam_start(params), lr=0.1)
    assert [a.dtype for a in leaves(new)] == [a.dtype for a in leaves(params)]
    before = leaves(params)[2]
    assert leaves(new)[2] == pytest.approx(before - 0.1 * np.sign(before), abs=1e-6)


def wrong_grads():
    """(what is wrong, what the message says, grads for the params of the fixture)."""
    one = {"A": np.ones((2, 3)), "B": np.ones(4)}
    two = {"A": np.ones(1)}
    column = {**one, "B": np.ones((4, 1))}
    yield "a column", r"^grads\['one'\]\['B'\] .*\(4,\), got \(4, 1\)", {"one": column, "two": two}
    yield "a missing key", r"^grads .*\['one', 'two'\], got \['one'\]", {"one": one}
    more = {"one": one, "two": two, "three": two}
    yield "a key too many", r"^grads .*got \['one', 'three', 'two'\]", more
    letter = {"one": one, "two": {"B": np.ones(1)}}
    yield "another letter", r"^grads\['two'\] .*\['A'\], got \['B'\]", letter
    yield "a list", r"^grads .*got list", [one, two]
    yield "an array for a dict", r"^grads\['two'\] .*got ndarray", {"one": one, "two": np.ones(1)}
    number = {"one": one, "two": {"A": 1.0}}
    yield "a number for an array", r"^grads\['two'\]\['A'\] .*got float", number


WRONG_GRADS = [pytest.param(*rest, id=wrong) for wrong, *rest in wrong_grads()]


@pytest.mark.parametrize("message, grads", WRONG_GRADS)
def test_adam_refuses_gradients_of_another_form(message, grads, params):
    with pytest.raises(ValueError, match=message):
        adam(params, grads, adam_start(params), lr=0.1)


@pytest.mark.parametrize("lr", [0, -0.1, math.nan, math.inf, "0.1", None])
def test_adam_refuses_an_impossible_learning_rate(lr, params):
    with pytest.raises(ValueError, match=r"^lr must be a positive number"):
        adam(params, params, adam_start(params), lr=lr)


def test_adam_refuses_a_state_of_other_params(params):
    with pytest.raises(ValueError, match=r"^state must come from adam_start\(params\)"):
        adam(params, params, None, lr=0.1)
    other = adam_start({"A": np.ones(3)})
    with pytest.raises(ValueError, match=r"^state is for 3 parameters, but params has 11"):
        adam(params, params, other, lr=0.1)


@pytest.mark.parametrize(
    "adapter, most",
    [
        (LoRA(8), 27),
        (SBoRAFA(8), 25),
        (SBoRAFB(8), 27),
        (HRA(8), 48),
        (HRAStrict(8), 48),
        (CondLoRA(8), 35),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_step_writes_few_nodes_on_the_tape(adapter, most, rng):
    """Four adapted layers, ReLU, cross-entropy: for small matrices a step costs as its nodes do."""
    attached = attach(init_mlp(rng, (16,) * 5), {"layers.*.W": adapter}, rng=rng)
    x = rng.standard_normal((8, 16)).astype(np.float32)
    labels = rng.integers(16, size=8)
    with trace_stack.new_trace() as trace:
        boxes = [new_box(leaf, trace, VJPNode.new_root()) for leaf in leaves(attached.params)]
        end = cross_entropy(mlp(attached.bind(rebuild(attached.params, iter(boxes))), x), labels)
    assert sum(len(node.parents) > 0 for node in toposort(end._node)) <= most


def test_accuracy_counts_the_rows_that_are_right():
    logits = np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [0.0, 5.0]])
    found = accuracy(logits, np.array([1, 0, 0, 1]))
    assert found == 0.75
    assert type(found) is float


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("shift", [-100, 0, 100])
def test_only_the_order_of_the_logits_of_a_row_counts(shift, dtype, rng):
    """Whatever their signs; 7 rows, so that no rounding of the fraction passes."""
    logits = np.stack([rng.permutation(4) for _ in range(7)]) - 2
    labels = np.argmax(logits, axis=1)
    labels[[0, 4]] = (labels[[0, 4]] + 1) % 4
    assert accuracy((logits + shift).astype(dtype), labels) == 5 / 7


def test_logits_may_differ_in_the_last_digit_alone():
    next_to_one = np.nextafter(1.0, 2.0)
    assert accuracy(np.array([[1.0, next_to_one], [next_to_one, 1.0]]), [1, 1]) == 0.5


def test_of_equal_logits_the_first_counts_as_the_largest():
    """So that a model which tells nothing apart is not right everywhere."""
    assert accuracy(np.zeros((4, 3)), [0, 1, 2, 0]) == 0.5
    assert accuracy(np.array([[0.0, 1.0, 1.0]]), [2]) == 0.0
    assert accuracy(np.array([[0.0, 1.0, 1.0]]), [1]) == 1.0


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_the_accuracy_of_logits_that_are_not_finite_is_an_error(wrong):
    with pytest.raises(ValueError, match=r"^logits must be finite"):
        accuracy(np.array([[0.0, 1.0], [0.0, wrong]]), np.array([1, 0]))


@pytest.mark.parametrize(
    "logits", [np.ones(2), np.ones((1, 2, 3)), np.ones((0, 3)), [[1.0]]], ids=repr
)
def test_the_accuracy_of_no_rows_of_classes_is_an_error(logits):
    with pytest.raises(ValueError, match=r"^logits must be an array \(n, classes\)"):
        accuracy(logits, np.zeros(len(logits), int))


@pytest.mark.parametrize("measure", [cross_entropy, accuracy])
@pytest.mark.parametrize(
    "labels",
    [[0, 3], [-1, 0], [0.0, 1.0], [0, 1, 2], [[0, 1]], [True, False], ["0", "1"], [None, 0]],
    ids=str,
)
def test_impossible_labels_are_a_value_error(measure, labels):
    with pytest.raises(ValueError, match=r"^labels "):
        measure(np.zeros((2, 3)), np.array(labels))


@pytest.mark.parametrize("measure", [cross_entropy, accuracy])
def test_labels_may_be_any_integers(measure, rng):
    logits = rng.standard_normal((3, 4))
    expected = measure(logits, np.array([0, 3, 1]))
    assert measure(logits, [0, 3, 1]) == measure(logits, np.uint8([0, 3, 1])) == expected


def test_the_learning_rate_rises_linearly_and_falls_as_a_cosine():
    rates = [learning_rate(step, 100, peak=2.0) for step in range(100)]
    np.testing.assert_allclose(rates[:5], [0.4, 0.8, 1.2, 1.6, 2.0])
    np.testing.assert_allclose(rates[5:], [1 + math.cos(math.pi * i / 95) for i in range(95)])
    assert learning_rate(0, 1, peak=2.0) == learning_rate(1, 2, peak=2.0) == 2.0


@pytest.mark.parametrize(
    "steps, warmup, rise",
    [(9, 0.25, 2), (11, 0.25, 3), (10, 0.5, 5), (3, 0.05, 1), (10, 0, 1), (10, 1, 10), (1, 1, 1)],
)
def test_the_rise_takes_the_nearest_whole_number_of_steps_and_at_least_one(steps, warmup, rise):
    rates = [learning_rate(step, steps, 2.0, warmup) for step in range(steps)]
    np.testing.assert_allclose(rates[:rise], [2 * (i + 1) / rise for i in range(rise)])
    fall = steps - rise
    expected = [1 + math.cos(math.pi * i / fall) for i in range(fall)]
    np.testing.assert_allclose(rates[rise:], expected)


def test_the_rise_is_a_twentieth_unless_said_otherwise():
    assert learning_rate(48, 1000, 2.0) == pytest.approx(2 * 49 / 50)
    assert learning_rate(49, 1000, 2.0) == 2.0
    assert learning_rate(51, 1000, 2.0) < 2.0


@pytest.mark.parametrize(
    "name, value",
    [
        *[("step", wrong) for wrong in (-1, 3, 1.0, True)],
        *[("steps", wrong) for wrong in (0, 2.5, None)],
        *[("peak", wrong) for wrong in (0, -0.1, math.nan, math.inf)],
        *[("warmup", wrong) for wrong in (-1e-9, 1 + 1e-9, math.nan, None, True)],
    ],
)
def test_an_impossible_learning_rate_is_a_value_error(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        learning_rate(**{"step": 0, "steps": 3, "peak": 0.1, name: value})


def test_fit_takes_steps_of_the_learning_rate(rng):
    """A constant gradient makes each of Adam's steps as long as the learning rate."""
    places = []

    def loss(params, x):
        places.append(getval(params["a"])[0])
        return anp.sum(params["a"])

    start = {"a": np.zeros(1)}
    for steps in (110, 1):
        found = fit(loss, start, ONES, rng=rng, steps=steps, batch=1, lr=0.1)
        rates = [learning_rate(step, steps, peak=0.1) for step in range(steps)]
        taken = -np.diff([*places[-steps:], found["a"][0]])
        np.testing.assert_allclose(taken, rates, rtol=1e-6)


def test_fit_is_value_and_grad_and_adam_step_by_step(params, rng):
    """Bitwise: the rows that were drawn, with the state of Adam carried from step to step."""
    x = rng.standard_normal((6, 3))
    batches = []

    def of_batch(params, rows):
        batches.append(rows)
        return sum(loss(params, row) for row in rows) / len(rows)

    before = rebuild(params, (leaf.copy() for leaf in leaves(params)))
    found = fit(of_batch, params, (x,), rng=rng, steps=8, batch=3, lr=0.1)
    drawn = list(batches)
    expected = params
    state = adam_start(params)
    for step, rows in enumerate(drawn):
        _, grads = value_and_grad(of_batch, expected, rows)
        expected, state = adam(expected, grads, state, learning_rate(step, 8, 0.1))
    np.testing.assert_array_equal(flatten(found), flatten(expected))
    np.testing.assert_array_equal(flatten(params), flatten(before))


def drawn_by_fit(length, steps, batch):
    """The rows that fit gives to the loss, from three arrays that count them: (steps, batch)."""
    seen = []

    def loss(params, x, labels, others):
        seen.append((x[:, 0, 0], labels, others))
        return 1.0 * params["a"]

    x = np.arange(length)
    data = [x[:, None, None], -x, x + 7]
    settings = {"steps": steps, "batch": batch, "lr": 0.1}
    fit(loss, {"a": np.ones(())}, data, rng=np.random.default_rng(0), **settings)
    rows, labels, others = np.array(seen).swapaxes(0, 1)
    np.testing.assert_array_equal(labels, -rows)
    np.testing.assert_array_equal(others, rows + 7)
    return rows


def test_every_row_is_drawn_as_often_as_any_other_and_independently():
    """Of 4 rows all 16 pairs are as likely: in one batch, and in one batch and the next."""
    rows = drawn_by_fit(4, 640, 2)
    assert rows.shape == (640, 2)
    pairs = list(product(range(4), repeat=2))
    assert_equally_often(zip(*rows.T.tolist()), pairs)
    assert_equally_often(zip(rows[:-1, 0].tolist(), rows[1:, 0].tolist()), pairs)


def test_a_batch_may_be_larger_than_the_data_and_the_data_larger_than_all_batches():
    assert drawn_by_fit(3, 2, 40).shape == (2, 40)
    assert not np.any(drawn_by_fit(1, 2, 3))
    rows = drawn_by_fit(100_000, 20, 50)
    assert np.min(rows) < 1000
    assert np.max(rows) >= 99_000
    assert len(np.unique(rows)) > 950


def test_float32_stays_float32_through_forward_loss_gradient_and_adam(rng):
    weights = init_mlp(rng, (5, 6, 6, 3))
    attached = attach(weights, {"layers.[01].W": LoRA(2)}, rng=rng)
    x = rng.standard_normal((8, 5)).astype(np.float32)
    labels = rng.integers(3, size=8)
    outputs = []

    def network_loss(params, x, labels):
        logits = mlp(attached.bind(params), x)
        outputs.extend([logits, cross_entropy(logits, labels)])
        return outputs[-1]

    _, grads = value_and_grad(network_loss, attached.params, x, labels)
    params, state = adam(attached.params, grads, adam_start(attached.params), lr=0.1)
    merged = attached.merge(params)
    seen = [*outputs, state.mean, state.square, *merged.values()]
    seen += [a for tree in (grads, params) for own in tree.values() for a in own.values()]
    assert {np.dtype(a.dtype) for a in seen} == {np.dtype(np.float32)}


def test_fit_recovers_a_map_that_is_known(rng):
    """Least squares has one answer, and the loop finds it."""
    W = rng.standard_normal((3, 4))
    x = rng.standard_normal((200, 4))

    def square(params, x, y):
        return anp.sum((anp.dot(x, params["W"].T) - y) ** 2) / x.shape[0]

    settings = {"steps": 400, "batch": 50, "lr": 0.1}
    found = fit(square, {"W": np.zeros((3, 4))}, (x, x @ W.T), rng=rng, **settings)
    np.testing.assert_allclose(found["W"], W, atol=1e-7)


def test_fit_depends_on_the_generator_alone(rng):
    data = rng.standard_normal((20, 3)), rng.integers(2, size=20)
    start = init_mlp(rng, (3, 2), np.float64)
    settings = {"steps": 5, "batch": 4, "lr": 1}

    def loss(weights, x, labels):
        return cross_entropy(mlp(weights, x), labels)

    def once():
        return fit(loss, start, data, rng=np.random.default_rng(3), **settings)

    one = once()
    two = once()
    other = fit(loss, start, data, rng=np.random.default_rng(4), **settings)
    for name in start:
        np.testing.assert_array_equal(one[name], two[name])
        assert np.any(one[name] != other[name])


def test_a_loss_that_is_nan_is_an_error_that_says_at_which_step(rng):
    def loss(params, x):
        return anp.sum(anp.log(params["a"] * x))

    message = r"^loss is nan at step 3 of 10: lower lr \(now 4\)"
    losses = []
    settings = {"steps": 10, "batch": 2, "lr": 4, "record": losses.append}
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=message):
        fit(loss, {"a": np.array([5.0])}, ONES, rng=rng, **settings)
    assert losses == pytest.approx([2 * math.log(5), 0.0], abs=1e-6)


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_a_loss_that_is_infinite_is_an_error(value, rng):
    with pytest.raises(ValueError, match=rf"^loss is {value} at step 1 of 2: lower lr"):
        fit(lambda p, x: value + anp.sum(p["a"]), {"a": np.ones(1)}, ONES, rng=rng, **TWO_STEPS)


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize("step", [math.inf, -math.inf, math.nan])
def test_one_array_that_is_not_finite_at_the_end_is_an_error(name, step, rng, monkeypatch):
    def broken_adam(params, grads, state, lr):
        return {**params, name: params[name] + np.array([0.0, step])}, state

    monkeypatch.setattr("minilora.train.loop.adam", broken_adam)
    start = {"a": np.ones(2), "b": np.ones(2)}
    settings = {**TWO_STEPS, "steps": 1}
    with pytest.raises(ValueError, match=r"^params are not finite after 1 steps: lower lr"):
        fit(lambda p, x: anp.sum(p["a"] + p["b"]), start, ONES, rng=rng, **settings)


def test_params_that_are_not_finite_after_the_last_step_are_an_error(rng):
    with (
        np.errstate(over="ignore"),
        pytest.raises(ValueError, match=r"^params .* after 1 steps.*lr"),
    ):
        fit(square_of_a, {"a": np.array([1e308])}, ONES, rng=rng, steps=1, batch=1, lr=1.7e308)


def square_of_a(params, x):
    """A loss that does not look at the data."""
    return anp.sum((1e-300 * params["a"]) ** 2)


ONES = (np.ones((4, 1)),)
TWO_STEPS = {"steps": 2, "batch": 2, "lr": 0.1}


def test_fit_records_the_loss_before_every_step_and_keeps_the_given_params(rng):
    start = {"a": np.array([1.0])}
    losses = []
    seen = []

    def loss(params, x):
        seen.append(getval(params["a"]).copy())
        return anp.sum(params["a"] ** 2)

    found = fit(loss, start, ONES, rng=rng, steps=4, batch=2, lr=0.1, record=losses.append)
    np.testing.assert_array_equal(losses, np.square(seen).ravel())
    assert [type(value) for value in losses] == [float] * 4
    np.testing.assert_array_equal(start["a"], [1.0])
    assert found["a"] < seen[-1]


def test_no_step_returns_the_given_params(rng):
    start = {"a": np.array([1.0])}
    assert fit(square_of_a, start, ONES, rng=rng, steps=0, batch=1, lr=1) is start


def test_a_loss_that_changes_its_batch_does_not_change_the_data(rng):
    data = (np.ones((4, 1)),)

    def loss(params, x):
        x *= 0
        return anp.sum(params["a"] ** 2)

    fit(loss, {"a": np.ones(1)}, data, rng=rng, steps=2, batch=2, lr=0.1)
    np.testing.assert_array_equal(data[0], np.ones((4, 1)))


WRONG_SETTINGS = {
    "steps": [-1, 2.5, "3", None, True],
    "batch": [0, -1, 2.5, None, True],
    "lr": [0, -0.1, math.nan, math.inf, "0.1", None, True],
    "rng": [None, 0, np.random.RandomState(0), np.random],
    "data": [
        (),
        None,
        np.ones((4, 2)),
        {"x": np.ones(4)},
        ([1.0, 2.0],),
        (np.ones(4), np.ones(3)),
        (np.ones(3), np.ones(4)),
        (np.ones(4), np.ones(3), np.ones(4)),
        (np.ones((0, 2)),),
        (np.float64(1),),
        (np.ones(4), None),
    ],
    "params": [{}, {"a": np.ones(1, int)}, [1.0], None],
    "record": [[], 0, "losses"],
}


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, values in WRONG_SETTINGS.items() for value in values]
)
def test_an_impossible_setting_is_an_error_that_names_it(name, value, rng):
    arguments = {"params": {"a": np.ones(1)}, "data": ONES, "rng": rng}
    arguments |= {**TWO_STEPS, name: value}
    with pytest.raises(ValueError, match=f"^{name} "):
        fit(square_of_a, **arguments)


def test_numpys_numbers_are_settings_too(rng):
    """And leave float32 as it is."""
    start = {"a": np.ones(1, np.float32)}
    settings = {"steps": np.int64(2), "batch": np.uint8(2), "lr": np.float64(0.1)}
    found = fit(lambda p, x: anp.sum(p["a"] ** 2), start, ONES, rng=rng, **settings)
    assert found["a"].dtype == np.float32
    assert found["a"] < 1


class Stream(io.TextIOWrapper):
    def __init__(self):
        super().__init__(io.BytesIO(), encoding="utf-8", newline="")

    def getvalue(self):
        self.flush()
        return self.buffer.getvalue().decode()


class Terminal(Stream):
    def isatty(self):
        return True


class Idle(io.StringIO):
    """IDLE's stderr says that it is a terminal, but shows escape codes as they are."""

    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [Stream, Terminal, Idle])
def test_progress_is_one_line_on_a_terminal_and_silent_elsewhere(stream, monkeypatch, rng):
    monkeypatch.setattr(sys, "stderr", stream())
    settings = {"steps": 3, "batch": 2, "lr": 0.1, "label": "a run"}
    fit(lambda p, x: anp.sum(p["a"] ** 2), {"a": np.ones(1)}, ONES, rng=rng, **settings)
    text = sys.stderr.getvalue()
    if stream is Terminal:
        lines = ["a run: step 1 of 3, loss 1.000", "a run: step 2 of 3, loss 0.810", ""]
        assert text == "".join(f"\r\x1b[K{line}" for line in lines)
    else:
        assert text == ""


def test_a_line_of_progress_stays_until_the_last_one(monkeypatch, rng):
    monkeypatch.setattr(sys, "stderr", Terminal())
    show_progress("a run")
    show_progress("all of it", last=False)
    assert sys.stderr.getvalue() == "\r\x1b[Ka run\r\x1b[Kall of it"
    fit(lambda p, x: anp.sum(p["a"] ** 2), {"a": np.ones(1)}, ONES, rng=rng, **TWO_STEPS)
    assert "training: step 1 of 2" in sys.stderr.getvalue()


def test_progress_is_silent_without_stderr(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    show_progress("a run")


def test_progress_is_silent_on_a_dumb_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "dumb")
    show_progress("a run")
    assert sys.stderr.getvalue() == ""


@pytest.mark.parametrize("eps", [0.0, -1e-8, math.nan, math.inf, None])
def test_adam_refuses_an_eps_that_is_not_positive(eps):
    params = {"w": np.ones(3)}
    with pytest.raises(ValueError, match=r"^eps must be a positive number"):
        adam(params, params, adam_start(params), lr=0.1, eps=eps)


@pytest.mark.parametrize("wrong", [-1e-9, 1.0, 1.1, math.nan, math.inf])
def test_adam_refuses_decays_that_divide_by_zero(wrong):
    params = {"w": np.ones(3)}
    for decay in ((wrong, 0.9), (0.9, wrong), (wrong, wrong), wrong, (wrong,)):
        with pytest.raises(ValueError, match=r"^decay must be two numbers from 0 to below 1"):
            adam(params, params, adam_start(params), lr=0.1, decay=decay)


NO_PAIRS = [(), (0.9,), (0.9, 0.99, 0.9), [0.9, 0.99], 0.9, None]
NO_NUMBERS = [("a", 0.9), (0.9, None), (0.9, 1j)]


@pytest.mark.parametrize("decay", [*NO_PAIRS, *NO_NUMBERS], ids=str)
def test_adam_refuses_decays_that_are_no_pair_of_numbers(decay):
    params = {"w": np.ones(3)}
    with pytest.raises(ValueError, match=r"^decay must be two numbers from 0 to below 1"):
        adam(params, params, adam_start(params), lr=0.1, decay=decay)


def test_adams_smallest_and_largest_decays_are_allowed():
    """A step of size lr for any pair: both means are those of one gradient."""
    params = {"w": np.ones(3)}
    for decay in ((0, 0), (0.0, 1 - 1e-9), (1 - 1e-9, 0.0)):
        found, _ = adam(params, params, adam_start(params), lr=0.1, decay=decay)
        np.testing.assert_allclose(found["w"], 0.9, rtol=1e-6)


def test_a_gradient_has_the_dtype_of_its_array_whatever_scales_the_loss():
    params = {"w": np.ones(3, np.float32)}
    _, grads = value_and_grad(lambda p: np.float64(2) * anp.sum(p["w"]), params)
    assert grads["w"].dtype == np.float32


def test_a_complex_loss_is_refused():
    with pytest.raises(ValueError, match=r"^loss must be a real number"):
        value_and_grad(lambda p: anp.sum(p["w"]) * 1j, {"w": np.ones(3)})


def test_adam_refuses_params_that_cannot_move_by_small_steps():
    """Integers would stay where they are, in silence."""
    state = adam_start({"w": np.ones(3)})
    for dtype in (int, bool, np.float16, np.longdouble, complex):
        message = rf"^params must be arrays of float32 or float64, got {np.dtype(dtype)}"
        with pytest.raises(ValueError, match=message):
            adam({"w": np.ones(3, dtype)}, {"w": np.ones(3)}, state, lr=0.1)


def test_value_and_grad_works_below_autograds_own_gradient(rng):
    """The gradient of a gradient penalty, with params as a dict on the outer tape."""
    x = rng.standard_normal((4, 3))

    def inner(params):
        return anp.sum(anp.tanh(anp.dot(x, params["w"])) ** 2)

    def penalty(params):
        _, grads = value_and_grad(inner, params)
        return anp.sum(grads["w"] ** 2) + anp.sum(grads["idle"] ** 2)

    params = {"w": rng.standard_normal(3), "idle": np.ones((2, 2))}
    check_grads(penalty, modes=["rev"], order=1)(params)
    narrow = {name: array.astype(np.float32) for name, array in params.items()}
    for differentiate in (value_and_grad, lambda f, p: autograd_value_and_grad(f)(p)):
        _, grads = differentiate(penalty, narrow)
        assert {grad.dtype for grad in grads.values()} == {np.dtype(np.float32)}
        np.testing.assert_array_equal(grads["idle"], np.zeros((2, 2)))


def test_value_and_grad_works_below_autograds_own_gradient_on_nested_params(params, rng):
    """The value and the gradients of both levels, each with its own gradient."""
    x = rng.standard_normal(3)

    def penalty(params):
        value, grads = value_and_grad(loss, params, x)
        one, two = grads["one"], grads["two"]
        return value**2 + anp.sum(one["A"] ** 2) + anp.sum(one["B"] ** 3) + anp.sum(two["A"] ** 2)

    check_grads(penalty, modes=["rev"], order=1)(params)


def test_a_state_that_is_another_tuple_is_refused():
    params = {"w": np.ones(2)}
    with pytest.raises(ValueError, match=r"^state must"):
        adam(params, params, (0, np.zeros(2), np.zeros(2)), lr=0.1)


def test_the_first_decay_is_that_of_the_mean():
    params, grads = {"w": np.array([1.0])}, {"w": np.array([2.0])}
    _, state = adam(params, grads, adam_start(params), lr=0.1, decay=(0.9, 0.5))
    np.testing.assert_allclose([state.mean, state.square], [[0.2], [2.0]])


def test_an_inner_gradient_of_what_is_not_used_is_zeros_of_its_dtype():
    inner = []

    def outer(params):
        _, grads = value_and_grad(lambda own: anp.sum(own["a"] ** 3), params)
        inner.append(grads["b"])
        return anp.sum(grads["a"] ** 2)

    value_and_grad(outer, {"a": np.array([1.0, 2.0]), "b": np.ones(3, np.float32)})
    assert inner[0].dtype == np.float32 and not np.any(inner[0])
