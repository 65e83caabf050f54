"""HRA: what a product of Householder reflections is, keeps, and cannot reach."""

import numpy as np
import pytest
from autograd.test_util import check_grads
from hypothesis import assume, given
from hypothesis import strategies as st

from minilora.adapters import HRA, HRAStrict
from minilora.adapters.hra import orthogonality_penalty
from minilora.testing.claims import YUAN, at_least, claim, exactly, within
from minilora.testing.rows import moved, weight
from minilora.train import value_and_grad

SEED = st.integers(0, 2**32 - 1)
WIDTH = st.integers(1, 10)


def vectors(seed, d, r):
    """r random columns of sizes from 1e-6 to 1e6, every third nearly equal to another: (d, r)."""
    rng = np.random.default_rng(seed)
    U = rng.standard_normal((d, r))
    U[:, 2::3] = U[:, 1 : U[:, 2::3].shape[1] * 3 : 3] + 1e-3 * U[:, 2::3]
    return U * 10.0 ** rng.uniform(-6, 6, r)


def small_integers(d, r):
    """Columns of small integers: parallel, orthogonal, repeated ones occur; zero columns do not."""
    column = st.lists(st.integers(-2, 2), min_size=d, max_size=d).filter(any)
    return st.lists(column, min_size=r, max_size=r).map(
        lambda columns: np.array(columns, float).reshape(r, d).T
    )


def H_of(U):
    """H₁ … H_r as a matrix, by HRA's merge on the identity."""
    return HRA(U.shape[1], odd=True).merge({"U": U}, {"W": np.eye(U.shape[0])})


def check_reflections(U):
    d, r = U.shape
    H = H_of(U)
    within(np.abs(H.T @ H - np.eye(d)), 1e-13, "HᵀH")
    within(np.abs(np.linalg.det(H) - (-1) ** r), 1e-12, "det")
    within(np.abs(H_of(U[:, ::-1]) @ H - np.eye(d)), 1e-13, "inverse")
    compact = HRA(r, odd=True).forward({"U": U}, {"W": np.eye(d)}, np.eye(d)).T
    within(np.abs(compact - H), 1e-12, "compact WY")
    x = np.random.default_rng(r).standard_normal(d)
    y = x
    for u in U.T[::-1]:
        unit = u / np.linalg.norm(u)
        y = y - 2 * unit * (unit @ y)
    within(np.abs(H @ x - y), 1e-13 * (1 + np.abs(x).max()), "one reflection after the other")


@claim("B1", YUAN, "H is orthogonal, det H = (−1)^r, reversed columns give the inverse")
@claim("B2", YUAN, "compact WY is the chain, for any r and any lengths of the columns")
@given(SEED, WIDTH, st.integers(1, 14))
def test_a_chain_of_reflections_is_orthogonal_and_equals_compact_wy(seed, d, r):
    """For columns of any non-zero length, r above d too, nearly parallel ones too."""
    check_reflections(vectors(seed, d, r))


@claim("B1", YUAN, "… and for parallel, orthogonal and repeated integer columns")
@claim("B2", YUAN, "… and for parallel, orthogonal and repeated integer columns")
@given(st.data(), st.integers(1, 5), st.integers(1, 6))
def test_degenerate_reflections(data, d, r):
    """For columns of small integers, where ties and dependence occur."""
    check_reflections(data.draw(small_integers(d, r)))


@claim("B3", YUAN, "HRA is LoRA in disguise: ΔW = −(W U Γ) Uᵀ of rank at most r")
@given(SEED, WIDTH, st.integers(1, 6), st.integers(1, 8))
def test_hra_is_a_low_rank_update_that_depends_on_w(seed, d, r, d_out):
    """Γ column by column: Γ_k = [[Γ, −2 Γ Uᵀu], [0, 2]] for unit columns, a second derivation."""
    rng = np.random.default_rng(seed)
    U = rng.standard_normal((d, r))
    U /= np.linalg.norm(U, axis=0)
    W = weight(rng, (d_out, d))
    Gamma = np.zeros((0, 0))
    for k in range(r):
        corner = -2 * Gamma @ (U[:, :k].T @ U[:, k : k + 1])
        Gamma = np.block([[Gamma, corner], [np.zeros((1, k)), np.full((1, 1), 2.0)]])
    delta = HRA(r, odd=True).merge({"U": U}, {"W": W}) - W
    within(np.abs(delta + W @ U @ Gamma @ U.T), 1e-12)
    values = np.linalg.svd(delta, compute_uv=False)
    exactly(np.sum(values > 1e-10 * (values[0] + 1)) <= min(r, d, d_out))


@claim("B4", YUAN, "W H keeps the singular values, row lengths and row angles of W")
@given(SEED, WIDTH, st.integers(1, 6), st.integers(1, 8))
def test_what_hra_keeps(seed, d, r, d_out):
    """For any W: W H Hᵀ Wᵀ = W Wᵀ."""
    W = weight(np.random.default_rng(seed), (d_out, d))
    merged = HRA(r, odd=True).merge({"U": vectors(seed, d, r)}, {"W": W})
    spectra = [np.linalg.svd(M, compute_uv=False) for M in (merged, W)]
    within(np.abs(spectra[0] - spectra[1]), 1e-12)
    within(np.abs(merged @ merged.T - W @ W.T), 1e-12)


@claim("B5", YUAN, "equal columns in adjacent pairs give I; interleaved they do not")
@given(SEED, st.integers(1, 10), st.integers(1, 4))
def test_pairs_start_as_the_identity(seed, d, half):
    """For the start of HRA at every even rank."""
    W = np.eye(d)
    params, frozen = HRA(2 * half).init(np.random.default_rng(seed), W)
    within(np.abs(HRA(2 * half).merge(params, frozen) - W), 1e-13)
    within(np.abs(HRA(2 * half).forward(params, frozen, W) - W), 1e-13)


@claim("B5", YUAN, "equal columns in adjacent pairs give I; interleaved they do not")
def test_interleaved_pairs_are_not_the_identity():
    """(u₁, u₂, u₁, u₂) is a rotation by twice the angle: far from I in the median of 50 draws."""
    distances = []
    for seed in range(50):
        half = np.random.default_rng(seed).standard_normal((6, 2))
        distances.append(np.linalg.norm(H_of(np.tile(half, 2)) - np.eye(6), 2))
    at_least(np.median(distances), 0.5)


@claim("B6", YUAN, "an odd number of reflections never is I: ‖WH − W‖₂ ≥ 2 σ_min(W)")
@given(SEED, st.integers(1, 8), st.integers(0, 3))
def test_an_odd_product_is_far_from_the_identity(seed, d, half):
    """For every odd r, every U and every square W: H has the eigenvalue −1."""
    rng = np.random.default_rng(seed)
    r = 2 * half + 1
    W = weight(rng, (d, d))
    U = vectors(seed, d, r)
    adapter = HRA(r, odd=True)
    within(np.abs(np.linalg.norm(H_of(U) - np.eye(d), 2) - 2), 1e-12)
    distance = np.linalg.norm(adapter.merge({"U": U}, {"W": W}) - W, 2)
    smallest = np.linalg.svd(W, compute_uv=False)[-1]
    assume(smallest > 1e-3)
    at_least(distance, 2 * smallest * (1 - 1e-9))
    start, frozen = adapter.init(rng, W)
    exactly(start["U"].shape == (d, r))
    within(np.abs(np.linalg.det(adapter.merge(start, frozen)) + np.linalg.det(W)), 1e-12)


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_an_odd_rank_is_refused_with_the_reason_unless_asked_for(rank):
    with pytest.raises(ValueError, match=r"^rank must be even, got .: .*determinant −1.*odd=True"):
        HRA(rank)
    assert HRA(rank, odd=True).rank == rank


@claim("B7", YUAN, "‖H − I‖_F ≤ 2√r and ‖WH − W‖_F ≤ 2 √(the r largest σ²)")
@given(SEED, WIDTH, st.integers(1, 6), st.integers(1, 8))
def test_how_far_reflections_can_move_a_matrix(seed, d, r, d_out):
    """For any W and U; for two unit vectors ‖H − I‖_F = 2√2 |sin(u₁, u₂)|."""
    rng = np.random.default_rng(seed)
    W = weight(rng, (d_out, d))
    U = rng.standard_normal((d, r))
    within(np.linalg.norm(H_of(U) - np.eye(d)), 2 * np.sqrt(r) * (1 + 1e-12))
    values = np.linalg.svd(W, compute_uv=False)
    moved_by = np.linalg.norm(HRA(r, odd=True).merge({"U": U}, {"W": W}) - W)
    within(moved_by, 2 * np.sqrt(np.sum(values[:r] ** 2)) * (1 + 1e-10))
    if r == 2:
        lengths = np.linalg.norm(U, axis=0)
        cosine = U[:, 0] @ U[:, 1] / np.prod(lengths)
        expected = 2 * np.sqrt(2) * np.sqrt(max(0.0, 1 - cosine**2))
        within(abs(np.linalg.norm(H_of(U) - np.eye(d)) - expected), 1e-7)


@claim("B7", YUAN, "… with equality for the top right-singular vectors")
@given(SEED, st.integers(1, 8), st.integers(1, 8), st.data())
def test_the_top_singular_vectors_move_it_farthest(seed, d, d_out, data):
    """For orthonormal top right-singular vectors of any W."""
    W = weight(np.random.default_rng(seed), (d_out, d))
    r = data.draw(st.integers(1, min(d, d_out)))
    _, values, Vt = np.linalg.svd(W)
    distance = np.linalg.norm(HRA(r, odd=True).merge({"U": Vt[:r].T}, {"W": W}) - W)
    within(abs(distance / (2 * np.sqrt(np.sum(values[:r] ** 2))) - 1), 1e-10)


@claim("B8", YUAN, "strict: H = I − 2P is an involution with ‖H − I‖_F = 2√r for all U")
@given(SEED, st.integers(1, 9), st.data())
def test_strict_hra(seed, d, data):
    """For any independent columns and r ≤ d: the identity cannot be reached for any r ≥ 1."""
    rng = np.random.default_rng(seed)
    r = data.draw(st.integers(1, d))
    U = rng.standard_normal((d, r)) * 10.0 ** rng.uniform(-3, 3, r)
    unit = U / np.linalg.norm(U, axis=0)
    assume(np.linalg.svd(unit, compute_uv=False)[-1] > 1e-2)
    adapter = HRAStrict(r)
    W = weight(rng, (5, d))
    H = adapter.merge({"U": U}, {"W": np.eye(d)})
    within(np.abs(H - H.T), 1e-11)
    within(np.abs(H @ H - np.eye(d)), 1e-11)
    within(abs(np.linalg.norm(H - np.eye(d)) - 2 * np.sqrt(r)), 1e-11)
    within(np.abs(H @ U + U) / np.linalg.norm(U, axis=0), 1e-11, "the span of U is reflected")
    within(np.abs(adapter.forward({"U": U}, {"W": np.eye(d)}, np.eye(d)).T - H), 1e-10)
    values = np.append(np.linalg.svd(W, compute_uv=False), np.zeros(d))[:d]
    distance = np.linalg.norm(adapter.merge({"U": U}, {"W": W}) - W)
    within(distance, 2 * np.sqrt(np.sum(values[:r] ** 2)) * (1 + 1e-11))
    within(2 * np.sqrt(np.sum(values[d - r :] ** 2)), distance + 1e-11)


@claim("B8", YUAN, "… and its start is as near to W as it can be")
@given(SEED, st.integers(1, 7), st.integers(2, 9), st.data())
def test_strict_hra_starts_as_near_as_it_can(seed, d_out, d, data):
    """For any W: the start moves W by 2 √(the r smallest σ²), which is 0 when d_in − d_out ≥ r."""
    r = data.draw(st.integers(1, d))
    W = weight(np.random.default_rng(seed), (d_out, d))
    params, frozen = HRAStrict(r).init(np.random.default_rng(0), W)
    values = np.append(np.linalg.svd(W, compute_uv=False), np.zeros(d))[:d]
    distance = np.linalg.norm(HRAStrict(r).merge(params, frozen) - W)
    within(abs(distance - 2 * np.sqrt(np.sum(values[d - r :] ** 2))), 1e-13)


@pytest.mark.parametrize("lengths", [1e-9, [1e-4, 1.0, 1e4]], ids=str)
def test_only_the_directions_of_the_columns_count(lengths, rng):
    """Columns 10⁹ times shorter, or of very different lengths, are as independent as before."""
    adapter = HRAStrict(3)
    W = weight(rng, (4, 5))
    U = rng.standard_normal((5, 3))
    frozen = {"W": W}
    x = rng.standard_normal(5)
    short = {"U": lengths * U}
    merged = adapter.merge({"U": U}, frozen)
    y = adapter.forward({"U": U}, frozen, x)
    np.testing.assert_allclose(adapter.merge(short, frozen), merged, atol=1e-12)
    np.testing.assert_allclose(adapter.forward(short, frozen, x), y, atol=1e-12)


def test_nearly_dependent_columns_are_reflected_along_orthogonal_vectors(rng):
    """Then the reflections commute and H = Hᵀ; one pass of Gram–Schmidt leaves them at 1e-10."""
    one, two, three, four = rng.standard_normal((4, 6))
    U = np.stack([one, one + 1e-6 * two, three, three + 1e-6 * four], axis=1)
    H = HRAStrict(4).merge({"U": U}, {"W": np.eye(6)})
    np.testing.assert_allclose(H, H.T, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dependent_columns_are_an_error_and_not_nan(dtype, rng):
    W = weight(rng, (4, 5), dtype)
    one, two = rng.standard_normal((2, 5)).astype(dtype)
    for columns in ((one, one), (one, -3 * one), (one, two, one + two), (one, one + 1e-9 * two)):
        params = {"U": np.stack(columns, axis=1).astype(dtype)}
        adapter = HRAStrict(len(columns))
        with pytest.raises(ValueError, match=r"^U must have independent columns"):
            adapter.forward(params, {"W": W}, np.ones(5, dtype))
        with pytest.raises(ValueError, match=r"^U must have independent columns"):
            adapter.merge(params, {"W": W})


@pytest.mark.parametrize("adapter", [HRA(2), HRAStrict(2)], ids=str)
@pytest.mark.parametrize("wrong", [0.0, np.nan, np.inf])
def test_a_column_without_a_direction_is_an_error(adapter, wrong, rng):
    W = weight(rng, (4, 5))
    U = rng.standard_normal((5, 2))
    U[:, 1] = wrong
    message = r"^U must have no zero, NaN or infinite column"
    with pytest.raises(ValueError, match=message):
        adapter.forward({"U": U}, {"W": W}, np.ones(5))
    with pytest.raises(ValueError, match=message):
        adapter.merge({"U": U}, {"W": W})


@claim("B9", YUAN, "the regulariser is 2 Σ_{i<j} (û_i·û_j)², in [max(0, r(r−d)/d), r(r−1)]")
@given(SEED, WIDTH, st.integers(1, 8))
def test_the_regulariser(seed, d, r):
    """For columns of any non-zero length only their angles count.

    The value is 0 for orthogonal columns and r (r − 1) for parallel ones.
    """
    U = vectors(seed, d, r)
    unit = U / np.linalg.norm(U, axis=0)
    pairs = sum(2 * (unit[:, i] @ unit[:, j]) ** 2 for i in range(r) for j in range(i))
    value = orthogonality_penalty(U)
    within(abs(value - pairs), 1e-9)
    within(value, r * (r - 1) + 1e-9)
    within(max(0.0, r * (r - d) / d), value + 1e-9)
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]
    within(orthogonality_penalty(Q[:, : min(r, d)]), 1e-12)
    within(abs(orthogonality_penalty(np.repeat(Q[:, :1], r, axis=1)) - r * (r - 1)), 1e-9)


def test_the_regulariser_has_the_right_gradient_and_dtype(rng):
    check_grads(orthogonality_penalty, modes=["rev"], order=1)(rng.standard_normal((5, 3)))
    params = {"U": np.ones((5, 3), np.float32)}
    value, grads = value_and_grad(lambda p: orthogonality_penalty(p["U"]), params)
    assert (value.dtype, grads["U"].dtype) == (np.float32, np.float32)


def test_the_two_columns_of_a_pair_start_with_opposite_gradients(rng):
    """So training leaves the identity symmetrically; it does leave, as the gradient is not zero."""
    adapter = HRA(4)
    W = weight(rng, (3, 6))
    X = rng.standard_normal((5, 6))
    params, frozen = adapter.init(rng, W)
    _, grads = value_and_grad(lambda p: (adapter.forward(p, frozen, X) ** 3).sum(), params)
    g = grads["U"]
    np.testing.assert_allclose(g[:, 0::2], -g[:, 1::2], rtol=1e-9)
    np.testing.assert_allclose(np.sum(g * params["U"], axis=0), 0, atol=1e-12)
    assert np.min(np.linalg.norm(g, axis=0)) > 0.1


def test_hra_over_moved_params_differs_from_its_reverse(rng):
    """The claims B1 to B9 do not depend on the order of the reflections; this test does."""
    U = moved(rng, {"U": rng.standard_normal((4, 3))})["U"]
    u1, u2, u3 = (u / np.linalg.norm(u) for u in U.T)
    adapter = HRA(3, odd=True)
    start = rng.standard_normal(4)
    y = start
    for u in (u3, u2, u1):
        y = y - 2 * u * (u @ y)
    np.testing.assert_allclose(adapter.forward({"U": U}, {"W": np.eye(4)}, start), y, atol=1e-13)
    backwards = adapter.forward({"U": U[:, ::-1]}, {"W": np.eye(4)}, start)
    assert np.max(np.abs(backwards - y)) > 0.1
