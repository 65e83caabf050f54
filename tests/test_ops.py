"""Functions with hand-written derivatives, against loops and against finite differences."""

import gc
import math
import weakref

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad
from autograd import value_and_grad as autograd_value_and_grad
from autograd.core import make_vjp
from autograd.test_util import check_grads

from minilora.models.transformer import causal, no_mask
from minilora.ops import (
    add_at,
    attention,
    cross_entropy,
    gather,
    gelu,
    log_softmax,
    matvec,
    pad,
    relu,
    scatter,
    softmax,
    standardise,
)
from minilora.train import value_and_grad
from minilora.weight import linear

INDEX = np.array([3, 0, 4])


def test_linear_is_w_times_each_vector(rng):
    W = rng.standard_normal((3, 4))
    x = rng.standard_normal((2, 5, 4))
    y = linear(W, x)
    for i in range(2):
        for j in range(5):
            expected = [sum(W[k, m] * x[i, j, m] for m in range(4)) for k in range(3)]
            np.testing.assert_allclose(y[i, j], expected)


@pytest.mark.parametrize("axes", [(), (1,), (2,), (7,), (2, 3), (2, 1, 3), (0,), (0, 2)], ids=str)
def test_linear_and_its_gradients_are_those_of_a_loop_over_vectors(axes, rng):
    """For any leading axes: y = W x for each vector, ∂/∂W = Σ g xᵀ, ∂/∂x = Wᵀ g."""
    W = rng.standard_normal((8, 9))
    x = rng.standard_normal((*axes, 9))
    g = rng.standard_normal((*axes, 8))
    for_W = np.zeros((8, 9))
    for_x = np.zeros(x.shape)
    for i in np.ndindex(axes):
        np.testing.assert_allclose(linear(W, x)[i], W @ x[i], rtol=0, atol=1e-13)
        for_W += np.outer(g[i], x[i])
        for_x[i] = W.T @ g[i]
    assert linear(W, x).shape == (*axes, 8)
    assert linear(W, x).flags.c_contiguous
    _, found = value_and_grad(lambda p: anp.sum(g * linear(p["W"], p["x"])), {"W": W, "x": x})
    np.testing.assert_allclose(found["W"], for_W, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["x"], for_x, rtol=0, atol=1e-12)
    if x.size:
        check_grads(linear, argnum=[0, 1], modes=["rev"], order=2)(W, x)


def test_linear_calls_anything_that_maps_x():
    assert linear(lambda x: ("mapped", x), 3) == ("mapped", 3)


@pytest.mark.parametrize("x", [np.ones((2, 3)), np.ones(5), np.float64(1)], ids=np.shape)
def test_x_of_the_wrong_width_is_a_value_error(x):
    message = r"^x has shape .* W is \(3, 4\): the last axis of x must be 4"
    with pytest.raises(ValueError, match=message):
        linear(np.ones((3, 4)), x)


@pytest.mark.parametrize("axes", [(), (2,), (2, 3)], ids=str)
def test_gather_takes_entries_and_scatter_puts_them_back(axes, rng):
    """gather is S x and scatter is Sᵀ z, with the rows of S those of the identity at `INDEX`."""
    S = np.eye(5)[INDEX]
    x = rng.standard_normal((*axes, 5)).astype(np.float32)
    z = rng.standard_normal((*axes, 3)).astype(np.float32)
    np.testing.assert_array_equal(gather(x, INDEX), x @ S.T)
    np.testing.assert_array_equal(scatter(z, INDEX, 5), z @ S)
    assert gather(x, INDEX).dtype == scatter(z, INDEX, 5).dtype == np.float32


def test_add_at_changes_a_region_and_leaves_all_else_bitwise(rng):
    W = rng.standard_normal((4, 5))
    W[0, 0] = -0.0
    W[1, 0] = np.inf
    z = rng.standard_normal((4, 2))
    before = W.copy()
    expected = W.copy()
    for i in range(4):
        expected[i, 3] = W[i, 3] + z[i, 0]
        expected[i, 1] = W[i, 1] + z[i, 1]
    found = add_at(W, (slice(None), np.array([3, 1])), z)
    np.testing.assert_array_equal(found.view(np.int64), expected.view(np.int64))
    np.testing.assert_array_equal(W, before)


def test_relu_at_zero_is_zero_with_slope_zero():
    x = np.array([-np.inf, -1.0, -0.0, 0.0, 1e-300, 2.0, np.inf])
    np.testing.assert_array_equal(relu(x), [0, 0, 0, 0, 1e-300, 2, np.inf])
    assert [grad(relu)(v) for v in (-1.0, 0.0, 2.0)] == [0, 0, 1]


@pytest.mark.parametrize("dtype, error", [(np.float64, 1e-15), (np.float32, 5e-7)])
def test_gelu_is_x_times_the_normal_distribution_function(dtype, error, rng):
    """In blocks and whole, at 0, where Φ is lost in rounding, and where exp(−x²/2) is 0."""
    x = np.concatenate([4 * rng.standard_normal(40_000), [0, -0.0, 1e-30, -1e-30, 30, -30, 200]])
    x = x.astype(dtype).reshape(1, -1)
    exact = [v * math.erfc(-v / math.sqrt(2)) / 2 for v in x.ravel().tolist()]
    y = gelu(x)
    assert y.dtype == dtype and y.shape == x.shape
    np.testing.assert_allclose(y.ravel(), exact, rtol=error, atol=error)
    slope = [
        math.erfc(-v / math.sqrt(2)) / 2 + v * math.exp(-v * v / 2) / math.sqrt(2 * math.pi)
        for v in x.ravel().tolist()
    ]
    back, _ = make_vjp(gelu, x)
    np.testing.assert_allclose(back(np.ones_like(x)).ravel(), slope, rtol=0, atol=2 * error)
    np.testing.assert_array_equal(gelu(x[:, ::-1]), y[:, ::-1])


def test_gelu_in_float32_errs_by_no_more_than_it_says():
    """A grid of step 1e-4 from −12 to 12, and one of step 1e-3 to ±60."""
    x = np.concatenate([np.linspace(-12, 12, 240_001), np.linspace(-60, 60, 120_001)])
    x = x.astype(np.float32)
    exact = [v * math.erfc(-v / math.sqrt(2)) / 2 for v in x.tolist()]
    assert np.all(np.abs(gelu(x) - exact) <= np.maximum(3e-7, 1.2e-7 * np.abs(x)))


@pytest.mark.filterwarnings("error")
def test_gelu_of_huge_entries_is_that_of_relu():
    x = np.array([1e4, -1e4, 1e9, -1e9, 1e18, -1e18], np.float32)
    back, y = make_vjp(gelu, x)
    np.testing.assert_array_equal(y, relu(x))
    np.testing.assert_array_equal(back(np.ones_like(x)), [1, 0, 1, 0, 1, 0])


def test_the_tape_keeps_the_slope_of_gelu_alone(rng):
    x = rng.standard_normal((2, 5))
    kept = weakref.ref(x)
    back, y = make_vjp(gelu, x)
    kept_y = weakref.ref(y)
    del x, y
    gc.collect()
    assert kept() is None and kept_y() is None
    assert back(np.ones((2, 5))).shape == (2, 5)


def test_pad_puts_rows_where_the_mask_is_true():
    mask = np.array([[True, False, True], [False, True, False]])
    rows = np.arange(1.0, 7).reshape(3, 2)
    padded = pad(rows, mask)
    np.testing.assert_array_equal(padded, [[[1, 2], [0, 0], [3, 4]], [[0, 0], [5, 6], [0, 0]]])
    assert pad(rows.astype(np.float32), mask).dtype == np.float32


def test_attention_is_softmax_of_the_scores_times_v_within_each_sentence(rng):
    """Entry by entry: sentences of 3, 1 and 2 tokens, two heads of three columns."""
    q, k, v = rng.standard_normal((3, 6, 6))
    y = attention(q, k, v, np.array([3, 4, 6]), 2)
    sentence = [0, 0, 0, 1, 2, 2]
    for t in range(6):
        for head in (slice(0, 3), slice(3, 6)):
            seen = [s for s in range(6) if sentence[s] == sentence[t]]
            powers = [math.exp(np.dot(q[t, head], k[s, head]) / math.sqrt(3)) for s in seen]
            expected = sum(p * v[s, head] for p, s in zip(powers, seen)) / sum(powers)
            np.testing.assert_allclose(y[t, head], expected, rtol=0, atol=1e-14)


def test_standardise_is_the_vector_less_its_mean_over_its_deviation(rng):
    x = rng.standard_normal((2, 3, 5))
    for i in np.ndindex(2, 3):
        mean = sum(x[i]) / 5
        variance = sum((v - mean) ** 2 for v in x[i]) / 5
        expected = [(v - mean) / math.sqrt(variance + 0.1) for v in x[i]]
        np.testing.assert_allclose(standardise(x, 0.1)[i], expected, rtol=1e-13)


def test_softmax_is_a_distribution_over_the_allowed_keys(rng):
    scores = rng.standard_normal((2, 3, 4, 4))
    allowed = causal(4)
    probabilities = softmax(scores, allowed)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-14)
    assert not np.any(probabilities[..., ~allowed])
    ratio = probabilities[..., 3, 1] / probabilities[..., 3, 2]
    np.testing.assert_allclose(ratio, np.exp(scores[..., 3, 1] - scores[..., 3, 2]))


@pytest.mark.parametrize("allowed", [True, causal(3)])
def test_softmax_leaves_the_scores_as_they_are(allowed, rng):
    scores = rng.standard_normal((2, 3, 3))
    kept = scores.copy()
    softmax(scores, allowed)
    np.testing.assert_array_equal(scores, kept)


@pytest.mark.parametrize("masked", [-1e30, 0.0, 1e30])
@pytest.mark.parametrize("size", [-1e30, 1e30])
def test_softmax_survives_huge_scores(masked, size):
    """The sum neither overflows nor vanishes, however large the scores, masked ones too."""
    scores = np.array([[size, masked, masked], [size, size, masked], [size, size, size]])
    expected = [[1, 0, 0], [1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(softmax(scores, causal(3)), expected)


def test_softmax_survives_queries_of_unlike_size():
    """The largest score that is subtracted is that of each query, not that of all."""
    scores = np.array([[0.0, 0.0], [1e4, 1e4]])
    np.testing.assert_allclose(softmax(scores, no_mask(2)), [[0.5, 0.5], [0.5, 0.5]])


def test_cross_entropy_is_minus_the_mean_log_softmax_at_the_label(rng):
    logits = rng.standard_normal((7, 4))
    labels = rng.integers(4, size=7)
    terms = []
    for row, label in zip(logits, labels):
        terms.append(math.log(sum(math.exp(z) for z in row)) - row[label])
    assert cross_entropy(logits, labels) == pytest.approx(sum(terms) / 7, rel=1e-13)
    at_labels = log_softmax(logits)[np.arange(7), labels]
    np.testing.assert_allclose(at_labels, np.negative(terms), rtol=1e-13)


def test_cross_entropy_survives_huge_logits():
    logits = np.array([[1e4, 0.0], [0.0, 1e4]])
    labels = np.array([0, 0])
    value, found = autograd_value_and_grad(cross_entropy)(logits, labels)
    assert value == 5e3
    np.testing.assert_array_equal(found, [[0, 0], [-0.5, 0.5]])


def test_log_softmax_survives_rows_of_unlike_size():
    """The largest logit that is subtracted is that of each row, not that of all."""
    logits = np.array([[0.0, 0.0], [1e4, 1e4], [-1e4, -1e4]])
    np.testing.assert_allclose(log_softmax(logits), np.full((3, 2), -math.log(2)))
    assert cross_entropy(logits, [0, 1, 0]) == pytest.approx(math.log(2))


def test_the_gradient_of_cross_entropy_keeps_float32_whatever_it_is_multiplied_with(rng):
    logits = rng.standard_normal((7, 4)).astype(np.float32)
    labels = rng.integers(4, size=7)
    _, one = value_and_grad(lambda z: cross_entropy(z, labels), logits)
    _, three = value_and_grad(lambda z: 3.0 * cross_entropy(z, labels), logits)
    assert one.dtype == three.dtype == np.float32
    np.testing.assert_allclose(three, 3 * one, rtol=1e-6)
    _, inside = autograd_value_and_grad(cross_entropy)(logits, labels)  # before any cast at the end
    assert inside.dtype == np.float32


COLUMNS = (slice(None), np.array([3, 1]))
LABELS = np.array([0, 2])
MASK = np.array([[True, False, True], [False, True, False]])
KEYS = np.sin(np.arange(24, dtype=np.float32)).reshape(4, 6)
# What is differentiated, the arguments that have a gradient, and the shapes of these.
DERIVATIVES = {
    "matvec": (matvec, [(3, 4), (2, 5, 4)]),
    "gather": (lambda x: gather(x, INDEX), [(2, 5)]),
    "scatter": (lambda z: scatter(z, INDEX, 5), [(2, 3)]),
    "add_at": (lambda W, z: add_at(W, COLUMNS, z), [(4, 5), (4, 2)]),
    "relu": (relu, [(2, 5)]),
    "gelu": (gelu, [(2, 5)]),
    "pad": (lambda rows: pad(rows, MASK), [(3, 2)]),
    "attention": (lambda q, k, v: attention(q, k, v, [1, 4], 2), [(4, 6)] * 3),
    "attention of v": (lambda v: attention(KEYS, KEYS, v, [1, 4], 2), [(4, 6)]),
    "standardise": (lambda x: standardise(0.1 * x, 0.01), [(2, 3, 5)]),
    "softmax of some": (lambda scores: softmax(scores, causal(4)), [(2, 3, 4, 4)]),
    "softmax of all": (lambda scores: softmax(scores, no_mask(4)), [(2, 3, 4, 4)]),
    "log_softmax": (log_softmax, [(2, 3)]),
    "cross_entropy": (lambda logits: cross_entropy(logits, LABELS), [(2, 3)]),
    "cross_entropy of one row": (lambda logits: cross_entropy(logits, [1]), [(1, 3)]),
}
every_derivative = pytest.mark.parametrize("name", DERIVATIVES)


@every_derivative
def test_the_first_and_the_second_derivative_agree_with_finite_differences(name, rng):
    function, shapes = DERIVATIVES[name]
    arguments = [rng.standard_normal(shape) for shape in shapes]
    argnum = list(range(len(shapes)))
    modes = ["rev"] if name.startswith("attention") else ["fwd", "rev"]
    check_grads(function, argnum=argnum, modes=modes, order=2)(*arguments)


@every_derivative
def test_values_and_gradients_keep_float32(name, rng):
    function, shapes = DERIVATIVES[name]
    params = {str(i): rng.standard_normal(shape) for i, shape in enumerate(shapes)}
    params = {key: array.astype(np.float32) for key, array in params.items()}
    value, grads = value_and_grad(lambda p: anp.sum(anp.tanh(function(*p.values()))), params)
    assert {np.dtype(value.dtype)} | {g.dtype for g in grads.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    "logits", [np.ones(3), np.ones((1, 2, 3)), np.ones((0, 3)), np.ones((2, 0)), [[1.0]]], ids=repr
)
def test_logits_that_are_no_rows_of_classes_are_a_value_error(logits):
    with pytest.raises(ValueError, match=r"^logits must be an array \(n, classes\)"):
        cross_entropy(logits, np.zeros(1, int))


def test_the_tape_does_not_keep_the_input_of_gather(rng):
    """SBoRA-FA takes r of its entries, and needs no others for any gradient."""
    x = rng.standard_normal((2, 5))
    kept = weakref.ref(x)
    back, _ = make_vjp(lambda x: gather(x, INDEX), x)
    del x
    gc.collect()
    assert kept() is None
    np.testing.assert_array_equal(back(np.ones((2, 3))), np.array([[1.0, 0, 0, 1, 1]] * 2))
