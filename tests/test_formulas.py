"""Every merge against its paper's equation, written as loops: forward = merge cannot show that."""

import math

import numpy as np
import pytest
from support.draws import assert_normal

from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.adapters.scaling import alpha_over_sqrt_rank
from minilora.testing.rows import moved, weight
from minilora.train import value_and_grad


def plus_product(W, s, B, A):
    """W + s B A, entry by entry."""
    merged = np.array(W)
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            for k in range(A.shape[0]):
                merged[i, j] += s * B[i, k] * A[k, j]
    return merged


SHAPES = pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])


@SHAPES
@pytest.mark.parametrize(
    "adapter, s",
    [
        (LoRA(rank=2), 1.0),
        (LoRA(rank=2, alpha=8), 4.0),
        (LoRA(rank=3, alpha=1.5), 0.5),
        (LoRA(rank=2, alpha=6, scaling=alpha_over_sqrt_rank), 6 / math.sqrt(2)),
        (LoRA(rank=3, alpha=6, scaling=alpha_over_sqrt_rank), 6 / math.sqrt(3)),
    ],
)
def test_lora_is_w_plus_alpha_over_r_b_a(adapter, s, shape, rng):
    W = weight(rng, shape)
    params, frozen = adapter.init(rng, W)
    params = moved(rng, params)
    expected = plus_product(W, s, params["B"], params["A"])
    np.testing.assert_allclose(adapter.merge(params, frozen), expected, rtol=1e-13)


@SHAPES
def test_sbora_fa_is_w_plus_s_b_times_rows_of_the_identity(shape, rng):
    """The columns are given out of order, so that an adapter which sorts them is found out."""
    adapter = SBoRAFA(rank=2, alpha=3, cols=(2, 0))
    W = weight(rng, shape)
    params, frozen = adapter.init(rng, W)
    params = moved(rng, params)
    A = np.zeros((2, shape[1]))
    A[0, 2] = A[1, 0] = 1
    expected = plus_product(W, 1.5, params["B"], A)
    np.testing.assert_allclose(adapter.merge(params, frozen), expected, rtol=1e-13)


@SHAPES
def test_sbora_fb_is_w_plus_s_columns_of_the_identity_times_a(shape, rng):
    adapter = SBoRAFB(rank=2, alpha=3, rows=(2, 0))
    W = weight(rng, shape)
    params, frozen = adapter.init(rng, W)
    params = moved(rng, params)
    B = np.zeros((shape[0], 2))
    B[2, 0] = B[0, 1] = 1
    expected = plus_product(W, 1.5, B, params["A"])
    np.testing.assert_allclose(adapter.merge(params, frozen), expected, rtol=1e-13)


def times(M, N):
    """The product of two matrices, entry by entry."""
    product = np.zeros((len(M), N.shape[1]))
    for i in range(len(M)):
        for j in range(N.shape[1]):
            product[i, j] = sum(M[i, k] * N[k, j] for k in range(len(N)))
    return product


@SHAPES
@pytest.mark.parametrize("adapter", [HRA(1, odd=True), HRA(2), HRA(3, odd=True), HRA(4)], ids=str)
def test_hra_is_w_times_the_product_of_reflections_in_order(shape, adapter, rng):
    """W H₁ … H_r with dense H_i = I − 2 u uᵀ / uᵀu; generic reflections do not commute."""
    W = weight(rng, shape)
    params, frozen = adapter.init(rng, W)
    params = moved(rng, params)
    expected = W
    for u in params["U"].T:
        H = np.eye(len(u))
        for i in range(len(u)):
            for j in range(len(u)):
                H[i, j] -= 2 * u[i] * u[j] / sum(v * v for v in u)
        expected = times(expected, H)
    np.testing.assert_allclose(adapter.merge(params, frozen), expected, rtol=0, atol=1e-14)


@SHAPES
def test_strict_hra_is_w_times_i_minus_two_projections(shape, rng):
    """P from Cramer's rule for the 2 × 2 matrix UᵀU: no Gram–Schmidt and no library."""
    adapter = HRAStrict(2)
    W = weight(rng, shape)
    params, frozen = adapter.init(rng, W)
    params = moved(rng, params)
    U = params["U"]
    a, b, c = (sum(U[i, j] * U[i, k] for i in range(len(U))) for j, k in ((0, 0), (0, 1), (1, 1)))
    inverse = np.array([[c, -b], [-b, a]]) / (a * c - b * b)
    P = times(times(U, inverse), U.T)
    expected = times(W, np.eye(shape[1]) - 2 * P)
    np.testing.assert_allclose(adapter.merge(params, frozen), expected, rtol=0, atol=1e-13)


@SHAPES
def test_condlora_is_w_plus_s_w_theta_b_theta_a_w(shape, rng):
    """A = Θ_A W and B = W Θ_Bᵀ: W + s W M W with M = Θ_Bᵀ Θ_A, and not W M Wᵀ."""
    adapter = CondLoRA(rank=2, alpha=3)
    W = weight(rng, shape)
    params, frozen = adapter.init(rng, W)
    params = moved(rng, params)
    M = times(params["Theta_B"].T, params["Theta_A"])
    expected = W + 1.5 * times(times(W, M), W)
    np.testing.assert_allclose(adapter.merge(params, frozen), expected, rtol=1e-12)


def test_condlora_starts_with_theta_b_zero_and_theta_a_normal_of_variance_one_over_d_out(rng):
    params, _ = CondLoRA(rank=64).init(rng, weight(rng, (400, 70)))
    assert not np.any(params["Theta_B"])
    assert_normal(params["Theta_A"], 400**-0.5)


def test_hra_starts_with_adjacent_equal_pairs_of_unit_columns_in_all_directions(rng):
    """An entry of a random unit vector is all but normal in so many dimensions."""
    U = HRA(128).init(rng, weight(rng, (5, 200)))[0]["U"]
    np.testing.assert_array_equal(U[:, 0::2], U[:, 1::2])
    np.testing.assert_allclose(np.sum(U**2, axis=0), 1, rtol=1e-14)
    assert_normal(U[:, ::2], 200**-0.5)


def test_lora_starts_with_b_zero_and_a_normal_of_variance_one_over_d_in(rng):
    params, _ = LoRA(rank=64).init(rng, weight(rng, (70, 400)))
    assert not np.any(params["B"])
    assert_normal(params["A"], 400**-0.5)


@pytest.mark.parametrize("adapter", [LoRA(2), CondLoRA(2), HRA(2), HRA(3, odd=True)], ids=str)
def test_float32_starts_where_float64_does(adapter, rng):
    """From the generator alone, and from nothing of W but its shape."""
    W = weight(rng, (5, 6))
    one, two, three = (
        adapter.init(np.random.default_rng(seed), V)[0]
        for seed, V in ((3, W), (3, 2 * W.astype(np.float32)), (4, W))
    )
    for letter, array in one.items():
        assert (array.dtype, two[letter].dtype) == (np.float64, np.float32)
        np.testing.assert_allclose(two[letter], array, rtol=1e-6)
        assert not np.any(array) or np.all(array != three[letter])


def test_at_the_start_only_b_has_a_gradient(rng):
    """∂loss/∂A is a multiple of Bᵀ = 0, ∂loss/∂B one of A x ≠ 0: the first step moves B alone."""
    adapter = LoRA(rank=2)
    W = weight(rng, (4, 5))
    params, frozen = adapter.init(rng, W)
    x = rng.standard_normal((3, 5))
    _, grads = value_and_grad(lambda p, x: (adapter.forward(p, frozen, x) ** 2).sum(), params, x)
    assert not np.any(grads["A"])
    y = x @ W.T
    np.testing.assert_allclose(grads["B"], 2 * y.T @ (x @ params["A"].T), rtol=1e-12)


def test_full_is_the_trained_matrix(rng):
    W = weight(rng, (4, 5))
    params, frozen = Full().init(rng, W)
    assert frozen == {}
    params = moved(rng, params)
    np.testing.assert_array_equal(Full().merge(params, frozen), params["W"])


SCALED = pytest.mark.parametrize("adapter", [LoRA, SBoRAFA, SBoRAFB, CondLoRA])


@SCALED
@pytest.mark.parametrize("alpha", [0, -1, math.nan, math.inf, 1e301, "8", True, np.True_, 1j, [2]])
def test_an_impossible_alpha_is_refused(adapter, alpha):
    with pytest.raises(ValueError, match=r"^alpha must be a positive number up to 1e\+300, got"):
        adapter(rank=2, alpha=alpha)


@SCALED
@pytest.mark.parametrize("alpha", [3, 3.0, np.int64(3), np.uint8(3), np.float32(3), np.float16(3)])
def test_alpha_is_any_positive_number(adapter, alpha, rng):
    """And NumPy's numbers do not change the dtype of what is computed."""
    made = adapter(rank=2, alpha=alpha)
    W = weight(rng, (4, 5), np.float32)
    params, frozen = made.init(rng, W)
    params = moved(rng, params)
    x = np.ones(5, np.float32)
    assert type(made.scale) is float
    assert made.scale == 1.5
    assert made.forward(params, frozen, x).dtype == made.merge(params, frozen).dtype == np.float32


@SCALED
def test_the_largest_and_the_smallest_alpha_are_allowed(adapter):
    assert adapter(rank=1, alpha=1e300).scale == 1e300
    assert adapter(rank=1, alpha=5e-324).scale == 5e-324
    with pytest.raises(ValueError, match=r"^alpha must be a positive number up to 1e\+300"):
        adapter(rank=1, alpha=math.nextafter(1e300, math.inf))


@SCALED
@pytest.mark.parametrize(
    "result", [0.0, -1e-300, -1.0, math.nan, math.inf, -math.inf, None, "2", 1j, [1.0]], ids=repr
)
def test_a_scaling_that_gives_no_positive_number_is_refused(adapter, result):
    with pytest.raises(ValueError, match=r"^scaling must give a positive number, got .* for \w+\("):
        adapter(rank=2, scaling=lambda alpha, rank: result)


@SCALED
@pytest.mark.parametrize("scaling", [None, "alpha_over_rank", 2.0])
def test_a_scaling_that_is_no_function_is_refused(adapter, scaling):
    message = r"^scaling must be a function of \(alpha, rank\), got .*alpha_over_rank"
    with pytest.raises(ValueError, match=message):
        adapter(rank=2, scaling=scaling)


@SCALED
def test_a_scaling_of_ones_own_is_called_with_alpha_and_rank(adapter):
    assert adapter(rank=3, alpha=7, scaling=lambda alpha, rank: 10 * alpha + rank).scale == 73
    assert adapter(rank=3, scaling=lambda alpha, rank: 10 * alpha + rank).scale == 33
