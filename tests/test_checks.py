"""Checks of arguments: what passes, and what the message says of all else."""

import math
import re
from fractions import Fraction

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from minilora.adapters import LoRA
from minilora.attachment import attach
from minilora.checks import (
    as_float64_matrix,
    as_indices,
    check_columns,
    check_count,
    check_float_type,
    check_floats,
    check_form,
    check_labels,
    check_logits,
    check_matrix,
    check_names,
    check_positive,
    check_rank,
    check_rng,
    check_weights,
    check_width,
)
from minilora.models.mlp import init_mlp
from minilora.quantization import quantize

NAN_IN_ONE = np.array([[1.0, 2.0], [3.0, np.nan]])
INF_IN_ONE = np.array([[1.0, 2.0], [3.0, -np.inf]])
LIKE = {"a": {"A": np.ones((2, 3)), "B": np.ones(4)}, "b": np.ones(1)}


def refused():
    """(a call, how its message starts)."""
    for value in (0, -1, 1.5, 2.0, "2", None, True, np.True_, math.nan, [1], np.array(2), 10):
        message = f"n must be an integer from 1 to 9, got {value!r}"
        yield lambda value=value: check_count("n", value, most=9), message
    yield lambda: check_count("n", 0), "n must be an integer from 1 up, got 0"
    yield lambda: check_count("n", -1, least=0), "n must be an integer from 0 up, got -1"
    yield lambda: check_rank(4, most=3), "rank must be an integer from 1 to 3, got 4"
    for value in (
        0,
        -1,
        0.0,
        math.nan,
        math.inf,
        -math.inf,
        "1",
        None,
        True,
        np.True_,
        1j,
        [1.0],
        10**400,
    ):
        message = f"lr must be a positive number, got {value!r}"
        yield lambda value=value: check_positive("lr", value), message
    yield lambda: check_positive("s", 3, most=2.5), "s must be a positive number up to 2.5, got 3"
    for value in (None, 7, np.random, np.random.RandomState(0)):
        message = f"rng must be a np.random.Generator, got {value!r:.80}"
        yield lambda value=value: check_rng(value), message
    yield (
        lambda: check_rng(7),
        "rng must be a np.random.Generator, got 7: try np.random.default_rng(7)",
    )
    for dtype in (np.int64, np.float16, np.longdouble, np.complex64, bool, object):
        message = f"dtype must be float32 or float64, got {dtype}"
        yield lambda dtype=dtype: check_float_type("dtype", dtype), message
    yield lambda: check_floats("b", [1.0]), "b must be an array of floating-point numbers, got list"
    no_dtype = "b must be an array of floating-point numbers, got memoryview"
    yield lambda: check_floats("b", memoryview(b"ab")), no_dtype
    yield lambda: check_floats("b", 1.0), "b must be an array of floating-point numbers, got float"
    yield lambda: check_floats("b", np.ones(2, int)), "b must be float32 or float64, got int64"
    half = np.ones(2, np.float16)
    advice = "b must be float32 or float64, got float16: try np.asarray(b, np.float32)"
    yield lambda: check_floats("b", half), advice
    yield lambda: check_floats("b", np.array(["x"])), "b must be float32 or float64, got <U1"
    for wrong in (NAN_IN_ONE, INF_IN_ONE):
        yield lambda wrong=wrong: check_floats("b", wrong), "b must be finite, but (2, 2) holds"
        yield lambda wrong=wrong: check_matrix("M", wrong), "M must be finite, but (2, 2) holds"
    for shape in ((), (3,), (2, 3, 4), (0, 3), (3, 0)):
        message = f"M must be a matrix (d_out, d_in), got shape {shape}"
        yield lambda shape=shape: check_matrix("M", np.ones(shape)), message
        yield lambda shape=shape: as_float64_matrix("M", np.ones(shape)), message
    yield lambda: check_matrix("M", None), "M must be a matrix (d_out, d_in), got shape ()"
    listed = "M must be an array of floating-point numbers, got list: try np.asarray(M, np.float32)"
    yield lambda: check_matrix("M", [[1.0]]), listed
    masked = np.ma.masked_array(np.eye(2), np.eye(2))
    yield lambda: check_matrix("M", masked), "M must not be a masked array: try M.filled(0.0)"
    for x in (np.ones(3), np.ones((4, 3)), np.float64(1), np.ones((4, 1))):
        message = f"x has shape {np.shape(x)}, but W is (3, 4): the last axis of x must be 4"
        yield lambda x=x: check_width(x, np.ones((3, 4))), message
    yield (
        lambda: check_width([1.0] * 4, np.ones((3, 4))),
        "x must be an array, got list: try np.asarray(x)",
    )
    for W in (np.ones(4), [[1.0]], None):
        message = "W must be a matrix (d_out, d_in), got "
        yield lambda W=W: check_width(np.ones(4), W), message
    for value in (0.0, 1e-160, np.nan, np.inf):
        U = np.array([[1.0, value], [1.0, value]])
        message = "U must have no zero, NaN or infinite column, got squared lengths ["
        yield lambda U=U: check_columns(U), message
    for logits in (np.ones(3), np.ones((2, 3, 4)), np.ones((0, 3)), np.ones((3, 0)), [[1.0]], None):
        yield lambda logits=logits: check_logits(logits), "logits must be an array (n, classes)"
    for labels in ([0], [0, 1, 2], [[0, 1]], [0.0, 1.0], [True, False], ["0", "1"]):
        message = "labels must be 2 integers, got shape"
        yield lambda labels=labels: check_labels(labels, 2, 3), message
    yield lambda: check_labels([0, 3], 2, 3), "labels must lie in 0 … 2, got 0 … 3"
    yield lambda: check_labels([-1, 0], 2, 3), "labels must lie in 0 … 2, got -1 … 0"
    for weights in ([np.eye(2)], np.eye(2), None):
        message = "weights must be a dict from names to weights, got "
        yield lambda weights=weights: check_weights(weights), message
    abc = {"a", "b", "c"}
    names = "weights must have the names of the model: missing"
    yield lambda: check_names({"a": 1, "b": 1}, abc), f"{names} ['c'], unknown []"
    yield lambda: check_names(dict.fromkeys("abcd"), abc), f"{names} [], unknown ['d']"
    both = f"{names} ['a', 'c'], unknown ['d']"
    yield lambda: check_names({"b": 1, "d": 1}, abc), both
    for tree, message in (
        ({"a": LIKE["a"]}, "t must have the keys ['a', 'b'], got ['a']"),
        ({**LIKE, "c": 1}, "t must have the keys ['a', 'b'], got ['a', 'b', 'c']"),
        ([], "t must have the keys ['a', 'b'], got list"),
        (None, "t must have the keys ['a', 'b'], got NoneType"),
        ({**LIKE, "a": {"A": np.ones((2, 3))}}, "t['a'] must have the keys ['A', 'B'], got ['A']"),
        ({**LIKE, "a": np.ones(4)}, "t['a'] must have the keys ['A', 'B'], got ndarray"),
        ({**LIKE, "b": np.ones((1, 1))}, "t['b'] must have shape (1,), got (1, 1)"),
        ({**LIKE, "b": np.ones(2)}, "t['b'] must have shape (1,), got (2,)"),
        ({**LIKE, "b": np.ones(())}, "t['b'] must have shape (1,), got ()"),
        ({**LIKE, "b": [1.0]}, "t['b'] must have shape (1,), got list"),
        ({**LIKE, "b": {}}, "t['b'] must have shape (1,), got dict"),
    ):
        yield lambda tree=tree: check_form("t", tree, LIKE), message
    column = np.ones((4, 1))
    yield lambda: check_form("t", column, np.ones(4)), "t must have shape (4,), got (4, 1)"
    yield lambda: check_form("t", [1.0], np.ones(1)), "t must have shape (1,), got list"
    for given in (
        (1, 1),
        (1,),
        (1, 2, 3),
        (-1, 2),
        (0.0, 1.0),
        (True, False),
        [True, 2],
        (0, False),
        "01",
        1,
        {0, 1},
    ):
        message = f"cols must be 2 distinct integers from 0 up, or None, got {given!r}"
        yield lambda given=given: as_indices("cols", given, 2), message
    ragged = "cols must be 2 distinct integers from 0 up, or None, got ((0, 1), (2,))"
    yield lambda: as_indices("cols", ((0, 1), (2,)), 2), ragged
    large = "cols must be 2 distinct integers from 0 to 4, or None, got (0, 5)"
    yield lambda: as_indices("cols", (0, 5), 2, below=5), large


REFUSED = [pytest.param(*pair, id=pair[1].split(", got")[0]) for pair in refused()]


@pytest.mark.parametrize("call, message", REFUSED)
def test_what_is_wrong_is_a_value_error_that_says_what_was_given(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        call()


def test_what_is_right_passes():
    for value in (1, 9, np.int64(3), np.uint8(3)):
        check_count("n", value, most=9)
    check_count("n", 0, least=0)
    check_count("n", 10**30)
    for value in (1, 1e-300, 1e308, Fraction(1, 3), np.int8(1), np.float16(1), np.float32(1), 2.5):
        check_positive("lr", value)
    check_positive("s", 2.5, most=2.5)
    check_rng(np.random.default_rng(0))
    for dtype in (np.float32, np.float64, np.dtype(np.float32), np.dtype(np.float64)):
        check_float_type("dtype", dtype)
    for shape in ((), (0,), (3,), (2, 3, 4)):
        check_floats("b", np.ones(shape))
    for x in (np.ones(4), np.ones((2, 4)), np.ones((0, 4)), np.ones((2, 3, 4))):
        check_width(x, np.ones((3, 4)))
    check_columns(1e-150 * np.ones((2, 3)))
    for labels in ([0, 2], (0, 2), np.uint8([0, 2]), np.array([0, 2])):
        check_labels(labels, 2, 3)
    check_labels(np.zeros(0, int), 0, 3)
    check_weights({})
    check_names({"a": 1}, {"a"})
    check_form("t", {"b": np.zeros(1), "a": LIKE["a"]}, LIKE)
    assert check_logits(np.ones((2, 3))) == (2, 3)


def test_a_matrix_is_any_weight_and_its_shape_is_returned(rng):
    W = rng.standard_normal((3, 4))
    four_bits = quantize(W)
    adapted = attach({"W": W}, {"W": LoRA(1)}, rng=rng).bind()["W"]
    for weight in (W, W.astype(np.float32), W.T.copy().T, four_bits, adapted):
        assert check_matrix("W", weight) == (3, 4)
        check_floats("W", weight)
    with pytest.raises(ValueError, match=r"^W must be float32 or float64, got float16"):
        check_matrix("W", quantize(W.astype(np.float16)))


def test_the_entries_of_a_weight_that_is_no_array_are_not_looked_at():
    """Unpacking four bits only to look for NaN would double the memory and the time of `attach`."""

    class Silent:
        shape = (3, 4)
        ndim = 2
        dtype = np.dtype(np.float32)

        def __call__(self, x):
            raise AssertionError

        def __array__(self, dtype=None, copy=None):
            raise AssertionError

    assert check_matrix("W", Silent()) == (3, 4)


def test_a_matrix_in_float64_is_always_a_copy():
    for dtype in (np.float32, np.float64):
        W = np.ones((2, 3), dtype)
        found = as_float64_matrix("W", W)
        assert found.dtype == np.float64
        assert not np.shares_memory(found, W)


def test_indices_become_a_tuple_of_integers():
    for given in ((3, 0), [3, 0], np.array([3, 0]), np.uint8([3, 0]), range(3, -1, -3)):
        found = as_indices("cols", given, 2, below=4)
        assert found == (3, 0)
        assert {type(index) for index in found} == {int}
    assert as_indices("cols", None, 2) is None


def test_boxes_of_autograd_are_looked_into():
    def loss(U):
        check_floats("U", U)
        check_columns(U)
        check_matrix("U", U)
        return anp.sum(U)

    np.testing.assert_array_equal(autograd.grad(loss)(np.ones((2, 3))), np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"^U must be finite"):
        autograd.grad(loss)(NAN_IN_ONE)
    with pytest.raises(ValueError, match=r"^U must have no zero"):
        autograd.grad(loss)(np.zeros((2, 3)))

    def of_dict(params):
        check_weights(params)
        check_form("t", params, LIKE)
        return anp.sum(params["b"])

    np.testing.assert_array_equal(autograd.grad(of_dict)(LIKE)["b"], [1.0])


def test_an_attached_in_place_of_weights_is_told_what_to_type(rng):
    attached = attach(init_mlp(rng, (3, 2)), {"*.W": LoRA(1)}, rng=rng)
    with pytest.raises(ValueError, match=r"^weights must be a dict.*try attached.bind\(params\)"):
        check_weights(attached)


def test_truths_are_no_logits():
    with pytest.raises(ValueError, match=r"^logits must"):
        check_logits(np.ones((2, 3), bool))
