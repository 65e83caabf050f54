"""The gradient, Adam, the losses and the loop, each against something independent of it."""

import io
import math
import sys

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import value_and_grad as autograd_value_and_grad
from autograd.core import VJPNode
from autograd.test_util import check_grads
from autograd.tracer import new_box, toposort, trace_stack

from minilora.adapters import HRA, CondLoRA, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.attach import attach
from minilora.models.mlp import init_mlp, mlp
from minilora.train import (
    accuracy,
    adam,
    adam_start,
    cross_entropy,
    fit,
    learning_rate,
    leaves,
    rebuild,
    value_and_grad,
)


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
    _, grads = value_and_grad(lambda p: anp.sum(p["used"] ** 2), {"used": np.ones(2), "idle": np.ones((2, 3))})
    np.testing.assert_array_equal(grads["idle"], np.zeros((2, 3)))
    np.testing.assert_array_equal(grads["used"], [2, 2])


def test_a_loss_that_does_not_depend_on_params_is_an_error():
    with pytest.raises(ValueError, match="loss does not depend on params"):
        value_and_grad(lambda p: 1.0, {"A": np.ones(2)})


def test_adam_is_kingma_and_bas_algorithm(params, rng):
    """Three steps against algorithm 1, written with loops over single numbers."""
    theta = [float(x) for own in params.values() for a in own.values() for x in a.ravel()]
    m, v, state = [0.0] * len(theta), [0.0] * len(theta), adam_start(params)
    for t in (1, 2, 3):
        grads = {key: {name: rng.standard_normal(a.shape) for name, a in own.items()} for key, own in params.items()}
        flat = [float(x) for own in grads.values() for a in own.values() for x in a.ravel()]
        for i, g in enumerate(flat):
            m[i] = 0.9 * m[i] + 0.1 * g
            v[i] = 0.999 * v[i] + 0.001 * g * g
            theta[i] -= 0.02 * (m[i] / (1 - 0.9**t)) / (math.sqrt(v[i] / (1 - 0.999**t)) + 1e-8)
        params, state = adam(params, grads, state, lr=0.02)
    assert state.steps == 3
    found = [float(x) for own in params.values() for a in own.values() for x in a.ravel()]
    np.testing.assert_allclose(found, theta, rtol=1e-12)


def test_adam_changes_nothing_that_it_was_given(params):
    before = {key: {name: a.copy() for name, a in own.items()} for key, own in params.items()}
    state = adam_start(params)
    _, later = adam(params, before, state, lr=0.1)
    assert (state.steps, later.steps) == (0, 1)
    assert not np.any(state.mean)
    assert not np.any(state.square)
    for key, own in params.items():
        for name, a in own.items():
            np.testing.assert_array_equal(a, before[key][name])


def test_adam_keeps_the_dtype_of_every_array(params, rng):
    """Also where they differ: the step is taken in the wider one."""
    params["two"]["A"] = params["two"]["A"].astype(np.float32)
    new, _ = adam(params, params, adam_start(params), lr=0.1)
    assert [a.dtype for a in leaves(new)] == [a.dtype for a in leaves(params)]
    assert leaves(new)[2] == pytest.approx(leaves(params)[2] - 0.1 * np.sign(leaves(params)[2]), abs=1e-6)


def test_adam_refuses_a_gradient_of_another_shape(params):
    grads = {"one": {"A": np.ones((2, 3)), "B": np.ones((4, 1))}, "two": {"A": np.ones(1)}}
    with pytest.raises(ValueError, match=r"grads.*\(4, 1\).*params.*\(4,\)"):
        adam(params, grads, adam_start(params), lr=0.1)


def test_cross_entropy_is_minus_the_mean_log_softmax_at_the_label(rng):
    logits, labels = rng.standard_normal((7, 4)), rng.integers(4, size=7)
    terms = [math.log(sum(math.exp(z) for z in row)) - row[label] for row, label in zip(logits, labels)]
    assert cross_entropy(logits, labels) == pytest.approx(sum(terms) / 7, rel=1e-13)
    check_grads(cross_entropy, argnum=[0], modes=["rev"], order=2)(logits, labels)


def test_cross_entropy_survives_huge_logits():
    logits, labels = np.array([[1e4, 0.0], [0.0, 1e4]]), np.array([0, 0])
    assert cross_entropy(logits, labels) == 5e3
    np.testing.assert_array_equal(autograd_value_and_grad(cross_entropy)(logits, labels)[1], [[0, 0], [-0.5, 0.5]])


def test_the_gradient_of_cross_entropy_keeps_float32_whatever_it_is_multiplied_with(rng):
    logits, labels = rng.standard_normal((7, 4)).astype(np.float32), rng.integers(4, size=7)
    one, three = (value_and_grad(lambda z, s=s: s * cross_entropy(z, labels), logits)[1] for s in (1.0, 3.0))
    assert one.dtype == three.dtype == np.float32
    np.testing.assert_allclose(three, 3 * one, rtol=1e-6)


@pytest.mark.parametrize(
    "adapter, most",
    [(LoRA(8), 27), (SBoRAFA(8), 25), (SBoRAFB(8), 27), (HRA(8), 48), (HRAStrict(8), 48), (CondLoRA(8), 35)],
    ids=lambda value: type(value).__name__,
)
def test_a_step_writes_few_nodes_on_the_tape(adapter, most, rng):
    """Four adapted layers with ReLU between, and cross-entropy: where matrices are small, a step costs its nodes."""
    attached = attach(init_mlp(rng, (16,) * 5), {"layers.*.W": adapter}, rng)
    x, labels = rng.standard_normal((8, 16)).astype(np.float32), rng.integers(16, size=8)
    with trace_stack.new_trace() as trace:
        boxes = [new_box(leaf, trace, VJPNode.new_root()) for leaf in leaves(attached.params)]
        end = cross_entropy(mlp(attached.bind(rebuild(attached.params, iter(boxes))), x), labels)
    assert sum(len(node.parents) > 0 for node in toposort(end._node)) <= most


def test_accuracy_counts_the_rows_that_are_right():
    logits = np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [0.0, 5.0]])
    assert accuracy(logits, np.array([1, 0, 0, 1])) == 0.75


@pytest.mark.parametrize("measure", [cross_entropy, accuracy])
@pytest.mark.parametrize("labels", [[0, 3], [-1, 0], [0.0, 1.0], [0, 1, 2], [[0, 1]]], ids=str)
def test_impossible_labels_are_a_value_error(measure, labels):
    with pytest.raises(ValueError, match="labels"):
        measure(np.zeros((2, 3)), np.array(labels))


def test_the_learning_rate_rises_linearly_and_falls_as_a_cosine():
    rates = [learning_rate(step, 100, peak=2.0) for step in range(100)]
    np.testing.assert_allclose(rates[:5], [0.4, 0.8, 1.2, 1.6, 2.0])
    np.testing.assert_allclose(rates[5:], [1 + math.cos(math.pi * i / 95) for i in range(95)])


def test_float32_stays_float32_through_forward_loss_gradient_and_adam(rng):
    weights = init_mlp(rng, (5, 6, 6, 3))
    attached = attach(weights, {"layers.[01].W": LoRA(2)}, rng)
    x, labels = rng.standard_normal((8, 5)).astype(np.float32), rng.integers(3, size=8)
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
    W, x = rng.standard_normal((3, 4)), rng.standard_normal((200, 4))

    def square(params, x, y):
        return anp.sum((anp.dot(x, params["W"].T) - y) ** 2) / x.shape[0]

    found = fit(square, {"W": np.zeros((3, 4))}, (x, x @ W.T), rng, steps=800, batch=50, lr=0.05)
    np.testing.assert_allclose(found["W"], W, atol=1e-4)


def test_fit_depends_on_the_generator_alone(rng):
    data = rng.standard_normal((20, 3)), rng.integers(2, size=20)
    start = init_mlp(rng, (3, 2))

    def once():
        return fit(
            lambda w, x, y: cross_entropy(mlp(w, x), y), start, data, np.random.default_rng(3), steps=5, batch=4, lr=1
        )

    one, two = once(), once()
    for name in start:
        np.testing.assert_array_equal(one[name], two[name])


def test_a_loss_that_is_nan_is_an_error_that_says_at_which_step(rng):
    def loss(params, x):
        return anp.sum(anp.log(params["a"] * x))

    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=r"loss is nan at step 3 of 10: lower lr = 4"):
        fit(loss, {"a": np.array([5.0])}, (np.ones((4, 1)),), rng, steps=10, batch=2, lr=4, label="x")


def test_data_of_unequal_length_is_an_error(rng):
    with pytest.raises(ValueError, match=r"data.*\[4, 3\]"):
        fit(loss, {"a": np.ones(1)}, (np.ones(4), np.ones(3)), rng, steps=1, batch=1, lr=1)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_progress_is_one_line_on_a_terminal_and_silent_elsewhere(stream, monkeypatch, rng):
    monkeypatch.setattr(sys, "stderr", stream())
    fit(
        lambda p, x: anp.sum(p["a"] ** 2),
        {"a": np.ones(1)},
        (np.ones((4, 1)),),
        rng,
        steps=3,
        batch=2,
        lr=0.1,
        label="a run",
    )
    text = sys.stderr.getvalue()
    if stream is Terminal:
        assert "a run: step 1 of 3, loss 1.000" in text
        assert "\n" not in text
        assert text.endswith("\r\x1b[K")
    else:
        assert text == ""
