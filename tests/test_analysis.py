"""What is measured on an update: spectrum, conversion matrices, similarity, intruders, energy."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minilora.adapters import HRA, Full, HRAStrict, LoRA
from minilora.adapters.scaling import alpha_over_sqrt_rank
from minilora.analysis import (
    conversion_matrices,
    effective_rank,
    energy_captured,
    hyperspherical_energy,
    intruder_dimensions,
    mean_similarity,
    narrow_product,
    product_factors,
    product_spectrum,
    published_conversion_matrices,
    random_similarity,
    singular_spectrum,
    stable_rank,
    subspace_similarity,
)
from minilora.attachment import attach
from minilora.quantization import quantize
from minilora.testing.claims import (
    HU,
    KIM,
    OURS,
    SHUTTLEWORTH,
    YUAN,
    at_least,
    claim,
    exactly,
    within,
)

SEED = st.integers(0, 2**32 - 1)
WIDTH = st.integers(1, 7)
DTYPE = st.sampled_from([np.float64, np.float32])


def orthonormal(rng, d, k):
    """k orthonormal columns of length d, uniformly drawn."""
    Q, R = np.linalg.qr(rng.standard_normal((d, k)))
    return Q * np.sign(np.diag(R))


def small_integers(data, rows, columns):
    """A matrix of small integers: ties, zeros and rank deficiency occur."""
    entries = data.draw(
        st.lists(st.integers(-2, 2), min_size=rows * columns, max_size=rows * columns)
    )
    return np.array(entries, float).reshape(rows, columns)


def spread(rng, count, condition):
    """Distinct singular values in falling order, from 1 to 1 / condition, in random steps."""
    steps = np.sort(np.append(rng.permutation(2 * count)[: count - 1] + rng.uniform(0.2, 0.8), 0))
    return condition ** -(steps / max(steps[-1], 1))


# Conversion matrices


@claim("D4", KIM, "an invertible W has one pair Θ_A = A W⁻¹, Θ_B = (W⁻¹ B)ᵀ")
@given(SEED, WIDTH, st.integers(1, 4), st.floats(0, 5), DTYPE)
def test_an_invertible_w_has_one_pair_of_conversion_matrices(seed, d, r, digits, dtype):
    """Generic W = P S Qᵀ with W⁻¹ = Q S⁻¹ Pᵀ, condition 1 to 1e5.

    Tolerance 100 eps · condition · ‖A‖ ‖W⁻¹‖, with the eps of float64 or, where the matrices are
    float32, of float32.
    """
    rng = np.random.default_rng(seed)
    P, Q, sizes = orthonormal(rng, d, d), orthonormal(rng, d, d), spread(rng, d, 10**digits)
    W, inverse = (P * sizes) @ Q.T, (Q / sizes) @ P.T
    A, B = rng.standard_normal((r, d)), rng.standard_normal((d, r))
    theta_A, theta_B = conversion_matrices(*(M.astype(dtype) for M in (W, A, B)))
    exactly(theta_A.dtype == theta_B.dtype == dtype)
    unit = 100 * np.finfo(dtype).eps / sizes[-1] ** 2
    within(np.linalg.norm(theta_A - A @ inverse), unit * np.linalg.norm(A), "Θ_A")
    within(np.linalg.norm(theta_B - (inverse @ B).T), unit * np.linalg.norm(B), "Θ_B")


@claim("D4", OURS, "any W: least error and least norm; unique at full rank of that side")
@given(SEED, WIDTH, WIDTH, st.integers(0, 2), st.integers(1, 4), st.floats(0, 5))
def test_any_w_has_conversion_matrices_of_least_error_and_norm(seed, d_out, d_in, lost, r, digits):
    """Generic W = P S Qᵀ: of all Θ of least error, A Q S⁻¹ Pᵀ has the least norm.

    W lacks 0, 1 or 2 of its full rank; its condition (largest by smallest σ > 0) is 1 to 1e5;
    tolerance 3e-14 times the condition squared, times the norm of what is converted. Conversion
    matrices are found again from the A and B that they make, Θ_A if rank W = d_out, Θ_B if rank W =
    d_in; else their parts in the column space and in the row space of W are.
    """
    rng = np.random.default_rng(seed)
    q = max(min(d_out, d_in) - lost, 1)
    P, Q, sizes = orthonormal(rng, d_out, q), orthonormal(rng, d_in, q), spread(rng, q, 10**digits)
    W = (P * sizes) @ Q.T
    small = 3e-14 / sizes[-1] ** 2
    A, B = rng.standard_normal((r, d_in)), rng.standard_normal((d_out, r))
    theta_A, theta_B = conversion_matrices(W, A, B)
    by_A, by_B = (small * np.linalg.norm(M) for M in (A, B))
    within(np.abs(theta_A - (A @ Q / sizes) @ P.T), by_A, "Θ_A of any A")
    within(np.abs(theta_B - (B.T @ P / sizes) @ Q.T), by_B, "Θ_B of any B")
    true_A, true_B = rng.standard_normal((r, d_out)), rng.standard_normal((r, d_in))
    theta_A, theta_B = conversion_matrices(W, true_A @ W, W @ true_B.T)
    by_A, by_B = (small * np.linalg.norm(M) for M in (true_A, true_B))
    within(np.abs(theta_A - (true_A if q == d_out else true_A @ P @ P.T)), by_A, "Θ_A found again")
    within(np.abs(theta_B - (true_B if q == d_in else true_B @ Q @ Q.T)), by_B, "Θ_B found again")


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("d_out, d_in", [(2, 2), (2, 5), (5, 2)])
def test_a_singular_value_counts_as_zero_up_to_the_rounding_of_w(d_out, d_in, dtype):
    """The bound is eps max(d_out, d_in) σ₁: a little above it σ is inverted, below it dropped."""
    bound = np.finfo(dtype).eps * max(d_out, d_in)
    A, B = np.ones((1, d_in), dtype), np.ones((d_out, 1), dtype)
    for share, inverted in ((1.2, 1 / (1.2 * bound)), (0.8, 0)):
        W = np.zeros((d_out, d_in), dtype)
        W[0, 0], W[1, 1] = 1, share * bound
        theta_A, theta_B = conversion_matrices(W, A, B)
        np.testing.assert_allclose(theta_A[0, :2], [1, inverted], rtol=1e-5)
        np.testing.assert_allclose(theta_B[0, :2], [1, inverted], rtol=1e-5)


@claim("D4", OURS, "integer W of any rank: what Θ_A and Θ_B miss is orthogonal to W")
@given(st.data(), SEED, st.integers(1, 4), st.integers(1, 4))
def test_degenerate_weights_have_conversion_matrices(data, seed, d_out, d_in):
    """A − Θ_A W is orthogonal to the rows of W, and Θ_A lies in its column space; so for B.

    Entries of W from −2 to 2, up to 4 × 4: ties, zeros and rank deficiency occur.
    """
    rng, W = np.random.default_rng(seed), small_integers(data, d_out, d_in)
    A, B = rng.standard_normal((2, d_in)), rng.standard_normal((d_out, 2))
    theta_A, theta_B = conversion_matrices(W, A, B)
    P, sizes, Qt = np.linalg.svd(W)
    rank = int(np.sum(sizes > 1e-9))
    within(np.abs((A - theta_A @ W) @ W.T), 1e-11, "A − Θ_A W on the rows")
    within(np.abs(W.T @ (B - W @ theta_B.T)), 1e-11, "B − W Θ_Bᵀ on the columns")
    within(np.max(np.abs(theta_A @ P[:, rank:]), initial=0), 1e-11, "Θ_A beside the column space")
    within(np.max(np.abs(theta_B @ Qt[rank:].T), initial=0), 1e-11, "Θ_B beside the row space")


@claim("D4", OURS, "A_0 gives Θ_A of A − A_0, and changes nothing else")
@given(SEED, WIDTH, WIDTH, st.integers(1, 4))
def test_what_training_made_of_a_is_converted_without_its_start(seed, d_out, d_in, r):
    """For Gaussian W, A, A_0 and B of any shape, bitwise identical."""
    rng = np.random.default_rng(seed)
    W, B = rng.standard_normal((d_out, d_in)), rng.standard_normal((d_out, r))
    A, A_0 = rng.standard_normal((2, r, d_in))
    theta_A, theta_B = conversion_matrices(W, A, B, A_0)
    expected_A, expected_B = conversion_matrices(W, A - A_0, B)
    exactly(np.array_equal(theta_A, expected_A) and np.array_equal(theta_B, expected_B))


def test_params_and_starts_are_passed_as_attach_has_them(rng):
    """As the docstring shows: what is trained goes in by name, and its start by that of the key."""
    W = rng.standard_normal((4, 5)).astype(np.float32)
    attached = attach({"q": W}, {"q": LoRA(2)}, rng=rng)
    params = {name: array + 1 for name, array in attached.params["q"].items()}
    theta_A, theta_B = conversion_matrices(W, **params, A_0=attached.params["q"]["A"])
    ones = np.ones((2, 5), np.float32)
    expected_A, expected_B = conversion_matrices(W, ones, np.ones((4, 2), np.float32))
    np.testing.assert_allclose(theta_A, expected_A, rtol=1e-5)
    np.testing.assert_array_equal(theta_B, expected_B)


@claim("D4", KIM, "the published W⁻¹Aᵀ, W⁻¹B and W⁻¹BA of an invertible W")
@given(SEED, WIDTH, st.integers(1, 4), st.floats(0, 5), DTYPE)
def test_the_published_conversion_matrices_are_inverses_times_factors(seed, d, r, digits, dtype):
    """Generic square W = P S Qᵀ of condition 1 to 1e5; A_0 is taken from A in the first one only.

    Tolerance 100 eps · condition · ‖A‖ ‖W⁻¹‖ (for W⁻¹BA times ‖B‖), with the dtype's eps.
    """
    rng = np.random.default_rng(seed)
    P, Q, sizes = orthonormal(rng, d, d), orthonormal(rng, d, d), spread(rng, d, 10**digits)
    W, inverse = (P * sizes) @ Q.T, (Q / sizes) @ P.T
    A, A_0, B = *rng.standard_normal((2, r, d)), rng.standard_normal((d, r))
    cast = [M.astype(dtype) for M in (W, A, B, A_0)]
    unit = 100 * np.finfo(dtype).eps / sizes[-1] ** 2
    size_A, size_B = np.linalg.norm(A) + np.linalg.norm(A_0), np.linalg.norm(B)
    expected = {"A": inverse @ A.T, "B": inverse @ B, "BA": inverse @ B @ A}
    sizes = {"A": size_A, "B": size_B, "BA": size_A * size_B}
    for given_A_0 in (None, cast[3]):
        found = published_conversion_matrices(*cast[:3], given_A_0)
        exactly(list(found) == ["A", "B", "BA"])
        for letter, M in found.items():
            exactly(M.dtype == dtype)
            within(np.linalg.norm(M - expected[letter]), unit * sizes[letter], letter)
        expected["A"] = inverse @ (A - A_0).T


@pytest.mark.parametrize("d, rank", [(4, 3), (5, 2), (3, 0)])
def test_a_singular_w_has_published_conversion_matrices_of_least_norm(d, rank, rng):
    """They are pinv(W) Aᵀ, pinv(W) B and pinv(W) B A."""
    P, Q = orthonormal(rng, d, d)[:, :rank], orthonormal(rng, d, d)[:, :rank]
    A, B = rng.standard_normal((2, d)), rng.standard_normal((d, 2))
    found = published_conversion_matrices(P @ Q.T, A, B)
    for letter, M in (("A", A.T), ("B", B), ("BA", B @ A)):
        np.testing.assert_allclose(found[letter], Q @ P.T @ M, atol=1e-12)


@claim("D8", OURS, "W⁻¹BA at i = r: W⁻¹B's space from the left, A's from the right")
@given(SEED, st.integers(2, 8), st.integers(1, 4))
def test_at_full_rank_the_third_conversion_matrix_shows_no_more_than_the_second(seed, d, r):
    """For Gaussian W, A and B with r < d, against the same of other A and B: φ equal to 1e-11."""
    rng = np.random.default_rng(seed)
    r = min(r, d - 1)
    A, C = rng.standard_normal((2, r, d))
    one, two = (
        published_conversion_matrices(rng.standard_normal((d, d)), M, rng.standard_normal((d, r)))
        for M in (A, C)
    )
    left = subspace_similarity(one["BA"], two["BA"], r, r)
    right = subspace_similarity(one["BA"].T, two["BA"].T, r, r)
    within(abs(left - subspace_similarity(one["B"], two["B"], r, r)), 1e-11, "left")
    within(abs(right - subspace_similarity(A.T, C.T, r, r)), 1e-11, "right")


@claim("D8", OURS, "below i = r only W⁻¹BA stays the same for B R⁻¹ and R A")
@pytest.mark.parametrize("seed", range(4))
def test_only_the_third_conversion_matrix_is_the_same_for_equal_updates(seed):
    """Orthogonal W, Gaussian A and B, d = 12, r = 4, R of condition 100.

    W⁻¹BA to 1e-9 at i = 1, 2 and 4; the others too at i = 4, but at i = 1 they have φ ≤ 0.9.
    """
    rng = np.random.default_rng(seed)
    W, A, B = orthonormal(rng, 12, 12), rng.standard_normal((4, 12)), rng.standard_normal((12, 4))
    R = np.diag([0.1, 0.5, 2, 10]) @ orthonormal(rng, 4, 4)
    one = published_conversion_matrices(W, A, B)
    two = published_conversion_matrices(W, R @ A, B @ np.linalg.inv(R))
    for i in (1, 2, 4):
        within(abs(subspace_similarity(one["BA"], two["BA"], i, i) - 1), 1e-9, "BA")
    for letter in "AB":
        at_least(1 - subspace_similarity(one[letter], two[letter], 1, 1), 0.1, letter)
        within(abs(subspace_similarity(one[letter], two[letter], 4, 4) - 1), 1e-9, letter)


# Are the conversion matrices of several layers alike? Planted answers

LAYERS, SIDE, RANK = 6, 24, 3


def similarities(found, i, j):
    """φ(i, j) of every pair of layers."""
    return [subspace_similarity(one, two, i, j) for one, two in combinations(found, 2)]


def planted_layers(seed):
    """W (N, d, d), Gaussian, and Θ_A, Θ_B (r, d), the same for all of them."""
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((LAYERS, SIDE, SIDE))
    return rng, W, *rng.standard_normal((2, RANK, SIDE))


def near_chance(values, i, j):
    """15 pairs: their mean is within 4 of its own standard deviations of chance."""
    mean, deviation = random_similarity(SIDE, i, j)
    within(abs(np.mean(values) - mean), 4 * deviation / len(values) ** 0.5)


@claim("D9", OURS, "layers that share Θ_A and Θ_B: φ = 1, also behind random starts")
@pytest.mark.parametrize("seed", range(4))
def test_layers_with_shared_conversion_matrices_are_told(seed):
    """A_l = A_0l + Θ_A W_l, B_l = W_l Θ_Bᵀ for 6 Gaussian layers 24 × 24, r = 3.

    With A_0, φ of Θ_A and of Θ_B is 1 to 1e-11 at i = j = 3, for each of the 15 pairs.
    """
    rng, Ws, theta_A, theta_B = planted_layers(seed)
    starts = rng.standard_normal((LAYERS, RANK, SIDE))
    pairs = [
        conversion_matrices(W, A_0 + theta_A @ W, W @ theta_B.T, A_0) for W, A_0 in zip(Ws, starts)
    ]
    for side in (0, 1):
        values = similarities([pair[side].T for pair in pairs], RANK, RANK)
        within(np.abs(np.array(values) - 1), 1e-11)


@claim("D9", OURS, "layers that share Θ_A, behind starts ten times as large, no A_0: chance")
@pytest.mark.parametrize("seed", range(4))
def test_a_random_start_hides_a_shared_conversion_matrix(seed):
    """A_l = A_0l + Θ_A W_l, ‖A_0l‖ = 10 ‖Θ_A W_l‖, for 6 Gaussian layers 24 × 24, r = 3.

    The mean of φ(3, 3) over the 15 pairs is within 4 of its standard deviations of chance.
    """
    rng, Ws, theta_A, theta_B = planted_layers(seed)
    found = []
    for W in Ws:
        A_0 = rng.standard_normal((RANK, SIDE))
        A_0 *= 10 * np.linalg.norm(theta_A @ W) / np.linalg.norm(A_0)
        found.append(conversion_matrices(W, A_0 + theta_A @ W, W @ theta_B.T)[0].T)
    near_chance(similarities(found, RANK, RANK), RANK, RANK)


@claim("D9", OURS, "layers that share Θ_A and Θ_B, paired with one another's W: chance")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shift", [1, 2])
def test_layers_paired_with_the_wrong_w_are_at_chance(seed, shift):
    """A_l = Θ_A W_l, B_l = W_l Θ_Bᵀ with the W of layer l + 1 or l + 2; 6 Gaussian layers, r = 3.

    Each 24 × 24. The mean of φ(3, 3) over the 15 pairs is within 4 of its standard deviations.
    """
    _, Ws, theta_A, theta_B = planted_layers(seed)
    wrong = np.roll(Ws, shift, axis=0)
    pairs = [conversion_matrices(V, theta_A @ W, W @ theta_B.T) for W, V in zip(Ws, wrong)]
    for side in (0, 1):
        near_chance(similarities([pair[side].T for pair in pairs], RANK, RANK), RANK, RANK)


@claim("D9", OURS, "layers that share the published W⁻¹Aᵀ, W⁻¹B or W⁻¹BA: φ = 1 at all i, j")
@pytest.mark.parametrize("seed", range(4))
def test_layers_with_shared_published_conversion_matrices_are_told(seed):
    """A_l = Θ_A W_lᵀ, or A_l = Θ_A so that W⁻¹BA = Θ_Bᵀ Θ_A; B_l = W_l Θ_Bᵀ.

    For 6 Gaussian layers 24 × 24, r = 3, each of the 15 pairs, to 1e-11, for i, j ≤ 3.
    """
    _, Ws, theta_A, theta_B = planted_layers(seed)
    with_A = [published_conversion_matrices(W, theta_A @ W.T, W @ theta_B.T) for W in Ws]
    with_BA = [published_conversion_matrices(W, theta_A, W @ theta_B.T) for W in Ws]
    for letter, layers in (("A", with_A), ("B", with_A), ("BA", with_BA)):
        for i, j in ((1, 1), (1, 3), (3, 2), (3, 3)):
            found = [layer[letter] for layer in layers]
            within(np.abs(np.array(similarities(found, i, j)) - 1), 1e-11, letter)
            if letter == "BA":
                values = similarities([M.T for M in found], i, j)
                within(np.abs(np.array(values) - 1), 1e-11, "BA from the right")


@claim("D9", OURS, "independent layers: each of the three is at chance, from either side")
@pytest.mark.parametrize("seed", range(4))
def test_independent_layers_are_at_chance(seed):
    """Gaussian W_l, A_l and B_l of 6 layers 24 × 24, r = 3, for i, j ≤ 3.

    The mean of φ over the 15 pairs is within 4 of its standard deviations of chance.
    """
    rng, Ws, *_ = planted_layers(seed)
    layers = [
        published_conversion_matrices(
            W, rng.standard_normal((RANK, SIDE)), rng.standard_normal((SIDE, RANK))
        )
        for W in Ws
    ]
    for i, j in ((1, 1), (1, 3), (2, 2), (3, 3)):
        for letter in ("A", "B", "BA"):
            near_chance(similarities([layer[letter] for layer in layers], i, j), i, j)
        near_chance(similarities([layer["BA"].T for layer in layers], i, j), i, j)


# The similarity of subspaces


def with_directions(rng, U, columns):
    """A matrix (d, columns) with the columns of U as left singular vectors, and values (2/3)ⁿ."""
    r = U.shape[1]
    return (U * (2 / 3) ** np.arange(r)) @ orthonormal(rng, columns, r).T


@claim("D5", HU, "φ(i, j) = Σ (u·v)² / min(i, j) over the first left singular vectors")
@given(SEED, WIDTH, WIDTH, WIDTH)
def test_similarity_is_the_sum_of_squared_cosines(seed, d, i, j):
    """For known left singular vectors, by loops: values (2/3)ⁿ, generic right ones. To 1e-12."""
    rng = np.random.default_rng(seed)
    r1, r2 = (rng.integers(min(k, d), d + 1) for k in (i, j))
    i, j = min(i, d), min(j, d)
    U1, U2 = orthonormal(rng, d, r1), orthonormal(rng, d, r2)
    total = 0.0
    for a in range(i):
        for b in range(j):
            total += sum(U1[k, a] * U2[k, b] for k in range(d)) ** 2
    M1, M2 = with_directions(rng, U1, r1 + 1), with_directions(rng, U2, r2 + 2)
    within(abs(subspace_similarity(M1, M2, i, j) - total / min(i, j)), 1e-12)


@claim("D5", OURS, "φ is symmetric and from max(0, i+j−d) / min(i, j) to 1")
@given(SEED, WIDTH, WIDTH, WIDTH)
def test_similarity_is_symmetric_and_has_bounds(seed, d, i, j):
    """For Gaussian matrices with 1 or 2 columns more than i and j. To 1e-12."""
    rng = np.random.default_rng(seed)
    i, j = min(i, d), min(j, d)
    M1, M2 = rng.standard_normal((d, i + 1)), rng.standard_normal((d, j + 2))
    phi = subspace_similarity(M1, M2, i, j)
    within(abs(phi - subspace_similarity(M2, M1, j, i)), 1e-12, "symmetry")
    within(phi - 1, 1e-12, "at most 1")
    within(max(0, i + j - d) / min(i, j) - phi, 1e-12, "the overlap that cannot be avoided")


@claim("D5", OURS, "φ = 1 for nested subspaces; rotating one out by t costs sin²t / min")
@given(SEED, st.integers(2, 7), WIDTH, WIDTH, st.floats(0.1, math.pi / 2))
def test_similarity_is_one_if_and_only_if_one_subspace_holds_the_other(seed, d, i, j, angle):
    """Span(U1) in span(U2), j < d; then one direction of U1 is rotated by t out of span(U2).

    Generic subspaces, t from 0.1 to π/2. To 1e-12.
    """
    rng = np.random.default_rng(seed)
    i, j = sorted((min(i, d - 1), min(j, d - 1)))
    Q = orthonormal(rng, d, d)
    inside = Q[:, :j] @ orthonormal(rng, j, i)
    M2 = with_directions(rng, Q[:, :j], d)
    within(abs(subspace_similarity(with_directions(rng, inside, d), M2, i, j) - 1), 1e-12, "nested")
    inside[:, -1] = math.cos(angle) * inside[:, -1] + math.sin(angle) * Q[:, -1]
    phi = subspace_similarity(with_directions(rng, inside, d), M2, i, j)
    within(abs(1 - phi - math.sin(angle) ** 2 / i), 1e-12, "rotated out")
    at_least(1 - phi, 0.9 * 0.1**2 / i, "not nested")


@claim("D5", OURS, "the smallest φ, max(0, i+j−d) / min(i, j), is attained")
@pytest.mark.parametrize(
    "d, i, j", [(5, 2, 3), (5, 3, 4), (4, 4, 1), (1, 1, 1), (6, 1, 2), (3, 2, 2)]
)
def test_the_smallest_similarity_is_that_of_subspaces_from_the_two_ends_of_a_basis(d, i, j, rng):
    """Six (d, i, j), the first i and the last j vectors of a basis of d. To 1e-12."""
    Q = orthonormal(rng, d, d)
    phi = subspace_similarity(
        with_directions(rng, Q[:, :i], d), with_directions(rng, Q[:, d - j :], d), i, j
    )
    within(abs(phi - max(0, i + j - d) / min(i, j)), 1e-12)


@claim("D5", OURS, "random subspaces: mean max(i, j) / d and the deviation as stated")
@pytest.mark.parametrize("d, i, j", [(5, 1, 1), (8, 2, 3), (8, 5, 4), (12, 3, 3), (20, 9, 2)])
def test_random_subspaces_have_the_stated_mean_and_deviation(d, i, j, rng):
    """40,000 uniform subspaces against the first i axes: the law is the same in every basis.

    Five (d, i, j); the mean to 0.002, the deviation to 0.003.
    """
    mean, deviation = random_similarity(d, i, j)
    Q = np.linalg.qr(rng.standard_normal((40_000, d, j)))[0]
    samples = np.sum(Q[:, :i] ** 2, axis=(1, 2)) / min(i, j)
    within(abs(np.mean(samples) - mean), 0.002, "mean")
    within(abs(np.std(samples) - deviation), 0.003, "deviation")


def test_the_similarity_of_random_matrices_is_that_of_random_subspaces(rng):
    assert random_similarity(2, 1, 1) == (0.5, 0.125**0.5)  # cos² of a uniform angle
    mean, deviation = random_similarity(8, 2, 3)
    phi = [subspace_similarity(*rng.standard_normal((2, 8, 5)), 2, 3) for _ in range(400)]
    assert abs(np.mean(phi) - mean) < 4 * deviation / math.sqrt(400)
    assert abs(np.std(phi) / deviation - 1) < 0.2


@pytest.mark.parametrize("d, i, j", [(1, 1, 1), (4, 4, 1), (4, 2, 4), (3, 3, 3)])
def test_the_whole_space_is_always_similar(d, i, j):
    assert random_similarity(d, i, j) == (1.0, 0.0)


@claim("D5", OURS, "φ is refused where it is undefined, at ties and above the rank")
@given(st.data(), st.integers(1, 4), st.integers(1, 4))
def test_similarity_is_refused_exactly_at_ties_and_above_the_rank(data, d, n):
    """For entries from −2 to 2, up to 4 × 4, by the eigenvalues of M Mᵀ (drops above 1e-6).

    Where φ is defined it is that of the projection, to 1e-9.
    """
    M = small_integers(data, d, n)
    eigenvalues, vectors = np.linalg.eigh(M @ M.T)
    drops = np.diff(eigenvalues, prepend=0)[::-1]
    axes = np.diag(np.arange(d, 0, -1.0))
    for i in range(1, d + 1):
        if drops[i - 1] > 1e-6:
            U = vectors[:, d - i :]
            for j in range(1, d + 1):
                expected = np.sum((U @ U.T)[range(j), range(j)]) / min(i, j)
                within(abs(subspace_similarity(M, axes, i, j) - expected), 1e-9, "projection")
        else:
            for one, two, counts, letter in ((M, axes, (i, 1), "i"), (axes, M, (1, i), "j")):
                with pytest.raises(ValueError, match=f"^{letter} must be one of"):
                    subspace_similarity(one, two, *counts)
                exactly(True)


@claim("D5", OURS, "a tie of singular values may be taken whole, but not cut")
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_a_tie_may_be_taken_whole_but_not_cut(size, rng):
    """Singular values 3, 2, 2, 1 and 0, times any size: i = 1, 3 and 4 are defined, not 2 and 5."""
    Q = orthonormal(rng, 5, 5)
    M = size * Q @ np.diag([3.0, 2, 2, 1, 0]) @ orthonormal(rng, 5, 5).T
    for i in (1, 3, 4):
        within(abs(subspace_similarity(M, Q @ np.diag([5.0, 4, 3, 2, 1]), i, i) - 1), 1e-12)
    for i in (2, 5):
        with pytest.raises(ValueError, match=r"^i must be one of \[1 3 4\].* got " + str(i)):
            subspace_similarity(M, M, i, 1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_tie_is_a_gap_of_up_to_100_roundings(dtype):
    """Of the largest singular value, here 3; so is the last one's gap to 0."""
    gap = 300 * np.finfo(dtype).eps
    M = np.diag(np.array([3, 2 + 1.1 * gap, 2, 1, 1 - 0.9 * gap, 1.1 * gap, 0, 0], dtype))
    with pytest.raises(ValueError, match=r"^i must be one of \[1 2 3 5 6\]"):
        subspace_similarity(M, M, 4, 1)
    M[5, 5] *= 0.9 / 1.1
    with pytest.raises(ValueError, match=r"^i must be one of \[1 2 3 5\]"):
        subspace_similarity(M, M, 4, 1)


def test_the_rank_is_judged_at_the_precision_of_the_matrix(rng):
    """A float32 product of rank 3 has more singular values, of float32 rounding: no directions."""
    M = (rng.standard_normal((9, 3)) @ rng.standard_normal((3, 8))).astype(np.float32)
    assert np.linalg.svd(M.astype(float), compute_uv=False)[3] > 1e-9
    assert subspace_similarity(M, M.astype(float), 3, 3) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match=r"^i must be one of \[1 2 3\]"):
        subspace_similarity(M, M, 4, 3)


# Intruder dimensions


def with_vectors(rng, G, d_in):
    """W = Q S Vᵀ and W' = Q G S' V'ᵀ: the cosines between their left singular vectors are G's.

    The values are distinct, from 1 to 1/30.
    """
    d_out, rank = G.shape
    Q = orthonormal(rng, d_out, d_out)
    rows = min(d_out, d_in)
    W = (Q[:, :rows] * spread(rng, rows, 30)) @ orthonormal(rng, d_in, rows).T
    return W, (Q @ G * spread(rng, rank, 30)) @ orthonormal(rng, d_in, rank).T


@claim("D10", SHUTTLEWORTH, "u of W' is an intruder iff all |cos(u, v)| to those of W are below ε")
@given(SEED, WIDTH, WIDTH, WIDTH, st.floats(0.05, 0.95))
def test_intruders_are_the_vectors_without_a_near_one_in_w(seed, d_out, d_in, k, threshold):
    """By loops, for generic known vectors and distinct values; cosines 1e-6 or more from ε.

    d_out, d_in ≤ 7 and the first k of up to min(d_out, d_in) vectors.
    """
    rng = np.random.default_rng(seed)
    rank = rng.integers(min(k, d_out, d_in), min(d_out, d_in) + 1)
    k = min(k, rank)
    G = orthonormal(rng, d_out, rank)
    W, W_adapted = with_vectors(rng, G, d_in)
    expected = []
    for j in range(k):
        cosines = [abs(G[i, j]) for i in range(min(d_out, d_in))]
        assume(abs(max(cosines) - threshold) > 1e-6)
        if all(cosine < threshold for cosine in cosines):
            expected.append(j)
    exactly(intruder_dimensions(W, W_adapted, k, threshold).tolist() == expected)


@claim("D11", OURS, "W Q has no intruder, at any threshold up to 0.999")
@given(SEED, WIDTH, WIDTH, st.integers(0, 2), st.floats(0, 4))
def test_turning_the_input_makes_no_intruders(seed, d_out, d_in, lost, digits):
    """Generic W of condition 10 to 1e5 that lacks 0, 1 or 2 of its rank, uniform orthogonal Q."""
    rng = np.random.default_rng(seed)
    rank = max(min(d_out, d_in) - lost, 1)
    W = orthonormal(rng, d_out, rank) * spread(rng, rank, 10**digits + 1)
    W = W @ orthonormal(rng, d_in, rank).T
    exactly(intruder_dimensions(W, W @ orthonormal(rng, d_in, d_in), rank, 0.999).size == 0)


@claim("D10", SHUTTLEWORTH, "LoRA of rank 1 across all of W's vectors: an intruder when large")
@given(SEED, st.integers(4, 9), st.floats(0, 2))
def test_a_planted_intruder_is_found(seed, d, digits):
    """ΔW = s ‖W‖ u vᵀ, u with |cosine| 1/√d to each left singular vector of a square generic W.

    It is number 0 at s = 100, for ε = 1/√d + 0.1, and there is none at s = 1e-6. Condition of W
    up to 100, d from 4 to 9.
    """
    rng = np.random.default_rng(seed)
    P, sizes = orthonormal(rng, d, d), spread(rng, d, 10**digits + 1)
    W = (P * sizes) @ orthonormal(rng, d, d).T
    signs, v = rng.choice([-1.0, 1.0], d), orthonormal(rng, d, 1)[:, 0]
    update = np.outer(P @ signs / d**0.5, v)
    threshold = d**-0.5 + 0.1
    exactly(intruder_dimensions(W, W + 100 * update, 1, threshold).tolist() == [0])
    exactly(intruder_dimensions(W, W + 1e-6 * update, d, threshold).size == 0)


@claim("D12", OURS, "rank W = d_out: ε ≤ 1/√d_out finds no intruder, and above it all can be")
@pytest.mark.parametrize("d_out, d_in", [(1, 1), (2, 2), (2, 5), (4, 4), (4, 7), (8, 8)])
def test_no_vector_is_far_from_all_of_a_basis(d_out, d_in, rng):
    """Six shapes; W' has the vectors of a Hadamard matrix in the basis of W's."""
    G = np.ones((1, 1))
    while len(G) < d_out:
        G = np.block([[G, G], [G, -G]]) / 2**0.5
    W, W_adapted = with_vectors(rng, G, d_in)
    least = d_out**-0.5
    exactly(intruder_dimensions(W, W_adapted, d_out, least * (1 - 1e-9)).size == 0)
    if d_out > 1:
        found = intruder_dimensions(W, W_adapted, d_out, least * (1 + 1e-9))
        exactly(found.tolist() == list(range(d_out)))


def test_a_direction_outside_the_column_space_is_an_intruder(rng):
    """W lacks two of the six directions of the output; W' has one of them, between two others."""
    Q, V = orthonormal(rng, 6, 6), orthonormal(rng, 4, 4)
    W = (Q[:, :4] * [4, 3, 2, 1]) @ V.T
    W_adapted = (Q[:, [0, 4, 1]] * [3, 2, 1]) @ V[:, :3].T
    assert intruder_dimensions(W, W_adapted, 3, 0.5).tolist() == [1]
    lower = (Q[:, :2] * [4, 3]) @ V[:, :2].T  # rank 2: where σ is zero, W has no vectors to compare
    assert intruder_dimensions(lower, W, 4, 0.999).tolist() == [2, 3]
    assert intruder_dimensions(np.zeros((6, 4)), W, 4, 0.1).tolist() == [0, 1, 2, 3]


def test_a_cosine_at_the_threshold_is_near_enough():
    W = np.diag([3.0, 2.0, 1.0])
    assert intruder_dimensions(W, W, 3, 1.0).size == 0


@pytest.mark.parametrize("shape", [(4, 2), (3, 3)])
def test_matrices_of_other_shapes_are_not_compared(shape, rng):
    with pytest.raises(ValueError, match=r"^W_adapted must have the shape \(4, 3\) of W, got"):
        intruder_dimensions(rng.standard_normal((4, 3)), rng.standard_normal(shape), 1, 0.5)


def test_all_vectors_of_a_tie_of_w_are_singular_vectors(rng):
    """σ = 2, 1, 1, 1: in the space of the ties no basis is better than another."""
    Q, V, G = orthonormal(rng, 4, 4), orthonormal(rng, 4, 4), orthonormal(rng, 3, 3)
    W = (Q * [2, 1, 1, 1]) @ V.T
    turned = np.column_stack([Q[:, 0], Q[:, 1:] @ G])
    assert intruder_dimensions(W, (turned * [4, 3, 2, 1]) @ V.T, 4, 0.999).tolist() == []
    between = (Q[:, 0] + turned[:, 1]) / 2**0.5
    W_adapted = np.outer(between, V[:, 0])
    assert intruder_dimensions(W, W_adapted, 1, 0.70).tolist() == []
    assert intruder_dimensions(W, W_adapted, 1, 0.71).tolist() == [0]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_vectors_of_ties_and_of_zero_are_no_intruders_but_refused(dtype):
    """With the precision of W': values 3, 2, 2 and 1, or 3, 2, 1 and rounding."""
    W = np.eye(4, dtype=dtype)
    for values, most in (([3, 2, 2, 1], 1), ([3, 2, 1, 50 * np.finfo(dtype).eps], 3)):
        W_adapted = np.diag(np.array(values, dtype))
        intruder_dimensions(W, W_adapted, most, 0.5)
        with pytest.raises(ValueError, match=rf"^k must be an integer from 1 to {most}, got"):
            intruder_dimensions(W, W_adapted, most + 1, 0.5)
    for W_adapted in (W, 0 * W):
        with pytest.raises(ValueError, match=r"^W_adapted must have a first singular value"):
            intruder_dimensions(W, W_adapted, 1, 0.5)


# The spectrum of an update


@given(SEED, WIDTH, WIDTH)
def test_the_spectrum_and_its_shares_are_those_of_the_best_approximations(seed, d_out, d_in):
    """ΔW = Σ σᵢ uᵢ vᵢᵀ: its first k terms miss the share 1 − energy_captured(ΔW)[k] of ‖ΔW‖²."""
    rng = np.random.default_rng(seed)
    r = min(d_out, d_in)
    values = np.sort(rng.uniform(0, 3, r))[::-1]
    U, V = orthonormal(rng, d_out, r), orthonormal(rng, d_in, r)
    delta = (U * values) @ V.T
    np.testing.assert_allclose(singular_spectrum(delta), values, atol=1e-12)
    shares = energy_captured(delta)
    assert shares.shape == (r + 1,)
    assert shares[0] == 0
    assert shares[-1] == 1
    for k in range(r + 1):
        missed = sum(delta[a, b] ** 2 for a in range(d_out) for b in range(d_in))
        missed -= sum(values[m] ** 2 for m in range(k))
        assert shares[k] == pytest.approx(1 - missed / np.sum(delta**2), abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_shares_of_many_values_end_at_one_and_do_not_pass_it(dtype, rng):
    """Whatever the rounding of 300 sums."""
    shares = energy_captured(np.diag(rng.uniform(0.5, 1, 300).astype(dtype)))
    assert shares[-1] == 1
    assert np.all(np.diff(shares) >= 0)


@claim("D13", OURS, "1 ≤ stable rank ≤ effective rank ≤ rank; all k for k equal values")
@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=12), st.integers(0, 3), DTYPE)
def test_the_stable_rank_is_at_most_the_effective_rank(values, zeros, dtype):
    """1 to 12 values from 1e-3 to 1e3 in any order, with up to 3 zeros beside them.

    Up to 100 eps of the dtype, relative to the rank; for equal values all three to the same.
    """
    rank = len(values)
    sigma = np.array([0.0] * zeros + values, dtype)
    small = 100 * np.finfo(dtype).eps * rank
    stable, effective = stable_rank(sigma), effective_rank(sigma)
    within(1 - stable, small, "at least 1")
    within(stable - effective, small, "stable ≤ effective")
    within(effective - rank, small, "effective ≤ rank")
    equal = np.where(sigma > 0, sigma.max(), sigma)
    within(abs(stable_rank(equal) - rank), small, "stable, equal values")
    within(abs(effective_rank(equal) - rank), small, "effective, equal values")


@pytest.mark.parametrize("size", [1e-300, 1.0, 1e300])
def test_effective_and_stable_rank_are_those_of_the_shares(size):
    """σ = 2, 1, 1: shares 2/3, 1/6, 1/6, so 1 / (2/3) and (3/2)^(2/3) 6^(1/3), at any size."""
    values = size * np.array([1.0, 2, 0, 1])
    assert stable_rank(values) == pytest.approx(1.5, rel=1e-12)
    assert effective_rank(values) == pytest.approx(1.5 ** (2 / 3) * 6 ** (1 / 3), rel=1e-12)
    shares = np.diff(energy_captured(np.diag(values)))
    by_loop = math.exp(-sum(p * math.log(p) for p in shares if p))
    assert effective_rank(values) == pytest.approx(by_loop, rel=1e-12)


# Products


@claim("D14", OURS, "σ and the singular vectors of s B A from B and A alone")
@given(SEED, WIDTH, WIDTH, st.integers(1, 9), st.integers(0, 2), st.floats(0.1, 10), DTYPE)
def test_the_spectrum_of_a_product_is_that_of_the_dense_matrix(
    seed, d_out, d_in, r, lost, scale, dtype
):
    """For Gaussian B (d_out, r), A (r, d_in), r up to 9 and so also above d_out and d_in.

    B lacks 0, 1 or 2 of its rank. Values to 100 eps of the dtype, relative to ‖B‖ ‖A‖; φ of the
    first vectors from either side with those of the dense product, where defined, to 1e-6 in
    float64.
    """
    rng = np.random.default_rng(seed)
    B, A = rng.standard_normal((d_out, r)), rng.standard_normal((r, d_in))
    B[:, : min(lost, r - 1)] = 0
    B, A = B.astype(dtype), A.astype(dtype)
    dense_product = scale * B.astype(float) @ A.astype(float)
    expected = np.linalg.svd(dense_product, compute_uv=False)
    values = product_spectrum(B, A, scale)
    exactly(values.dtype == dtype and len(values) == min(d_out, r, d_in))
    small = 100 * np.finfo(dtype).eps * scale * np.linalg.norm(B) * np.linalg.norm(A)
    within(np.abs(values - expected[: len(values)]), small, "values")
    within(np.max(expected[len(values) :], initial=0), small, "the rest is zero")
    if dtype == np.float64 and expected[0] - np.append(expected, 0)[1] > 1e-6 * expected[0]:
        for narrow, whole in (
            (narrow_product(B, A), dense_product),
            (narrow_product(A.T, B.T), dense_product.T),
        ):
            exactly(narrow.shape == (len(whole), min(r, whole.shape[1])))
            within(abs(subspace_similarity(narrow, whole, 1, 1) - 1), 1e-6, "vectors")


KINDS = [
    LoRA(1),
    LoRA(3, alpha=5),
    LoRA(2, alpha=3, scaling=alpha_over_sqrt_rank),
    HRA(4),
    HRA(3, odd=True),
    HRA(10),
    HRAStrict(1),
    HRAStrict(3),
]


@pytest.mark.parametrize("adapter", KINDS, ids=str)
@given(SEED, st.integers(3, 7), st.integers(3, 7))
def test_the_factors_of_an_update_make_what_merging_adds(adapter, seed, d_out, d_in):
    """Gaussian W and params, also with more reflections than the input has dimensions.

    For strict HRA columns at least 2° from dependent: it refuses those within 0.8°.
    """
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((d_out, d_in))
    start, frozen = adapter.init(rng, W)
    params = {letter: rng.standard_normal(array.shape) for letter, array in start.items()}
    if isinstance(adapter, HRAStrict):
        units = params["U"] / np.linalg.norm(params["U"], axis=0)
        assume(np.linalg.norm(units, -2) ** 2 > 1e-3)
    B, A = product_factors(adapter, params, W)
    update = adapter.merge(params, frozen) - W
    np.testing.assert_allclose(B @ A, update, atol=1e-12)
    values = singular_spectrum(update)
    found = product_spectrum(B, A)
    np.testing.assert_allclose(found, values[: len(found)], atol=1e-12)
    if isinstance(adapter, LoRA):
        B, A = product_factors(adapter, params)
        np.testing.assert_allclose(B @ A, update, atol=1e-12)
    else:
        B, A = product_factors(adapter, params)
        H = adapter.merge(params, {"W": np.eye(d_in)})
        np.testing.assert_allclose(B @ A, H - np.eye(d_in), atol=1e-12)


@claim("D15", OURS, "σ of H − I are 2 sin(θ/2) for the angles θ of H, each in a pair or 180°")
@given(SEED, st.integers(2, 9), st.lists(st.floats(0.01, math.pi), min_size=1, max_size=4))
def test_the_values_of_a_rotation_are_its_angles(seed, d, angles):
    """HRA with pairs of unit columns θ/2 apart, each pair in a random plane of its own.

    Two reflections along lines θ/2 apart rotate their plane by θ; up to d/2 pairs, θ from 0.01
    to π. To 1e-12.
    """
    rng = np.random.default_rng(seed)
    angles = np.array(angles[: d // 2])
    Q = orthonormal(rng, d, 2 * len(angles))
    first, second = Q[:, ::2], Q[:, 1::2]
    U = np.empty((d, 2 * len(angles)))
    U[:, ::2] = first
    U[:, 1::2] = np.cos(angles / 2) * first + np.sin(angles / 2) * second
    values = product_spectrum(*product_factors(HRA(2 * len(angles)), {"U": U}))
    expected = np.sort(np.repeat(2 * np.sin(angles / 2), 2))[::-1]
    within(np.abs(values - expected), 1e-12)


def test_an_untrained_rotation_is_the_identity_and_an_untrained_lora_adds_nothing(rng):
    W = rng.standard_normal((6, 5))
    params, _ = HRA(4).init(rng, W)
    assert product_spectrum(*product_factors(HRA(4), params)).max() < 1e-14
    params, _ = LoRA(3).init(rng, W)
    assert product_spectrum(*product_factors(LoRA(3), params)).tolist() == [0, 0, 0]


def test_a_product_of_vast_matrices_needs_none_of_their_size():
    """Dense, it would be 10⁶ × 10⁶: 4 TB. B has three orthogonal columns, A three rows."""
    d = 10**6
    A = np.zeros((3, d), np.float32)
    A[[0, 1, 2], [5, 50_000, d - 1]] = [1, 2, 3]
    values = product_spectrum(A.T, A, scale=2.0)
    np.testing.assert_allclose(values, [18, 8, 2], rtol=1e-6)
    assert subspace_similarity(narrow_product(A.T, A), A.T, 2, 2) == pytest.approx(1, abs=1e-6)


@given(SEED, st.integers(2, 6), WIDTH, WIDTH, WIDTH)
def test_the_mean_similarity_is_that_of_all_pairs(seed, count, d, n, i):
    rng = np.random.default_rng(seed)
    i = min(i, d, n)
    matrices = rng.standard_normal((count, d, n))
    by_pairs = np.mean(similarities(matrices, i, i))
    assert mean_similarity(matrices, i) == pytest.approx(by_pairs, abs=1e-12)


def test_the_mean_similarity_of_random_layers_is_at_chance(rng):
    near_chance([mean_similarity(rng.standard_normal((2, SIDE, 4)), 2) for _ in range(400)], 2, 2)


def test_float16_is_computed_in_float32(rng):
    """LLaMA-2's weights are float16, which numpy.linalg takes nowhere."""
    half = [rng.standard_normal(shape).astype(np.float16) for shape in ((6, 5), (3, 5), (6, 3))]
    single = [M.astype(np.float32) for M in half]
    for call in (
        lambda W, A, B: singular_spectrum(W),
        lambda W, A, B: energy_captured(W),
        lambda W, A, B: subspace_similarity(W, B, 2, 2),
        lambda W, A, B: mean_similarity([W, B], 2),
        lambda W, A, B: conversion_matrices(W, A, B, A)[1],
        lambda W, A, B: published_conversion_matrices(W[:5], A, B[:5])["BA"],
        lambda W, A, B: intruder_dimensions(W, W + B @ A, 2, 0.9),
        lambda W, A, B: hyperspherical_energy(W),
        lambda W, A, B: narrow_product(B, A),
        lambda W, A, B: product_spectrum(B, A, 2.0),
        lambda W, A, B: product_factors(HRA(2), {"U": A.T[:, :2]}, W)[0],
    ):
        found, expected = call(*half), call(*single)
        assert np.asarray(found).dtype == np.asarray(expected).dtype
        np.testing.assert_allclose(found, expected, rtol=2e-3)


# The energy of the rows


def energy_by_loops(W):
    units = [row / math.sqrt(sum(row * row)) for row in W]
    pairs = [(one, two) for i, one in enumerate(units) for j, two in enumerate(units) if i != j]
    return sum(1 / math.sqrt(sum((one - two) ** 2)) for one, two in pairs)


def chain(rng, d, count):
    """H = H₁ … H_count, reflections in random directions, multiplied entry by entry."""
    H = np.eye(d)
    for _ in range(count):
        u = rng.standard_normal(d)
        u /= math.sqrt(sum(u * u))
        H = np.array([[H[a, b] - 2 * sum(H[a] * u) * u[b] for b in range(d)] for a in range(d)])
    return H


def check_kept(W, H):
    reflected = W @ H
    size = np.linalg.norm(W)
    singular, sizes = np.linalg.svd(W, compute_uv=False), np.linalg.norm(W, axis=1)
    within(
        np.abs(np.linalg.svd(reflected, compute_uv=False) - singular),
        1e-12 * size,
        "singular values",
    )
    within(abs(np.linalg.norm(reflected) - size), 1e-12 * size, "Frobenius norm")
    within(np.abs(np.linalg.norm(reflected, axis=1) - sizes), 1e-12 * size, "row lengths")
    cosines, after = (M @ M.T / np.outer(sizes, sizes) for M in (W, reflected))
    within(np.abs(after - cosines), 1e-12, "cosines between rows")
    energy = hyperspherical_energy(W)
    within(abs(energy - energy_by_loops(W)), 1e-12 * energy, "energy by loops")
    within(abs(hyperspherical_energy(reflected) - energy), 1e-12 * energy, "energy")


@claim("B4", YUAN, "W H keeps singular values, row lengths and angles, hyperspherical energy")
@given(SEED, st.integers(2, 8), st.integers(2, 6), st.integers(1, 8))
def test_reflections_on_the_right_keep_the_geometry_of_the_rows(seed, d_out, d_in, count):
    """H a product of 1 to 8 random reflections, W Gaussian with directions 0.01 or more apart.

    To 1e-12 of the size of each quantity.
    """
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((d_out, d_in)) / math.sqrt(d_in)
    units = W / np.linalg.norm(W, axis=1, keepdims=True)
    assume(min(np.linalg.norm(units[a] - units[b]) for a in range(d_out) for b in range(a)) > 0.01)
    check_kept(W, chain(rng, d_in, count))


@claim("B4", OURS, "the energy is infinite, an error, iff a row is 0 or two have one direction")
@given(st.data(), SEED, st.integers(1, 4), st.integers(1, 4))
def test_the_energy_of_rows_is_infinite_just_for_zero_or_parallel_rows(data, seed, d_out, d_in):
    """For rows of integers, parallel just when v·w > 0 and (v·w)² = |v|² |w|²: without rounding.

    Entries from −2 to 2, up to 4 × 4, before and after three random reflections on the right.
    """
    W = small_integers(data, d_out, d_in)
    H = chain(np.random.default_rng(seed), d_in, 3)
    gram = W @ W.T
    parallel = [
        gram[a, b] > 0 and gram[a, b] ** 2 == gram[a, a] * gram[b, b]
        for a in range(d_out)
        for b in range(a)
    ]
    if any(parallel) or not np.all(np.any(W, axis=1)):
        for M in (W, W @ H):
            with pytest.raises(ValueError, match=r"^W must have no zero row"):
                hyperspherical_energy(M)
        exactly(True)
    else:
        check_kept(W, H)


@claim("B4", OURS, "H W, reflections on the left, changes the energy of the rows")
@pytest.mark.parametrize("seed", range(4))
def test_reflections_on_the_left_change_the_energy_of_the_rows(seed):
    """By a tenth or more, for four Gaussian W (8, 2) and 8 reflections: they mix the neurons."""
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((8, 2))
    H = chain(rng, 8, 2)
    before, after = hyperspherical_energy(W), hyperspherical_energy(H @ W)
    at_least(abs(after - before) / before, 0.1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "rows",
    [[[0, 0]], [[1, 2], [0, 0]], [[1, 2], [2, 1], [1, 2]], [[0.3, 0.7], [1, 0], [2.1, 4.9]]],
    ids=str,
)
def test_zero_and_parallel_rows_have_no_energy(rows, dtype):
    """In any position and of any length; the matrix's precision says which directions are equal."""
    with pytest.raises(ValueError, match=r"^W must have no zero row"):
        hyperspherical_energy(np.array(rows, dtype))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_directions_are_equal_up_to_100_roundings(dtype):
    """Two rows at distance t have the energy 2 / t from there on."""
    bound = 100 * np.finfo(dtype).eps
    near, apart = (np.array([[1, 0], [1, share * bound]], dtype) for share in (0.9, 1.1))
    with pytest.raises(ValueError, match=r"^W must have no zero row"):
        hyperspherical_energy(near)
    assert hyperspherical_energy(apart) == pytest.approx(2 / (1.1 * bound), rel=1e-3)


def test_the_energy_is_that_of_every_ordered_pair_at_unit_length():
    assert hyperspherical_energy(np.array([[3.0, 0.0], [0.0, 0.1]])) == pytest.approx(
        2 / math.sqrt(2)
    )
    assert hyperspherical_energy(np.array([[1.0, 2.0], [-2.0, -4.0]])) == pytest.approx(2 / 2)
    assert hyperspherical_energy(np.array([[1.0, 2.0]])) == 0
    triangle = np.array([[1, 0], [-0.5, math.sqrt(0.75)], [-0.5, -math.sqrt(0.75)]], np.float32)
    assert hyperspherical_energy(triangle) == pytest.approx(6 / math.sqrt(3), rel=1e-6)


# Sizes, types and kinds of weights


@pytest.mark.parametrize("exponent", [-1000, -500, 500, 1000])
def test_nothing_but_the_spectrum_depends_on_the_size_of_the_matrix(exponent, rng):
    """M times a power of two, even where the squares of its entries overflow or are zero."""
    M, N = rng.standard_normal((2, 5, 4))
    size = 2.0**exponent
    np.testing.assert_allclose(singular_spectrum(size * M), size * singular_spectrum(M))
    np.testing.assert_allclose(energy_captured(size * M), energy_captured(M), rtol=1e-12)
    assert hyperspherical_energy(size * M) == hyperspherical_energy(M)
    expected = subspace_similarity(M, N, 2, 3)
    assert subspace_similarity(size * M, N, 2, 3) == pytest.approx(expected, rel=1e-12)
    theta = conversion_matrices(M, N, M @ N.T)
    scaled = conversion_matrices(size * M, size * N, size * (M @ N.T))
    for one, two in zip(theta, scaled):
        np.testing.assert_allclose(one, two, rtol=1e-9)


def test_rows_of_very_different_size_have_the_energy_of_their_directions(rng):
    W = rng.standard_normal((3, 4))
    sizes = 2.0 ** np.array([[-900], [0], [900]])
    assert hyperspherical_energy(sizes * W) == hyperspherical_energy(W)


def test_any_weight_can_be_analysed(rng):
    """Four bits and an adapter are seen as the matrix that they stand for."""
    W = rng.standard_normal((4, 8)).astype(np.float32)
    attached = attach({"W": quantize(W)}, {"*": LoRA(2)}, rng=rng)
    for weight in (quantize(W), attached.bind()["W"]):
        matrix = np.asarray(weight)
        np.testing.assert_array_equal(singular_spectrum(weight), singular_spectrum(matrix))
        assert hyperspherical_energy(weight) == hyperspherical_energy(matrix)
        assert subspace_similarity(weight, W, 2, 2) == subspace_similarity(matrix, W, 2, 2)
        for one, two in ((weight, W), (W, weight)):
            expected = intruder_dimensions(np.asarray(one), np.asarray(two), 2, 0.9)
            np.testing.assert_array_equal(intruder_dimensions(one, two, 2, 0.9), expected)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_is_an_array_has_the_dtype_of_the_matrix(dtype, rng):
    M = rng.standard_normal((5, 4)).astype(dtype)
    assert singular_spectrum(M).dtype == dtype
    assert energy_captured(M).dtype == dtype
    assert isinstance(subspace_similarity(M, M, 2, 2), float)
    assert isinstance(hyperspherical_energy(M), float)


@pytest.mark.parametrize("integer", [int, np.int64, np.int32])
def test_chance_is_known_in_any_dimension(integer):
    """d⁴ is beyond 64 bits for d = 10⁵; the deviation for i = j = 1 is about √2 / d."""
    mean, deviation = random_similarity(integer(10**5), integer(1), integer(1))
    assert mean == 1e-5
    assert deviation == pytest.approx(math.sqrt(2) * 1e-5, rel=1e-4)
    mean, deviation = random_similarity(10**100, 1, 1)
    assert mean == 1e-100
    assert deviation == pytest.approx(math.sqrt(2) * 1e-100)


# Mistakes

GOOD = np.arange(12.0).reshape(4, 3) + np.eye(4, 3)
S = GOOD[:3]  # square
BROKEN = {
    "NaN": GOOD * math.nan,
    "inf": GOOD + math.inf,
    "a vector": GOOD[0],
    "nothing": GOOD[:0],
    "a list": GOOD.tolist(),
    "integers": GOOD.astype(int),
    "masked": np.ma.masked_less(GOOD, 1),
    "masked float16": np.ma.masked_less(GOOD.astype(np.float16), 1),
    "infinite float16": np.full((4, 3), math.inf, np.float16),
    "nowhere": None,
    "a number": 2.0,
    "too large": GOOD * 1e307,
}


def mistakes():
    """(what is wrong, the name that the message must begin with, a call)."""
    for wrong, M in BROKEN.items():
        yield f"spectrum of {wrong}", "delta", lambda M=M: singular_spectrum(M)
        yield f"share of {wrong}", "delta", lambda M=M: energy_captured(M)
        yield f"M1 is {wrong}", "M1", lambda M=M: subspace_similarity(M, GOOD, 1, 1)
        yield f"M2 is {wrong}", "M2", lambda M=M: subspace_similarity(GOOD, M, 1, 1)
        yield f"B is {wrong}", "B", lambda M=M: conversion_matrices(GOOD, GOOD[:3], M)
        yield f"A is {wrong}", "A", lambda M=M: conversion_matrices(GOOD, M, GOOD)
        yield f"W is {wrong}", "W", lambda M=M: conversion_matrices(M, GOOD[:3], GOOD)
        if M is not None:
            yield f"A_0 is {wrong}", "A_0", lambda M=M: conversion_matrices(GOOD, S, GOOD, M)
        yield f"published B is {wrong}", "B", lambda M=M: published_conversion_matrices(S, S, M)
        yield f"published A is {wrong}", "A", lambda M=M: published_conversion_matrices(S, M, S)
        yield f"published W is {wrong}", "W", lambda M=M: published_conversion_matrices(M, S, S)
        yield f"intruders of {wrong}", "W", lambda M=M: intruder_dimensions(M, GOOD, 1, 0.5)
        yield f"intruders in {wrong}", "W_adapted", lambda M=M: intruder_dimensions(GOOD, M, 1, 0.5)
        yield f"energy of {wrong}", "W", lambda M=M: hyperspherical_energy(M)
        yield f"narrow, B is {wrong}", "B", lambda M=M: narrow_product(M, S)
        yield f"narrow, A is {wrong}", "A", lambda M=M: narrow_product(GOOD, M)
        yield f"product, B is {wrong}", "B", lambda M=M: product_spectrum(M, S)
        yield f"product, A is {wrong}", "A", lambda M=M: product_spectrum(GOOD, M)
        yield f"among {wrong}", "matrices", lambda M=M: mean_similarity([GOOD, M], 1)
        for letter, params in (("B", {"A": S, "B": M}), ("A", {"A": M, "B": S})):
            yield (
                f"factor {letter} is {wrong}",
                letter,
                lambda params=params: product_factors(LoRA(3), params),
            )
        yield f"U is {wrong}", "U", lambda M=M: product_factors(HRA(4), {"U": M})
        if M is not None:
            yield f"HRA on {wrong}", "W", lambda M=M: product_factors(HRA(4), {"U": S}, M)
    for values in (
        np.zeros(3),
        np.array([1.0, -1]),
        np.array([1, math.nan]),
        [1.0],
        1.0,
        GOOD,
        None,
    ):
        yield f"effective rank of {values}", "values", lambda v=values: effective_rank(v)
        yield f"stable rank of {values}", "values", lambda v=values: stable_rank(v)
    yield "B does not fit A", "B", lambda: narrow_product(GOOD, GOOD)
    yield "too large a product", "B A", lambda: narrow_product(1e160 * GOOD, 1e160 * S)
    yield "too large a scale", "s B A", lambda: product_spectrum(GOOD, 1e150 * S, 1e200)
    yield (
        "too large an alpha",
        "s B",
        lambda: product_factors(LoRA(3, 1e200), {"A": S, "B": 1e200 * S}),
    )
    for scale in (0, -1.0, math.nan, None, "1"):
        yield f"scale = {scale!r}", "scale", lambda s=scale: product_spectrum(GOOD, S, s)
    yield "another adapter", "adapter", lambda: product_factors(Full(), {"W": S})
    yield "no adapter", "adapter", lambda: product_factors(None, {"W": S})
    yield "one matrix", "the number of matrices", lambda: mean_similarity([GOOD], 1)
    yield "of different d", "matrices", lambda: mean_similarity([GOOD, S], 1)
    yield "share of nothing learned", "delta", lambda: energy_captured(np.zeros((2, 2)))
    tiny, large = 1e-200 * GOOD, 1e200 * GOOD
    yield "A far larger than W", "A", lambda: conversion_matrices(tiny, large[:3], GOOD)
    yield "B far larger than W", "B", lambda: conversion_matrices(tiny, GOOD[:3], large)
    yield (
        "A started far away",
        "A - A_0",
        lambda: conversion_matrices(GOOD, 5e306 * S, GOOD, -5e306 * S),
    )
    yield "A_0 too short", "A_0", lambda: conversion_matrices(GOOD, GOOD[:3], GOOD, GOOD[:2])
    yield "published W not square", "W", lambda: published_conversion_matrices(GOOD, GOOD[:3], GOOD)
    yield (
        "the product of A and B too large",
        "A",
        lambda: published_conversion_matrices(S, 1e160 * S, 1e160 * S),
    )
    yield "another shape", "W_adapted", lambda: intruder_dimensions(GOOD, GOOD[:3], 1, 0.5)
    for threshold in (0, -0.5, 1.01, math.nan, math.inf, None, "0.5", True):
        yield (
            f"threshold = {threshold!r}",
            "threshold",
            lambda threshold=threshold: intruder_dimensions(GOOD, GOOD, 1, threshold),
        )
    yield "different d", "M2", lambda: subspace_similarity(GOOD, GOOD.T, 1, 1)
    yield "a larger d", "M2", lambda: subspace_similarity(GOOD.T, GOOD, 1, 1)
    yield "A too wide", "A", lambda: conversion_matrices(GOOD, np.ones((2, 4)), np.ones((4, 2)))
    yield "B too short", "B", lambda: conversion_matrices(GOOD, np.ones((2, 3)), np.ones((3, 2)))
    yield (
        "B of another rank",
        "B",
        lambda: conversion_matrices(GOOD, np.ones((2, 3)), np.ones((4, 1))),
    )
    for i in (0, -1, 4, 1.5, 1.0, True, "1", None, math.nan):
        yield f"i = {i!r}", "i", lambda i=i: subspace_similarity(GOOD, GOOD, i, 1)
        yield f"j = {i!r}", "j", lambda i=i: subspace_similarity(GOOD, GOOD, 1, i)
        yield f"mean i = {i!r}", "i", lambda i=i: mean_similarity([GOOD, GOOD], i)
        yield f"k = {i!r}", "k", lambda i=i: intruder_dimensions(GOOD, GOOD, i, 0.5)
        yield f"random i = {i!r}", "i", lambda i=i: random_similarity(3, i, 1)
        yield f"random j = {i!r}", "j", lambda i=i: random_similarity(3, 1, i)
    for d in (0, -1, 2.5, True, "3", None, math.inf):
        yield f"d = {d!r}", "d", lambda d=d: random_similarity(d, 1, 1)


@pytest.mark.parametrize(
    "name, call", [pytest.param(name, call, id=wrong) for wrong, name, call in mistakes()]
)
def test_a_mistake_is_a_value_error_that_names_the_argument(name, call):
    with pytest.raises(ValueError, match=rf"^{name} must "):
        call()


def test_nothing_is_written_to_the_arguments(rng):
    arrays = [rng.standard_normal(shape) for shape in ((4, 3), (2, 3), (4, 2))]
    before = [array.copy() for array in arrays]
    W, A, B = arrays
    conversion_matrices(W, A, B)
    subspace_similarity(W, B, 1, 1)
    hyperspherical_energy(W)
    energy_captured(W)
    intruder_dimensions(W, 2 * W, 1, 0.5)
    for array, copy in zip(arrays, before):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_overflow_is_seen_whatever_its_sign(sign):
    with pytest.raises(ValueError, match="above"):
        singular_spectrum(np.full((2, 2), sign * 1.5e308))


def test_the_energy_of_rows_of_large_negative_entries():
    W = np.array([[1e200, 1.0], [0.0, 1.0]])
    assert hyperspherical_energy(-W) == hyperspherical_energy(W)


def test_a_stable_rank_is_a_float_of_python():
    assert type(stable_rank(np.array([2, 1], np.float32))) is float


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("adapter", [HRA(2), HRAStrict(2)], ids=str)
def test_both_factors_of_reflections_are_float32(adapter, dtype):
    factors = product_factors(adapter, {"U": np.eye(4, 2, dtype=dtype)})
    assert [factor.dtype for factor in factors] == [np.float32] * 2
