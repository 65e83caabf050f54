"""The networks, against loops."""

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad
from autograd.test_util import check_grads

from minilora.linalg import linear
from minilora.models.mlp import init_mlp, mlp, relu


def test_linear_is_w_times_each_vector(rng):
    W, x = rng.standard_normal((3, 4)), rng.standard_normal((2, 5, 4))
    y = linear(W, x)
    for i in range(2):
        for j in range(5):
            np.testing.assert_allclose(y[i, j], [sum(W[k, m] * x[i, j, m] for m in range(4)) for k in range(3)])


@pytest.mark.parametrize("axes", [(), (1,), (2,), (7,), (2, 3), (2, 1, 3), (0,), (0, 2)], ids=str)
def test_linear_and_its_gradients_are_those_of_a_loop_over_vectors(axes, rng):
    """For any leading axes, y = W x for each vector, ∂/∂W = Σ g xᵀ and ∂/∂x = Wᵀ g, g the gradient for y."""
    W, x, g = rng.standard_normal((8, 9)), rng.standard_normal((*axes, 9)), rng.standard_normal((*axes, 8))
    for_W, for_x = np.zeros((8, 9)), np.zeros(x.shape)
    for i in np.ndindex(axes):
        np.testing.assert_allclose(linear(W, x)[i], W @ x[i], rtol=0, atol=1e-13)
        for_W += np.outer(g[i], x[i])
        for_x[i] = W.T @ g[i]
    assert linear(W, x).shape == (*axes, 8)
    assert linear(W, x).flags.c_contiguous
    np.testing.assert_allclose(grad(lambda W: anp.sum(g * linear(W, x)))(W), for_W, rtol=0, atol=1e-12)
    np.testing.assert_allclose(grad(lambda x: anp.sum(g * linear(W, x)))(x), for_x, rtol=0, atol=1e-12)
    if x.size:
        check_grads(linear, argnum=[0, 1], modes=["rev"], order=2)(W, x)


def test_linear_calls_anything_that_maps_x():
    assert linear(lambda x: ("mapped", x), 3) == ("mapped", 3)


@pytest.mark.parametrize("x", [np.ones((2, 3)), np.ones(5), np.float64(1)], ids=np.shape)
def test_x_of_the_wrong_width_is_a_value_error(x):
    with pytest.raises(ValueError, match=r"x has shape .* W is \(3, 4\): the last axis of x must be 4"):
        linear(np.ones((3, 4)), x)


def test_mlp_is_linear_maps_with_a_relu_between_them(rng):
    weights = {name: W + 0.1 for name, W in init_mlp(rng, (4, 5, 6, 3), np.float64).items()}
    x = rng.standard_normal(4)
    h = x
    for layer in range(3):
        W, b = weights[f"layers.{layer}.W"], weights[f"layers.{layer}.b"]
        z = [sum(W[i, j] * h[j] for j in range(len(h))) + b[i] for i in range(len(b))]
        h = z if layer == 2 else [max(v, 0.0) for v in z]
    np.testing.assert_allclose(mlp(weights, x), h, rtol=1e-12)
    np.testing.assert_allclose(mlp(weights, np.stack([x, x]))[1], h, rtol=1e-12)
    check_grads(mlp, argnum=[0], modes=["rev"], order=1)(weights, rng.standard_normal((2, 4)))


def test_relu_at_zero_is_zero_with_slope_zero():
    np.testing.assert_array_equal(relu(np.array([-1.0, 0.0, 2.0])), [0, 0, 2])
    assert [grad(relu)(v) for v in (-1.0, 0.0, 2.0)] == [0, 0, 1]


def test_the_start_keeps_the_size_of_the_signal(rng):
    """Weights of variance 2 / d_in make up for the half that a ReLU removes, and biases start at zero."""
    weights = init_mlp(rng, (300, 400, 50))
    assert all(W.dtype == np.float32 for W in weights.values())
    assert {name: W.shape for name, W in weights.items() if name.endswith("W")} == {
        "layers.0.W": (400, 300),
        "layers.1.W": (50, 400),
    }
    assert np.var(weights["layers.0.W"]) == pytest.approx(2 / 300, rel=0.03)
    assert not np.any(weights["layers.0.b"])


@pytest.mark.parametrize("widths", [(), (4,), (4, 0, 2)])
def test_impossible_widths_are_a_value_error(widths, rng):
    with pytest.raises(ValueError, match="widths"):
        init_mlp(rng, widths)
