"""What is measured on an update: conversion matrices, similarity of subspaces, energy of rows."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minilora.adapters import CondLoRA, LoRA
from minilora.analysis import (
    conversion_matrices,
    energy_captured,
    hyperspherical_energy,
    random_similarity,
    singular_spectrum,
    subspace_similarity,
)
from minilora.attachment import attach
from minilora.quantization import quantize
from minilora.testing.claims import KIM, YUAN, at_least, claim, exactly, within

SEED = st.integers(0, 2**32 - 1)
WIDTH = st.integers(1, 7)


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


# Conversion matrices


@claim("D4", KIM, "an invertible W has one pair Θ_A = A W⁻¹, Θ_B = (W⁻¹ B)ᵀ")
@given(SEED, WIDTH, st.integers(1, 4))
def test_an_invertible_w_has_one_pair_of_conversion_matrices(seed, d, r):
    """W = P S Qᵀ, singular values in [0.5, 2]: W⁻¹ = Q S⁻¹ Pᵀ; CondLoRA with the pair adds B A."""
    rng = np.random.default_rng(seed)
    P, Q, sizes = orthonormal(rng, d, d), orthonormal(rng, d, d), rng.uniform(0.5, 2, d)
    W, inverse = (P * sizes) @ Q.T, (Q / sizes) @ P.T
    A, B = rng.standard_normal((r, d)), rng.standard_normal((d, r))
    theta_A, theta_B = conversion_matrices(W, A, B)
    within(np.abs(theta_A - A @ inverse), 1e-12, "Θ_A")
    within(np.abs(theta_B - (inverse @ B).T), 1e-12, "Θ_B")
    if r <= d:
        merged = CondLoRA(r).merge({"Theta_A": theta_A, "Theta_B": theta_B}, {"W": W})
        within(np.abs(merged - W - B @ A), 1e-12, "CondLoRA")


@claim("D4", KIM, "any W: least error and least norm; unique at full rank of that side")
@given(SEED, WIDTH, WIDTH, WIDTH, st.integers(1, 4))
def test_any_w_has_conversion_matrices_of_least_error_and_norm(seed, d_out, d_in, q, r):
    """W = P S Qᵀ of rank q: of all Θ of least error, A Q S⁻¹ Pᵀ has the least norm.

    The singular values are in [0.5, 2]. Conversion matrices are found again from the A and B that
    they make, Θ_A if q = d_out, Θ_B if q = d_in; else their parts in the column space and in the
    row space of W are.
    """
    rng = np.random.default_rng(seed)
    q = min(q, d_out, d_in)
    P, Q, sizes = orthonormal(rng, d_out, q), orthonormal(rng, d_in, q), rng.uniform(0.5, 2, q)
    W = (P * sizes) @ Q.T
    A, B = rng.standard_normal((r, d_in)), rng.standard_normal((d_out, r))
    theta_A, theta_B = conversion_matrices(W, A, B)
    within(np.abs(theta_A - (A @ Q / sizes) @ P.T), 1e-12, "Θ_A of any A")
    within(np.abs(theta_B - (B.T @ P / sizes) @ Q.T), 1e-12, "Θ_B of any B")
    true_A, true_B = rng.standard_normal((r, d_out)), rng.standard_normal((r, d_in))
    theta_A, theta_B = conversion_matrices(W, true_A @ W, W @ true_B.T)
    within(np.abs(theta_A - (true_A if q == d_out else true_A @ P @ P.T)), 1e-12, "Θ_A found again")
    within(np.abs(theta_B - (true_B if q == d_in else true_B @ Q @ Q.T)), 1e-12, "Θ_B found again")


@claim("D4", KIM, "… and for integer W of any rank")
@given(st.data(), SEED, st.integers(1, 4), st.integers(1, 4))
def test_degenerate_weights_have_conversion_matrices(data, seed, d_out, d_in):
    """What is missed is orthogonal to the rows of W, and Θ lies in its column space."""
    rng, W = np.random.default_rng(seed), small_integers(data, d_out, d_in)
    A, B = rng.standard_normal((2, d_in)), rng.standard_normal((d_out, 2))
    theta_A, theta_B = conversion_matrices(W, A, B)
    P, sizes, Qt = np.linalg.svd(W)
    rank = int(np.sum(sizes > 1e-9))
    within(np.abs((A - theta_A @ W) @ W.T), 1e-11, "A − Θ_A W on the rows")
    within(np.abs(W.T @ (B - W @ theta_B.T)), 1e-11, "B − W Θ_Bᵀ on the columns")
    within(np.max(np.abs(theta_A @ P[:, rank:]), initial=0), 1e-11, "Θ_A beside the column space")
    within(np.max(np.abs(theta_B @ Qt[rank:].T), initial=0), 1e-11, "Θ_B beside the row space")


# The similarity of subspaces


def with_directions(rng, U, columns):
    """A matrix (d, columns) with the columns of U as left singular vectors, and values (2/3)ⁿ."""
    r = U.shape[1]
    return (U * (2 / 3) ** np.arange(r)) @ orthonormal(rng, columns, r).T


@claim("D5", KIM, "φ is between max(0, i+j−d) / min(i, j) and 1, and symmetric")
@given(SEED, WIDTH, WIDTH, WIDTH)
def test_similarity_is_the_sum_of_squared_cosines(seed, d, i, j):
    """For known left singular vectors: Σ (u·v)² / min(i, j) by loops, whatever the right ones."""
    rng = np.random.default_rng(seed)
    r1, r2 = (rng.integers(min(k, d), d + 1) for k in (i, j))
    i, j = min(i, d), min(j, d)
    U1, U2 = orthonormal(rng, d, r1), orthonormal(rng, d, r2)
    M1, M2 = with_directions(rng, U1, r1 + 1), with_directions(rng, U2, r2 + 2)
    total = 0.0
    for a in range(i):
        for b in range(j):
            total += sum(U1[k, a] * U2[k, b] for k in range(d)) ** 2
    phi = subspace_similarity(M1, M2, i, j)
    within(abs(phi - total / min(i, j)), 1e-12, "loops")
    within(abs(phi - subspace_similarity(M2, M1, j, i)), 1e-12, "symmetry")
    within(phi - 1, 1e-12, "at most 1")
    within(
        max(0, i + j - d) / min(i, j) - phi, 1e-12, "at least the overlap that cannot be avoided"
    )


@claim("D5", KIM, "φ = 1 for nested subspaces; rotating one out by t costs sin²t / min")
@given(SEED, st.integers(2, 7), WIDTH, WIDTH, st.floats(0.1, math.pi / 2))
def test_similarity_is_one_if_and_only_if_one_subspace_holds_the_other(seed, d, i, j, angle):
    """Span(U1) in span(U2); then one direction of U1 is rotated by t out of span(U2)."""
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


@claim("D5", KIM, "the smallest φ, max(0, i+j−d) / min(i, j), is attained")
@pytest.mark.parametrize(
    "d, i, j", [(5, 2, 3), (5, 3, 4), (4, 4, 1), (1, 1, 1), (6, 1, 2), (3, 2, 2)]
)
def test_the_smallest_similarity_is_that_of_subspaces_from_the_two_ends_of_a_basis(d, i, j, rng):
    Q = orthonormal(rng, d, d)
    phi = subspace_similarity(
        with_directions(rng, Q[:, :i], d), with_directions(rng, Q[:, d - j :], d), i, j
    )
    within(abs(phi - max(0, i + j - d) / min(i, j)), 1e-12)


@claim("D5", KIM, "random subspaces: mean max(i, j) / d and the deviation as stated")
@pytest.mark.parametrize("d, i, j", [(5, 1, 1), (8, 2, 3), (8, 5, 4), (12, 3, 3), (20, 9, 2)])
def test_random_subspaces_have_the_stated_mean_and_deviation(d, i, j, rng):
    """40,000 uniform subspaces against the first i axes: the law is the same in every basis."""
    mean, deviation = random_similarity(d, i, j)
    Q = np.linalg.qr(rng.standard_normal((40_000, d, j)))[0]
    samples = np.sum(Q[:, :i] ** 2, axis=(1, 2)) / min(i, j)
    within(abs(np.mean(samples) - mean), 0.002, "mean")
    within(abs(np.std(samples) - deviation), 0.003, "deviation")


def test_the_similarity_of_random_matrices_is_that_of_random_subspaces(rng):
    mean, deviation = random_similarity(8, 2, 3)
    phi = [subspace_similarity(*rng.standard_normal((2, 8, 5)), 2, 3) for _ in range(400)]
    assert abs(np.mean(phi) - mean) < 4 * deviation / math.sqrt(400)
    assert abs(np.std(phi) / deviation - 1) < 0.2


@pytest.mark.parametrize("d, i, j", [(1, 1, 1), (4, 4, 1), (4, 2, 4), (3, 3, 3)])
def test_the_whole_space_is_always_similar(d, i, j):
    assert random_similarity(d, i, j) == (1.0, 0.0)


@claim("D5", KIM, "φ is refused where it is undefined, at ties and above the rank")
@given(st.data(), st.integers(1, 4), st.integers(1, 4))
def test_similarity_is_refused_exactly_at_ties_and_above_the_rank(data, d, n):
    """For small integers, by the eigenvalues of M Mᵀ; where it is defined, by the projection."""
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


@claim("D5", KIM, "φ is refused where it is undefined, at ties and above the rank")
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


def test_the_rank_is_judged_at_the_precision_of_the_matrix(rng):
    """A float32 product of rank 3 has more singular values, of float32 rounding: no directions."""
    M = (rng.standard_normal((9, 3)) @ rng.standard_normal((3, 8))).astype(np.float32)
    assert np.linalg.svd(M.astype(float), compute_uv=False)[3] > 1e-9
    assert subspace_similarity(M, M.astype(float), 3, 3) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match=r"^i must be one of \[1 2 3\]"):
        subspace_similarity(M, M, 4, 3)


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
    for k in range(r + 1):
        missed = sum(delta[a, b] ** 2 for a in range(d_out) for b in range(d_in))
        missed -= sum(values[m] ** 2 for m in range(k))
        assert shares[k] == pytest.approx(1 - missed / np.sum(delta**2), abs=1e-12)


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
    """H any product of reflections, W any matrix whose rows differ in direction by 0.01 or more."""
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((d_out, d_in)) / math.sqrt(d_in)
    units = W / np.linalg.norm(W, axis=1, keepdims=True)
    assume(min(np.linalg.norm(units[a] - units[b]) for a in range(d_out) for b in range(a)) > 0.01)
    check_kept(W, chain(rng, d_in, count))


@claim("B4", YUAN, "… and the energy is infinite, an error, just for zero or parallel rows")
@given(st.data(), SEED, st.integers(1, 4), st.integers(1, 4))
def test_the_energy_of_rows_is_infinite_just_for_zero_or_parallel_rows(data, seed, d_out, d_in):
    """For rows of integers, parallel just when v·w > 0 and (v·w)² = |v|² |w|²: without rounding."""
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


@claim("B4", YUAN, "H W, reflections on the left, changes the energy of the rows")
@pytest.mark.parametrize("seed", range(4))
def test_reflections_on_the_left_change_the_energy_of_the_rows(seed):
    """They keep singular values and columns' angles, but mix the output neurons."""
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
BROKEN = {
    "NaN": GOOD * math.nan,
    "inf": GOOD + math.inf,
    "a vector": GOOD[0],
    "nothing": GOOD[:0],
    "a list": GOOD.tolist(),
    "integers": GOOD.astype(int),
    "float16": GOOD.astype(np.float16),
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
        yield f"energy of {wrong}", "W", lambda M=M: hyperspherical_energy(M)
    yield "share of nothing learned", "delta", lambda: energy_captured(np.zeros((2, 2)))
    tiny, large = 1e-200 * GOOD, 1e200 * GOOD
    yield "A far larger than W", "A", lambda: conversion_matrices(tiny, large[:3], GOOD)
    yield "B far larger than W", "B", lambda: conversion_matrices(tiny, GOOD[:3], large)
    yield "different d", "M2", lambda: subspace_similarity(GOOD, GOOD.T, 1, 1)
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
    for array, copy in zip(arrays, before):
        np.testing.assert_array_equal(array, copy)
