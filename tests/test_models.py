"""The MLP against loops, and what it refuses. The Transformer: test_transformer.py."""

from functools import partial

import numpy as np
import pytest
from autograd.test_util import check_grads
from support.draws import assert_normal

from minilora.models.mlp import init_mlp, mlp


def test_mlp_is_linear_maps_with_a_relu_between_them(rng):
    weights = {name: W + 0.1 for name, W in init_mlp(rng, (4, 5, 6, 3), np.float64).items()}
    x = rng.standard_normal(4)
    h = x
    for layer in range(3):
        W = weights[f"layers.{layer}.W"]
        b = weights[f"layers.{layer}.b"]
        z = [sum(W[i, j] * h[j] for j in range(len(h))) + b[i] for i in range(len(b))]
        h = z if layer == 2 else [max(v, 0.0) for v in z]
    np.testing.assert_allclose(mlp(weights, x), h, rtol=1e-12)
    np.testing.assert_allclose(mlp(weights, np.stack([x, x]))[1], h, rtol=1e-12)
    check_grads(mlp, argnum=[0], modes=["rev"], order=1)(weights, rng.standard_normal((2, 4)))


def test_the_start_keeps_the_size_of_the_signal(rng):
    """W of variance 2 / d_in makes up for the half that a ReLU removes; biases start at zero."""
    weights = init_mlp(rng, (300, 400, 50))
    assert all(W.dtype == np.float32 for W in weights.values())
    assert {name: W.shape for name, W in weights.items() if name.endswith("W")} == {
        "layers.0.W": (400, 300),
        "layers.1.W": (50, 400),
    }
    assert_normal(weights["layers.0.W"][:100], (2 / 300) ** 0.5)
    assert_normal(weights["layers.1.W"].reshape(100, 200), (2 / 400) ** 0.5)
    assert not np.any(weights["layers.0.b"])
    assert not np.any(weights["layers.1.b"])


def test_the_order_of_the_names_is_free(rng):
    weights = init_mlp(rng, (4, 5, 3))
    x = np.ones(4, np.float32)
    backwards = dict(reversed(weights.items()))
    np.testing.assert_array_equal(mlp(backwards, x), mlp(weights, x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.dtype(np.float64)])
def test_the_start_has_the_dtype_that_is_asked_for(dtype, rng):
    assert {W.dtype for W in init_mlp(rng, (4, 5, 3), dtype).values()} == {np.dtype(dtype)}


def test_widths_may_be_a_list_of_numpys_integers(rng):
    weights = init_mlp(rng, [np.int64(4), 3])
    assert weights["layers.0.W"].shape == (3, 4)


def wrong_calls():
    """(what is wrong, what the message starts with, a call)."""
    rng = np.random.default_rng(0)
    weights = init_mlp(rng, (4, 5, 6, 3))
    x = np.ones(4, np.float32)
    for widths in ((), (4,), None, 4, "43"):
        yield f"widths {widths!r}", "widths must be at least two", partial(init_mlp, rng, widths)
    for widths in ((4, 0, 2), (4, -1), (4, 2.5), (4, "3"), (4, True)):
        yield f"widths {widths!r}", r"widths\[1\] must be", partial(init_mlp, rng, widths)
    for dtype in (int, np.int64, np.float16, complex, "float16", None):
        call = partial(init_mlp, rng, (4, 3), dtype)
        yield f"dtype {dtype!r}", "dtype must be float32 or float64", call
    yield "rng 0", "rng must be", partial(init_mlp, 0, (4, 3))
    missing = {name: W for name, W in weights.items() if name != "layers.1.b"}
    misspelt = {name.replace("1.W", "1.w"): W for name, W in weights.items()}
    gap = {name.replace("layers.1", "layers.3"): W for name, W in weights.items()}
    more = {**weights, "layers.0.c": weights["layers.0.b"]}
    names = "weights must have the names"
    for wrong, message in (
        ({}, f"{names}.*missing .*layers.0.W.*layers.0.b"),
        (missing, f"{names}.*missing .*layers.1.b"),
        (misspelt, f"{names}.*missing .*layers.1.W.*unknown .*layers.1.w"),
        (gap, f"{names}.*missing .*layers.1.W.*unknown .*layers.3.W"),
        (more, f"{names}.*unknown .*layers.0.c"),
    ):
        yield f"names {list(wrong)}", message, partial(mlp, wrong, x)
    yield "weights a list", "weights must be a dict", partial(mlp, list(weights.values()), x)
    yield "x too wide", "x has shape", partial(mlp, weights, np.ones(5, np.float32))
    yield "x a scalar", "x has shape", partial(mlp, weights, np.float32(1))


@pytest.mark.parametrize(
    "start, call", [pytest.param(start, call, id=wrong) for wrong, start, call in wrong_calls()]
)
def test_a_mistake_is_a_value_error_that_names_the_argument(start, call):
    with pytest.raises(ValueError, match=f"^{start}"):
        call()
