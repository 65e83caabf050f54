"""Claims: how near to a target five members of the family can bring one matrix."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora.family.reach import best_ia3, best_lora_fa, best_lora_xs, best_shira, best_svf
from minilora.testing.claims import OURS, claim, exactly, within

SEED, SIDE = st.integers(0, 2**32 - 1), st.integers(1, 6)
INTEGERS = st.booleans()


def draw(rng, shape, integers):
    """A Gaussian matrix, or one of small integers, which may be singular."""
    return rng.integers(-2, 3, shape).astype(float) if integers else rng.standard_normal(shape)


def gap(found, T):
    """‖W' − T‖_F."""
    adapter, params, frozen = found
    return float(np.linalg.norm(adapter.merge(params, frozen) - T))


def no_nearer(rng, found, T):
    """Whether 20 other params, near and far, are nearer: by how much at most."""
    adapter, params, frozen = found
    best, most = gap(found, T), 0.0
    for size in (1e-3, 1e-1, 1.0, 10.0) * 5:
        moved = {name: own + size * rng.standard_normal(own.shape) for name, own in params.items()}
        most = max(most, best - gap((adapter, moved, frozen), T))
    return most


@claim("I1", OURS, "IA3: error² = Σ_i ‖t_i‖² − (w_i·t_i)²/‖w_i‖²; no other l is nearer")
@given(SEED, SIDE, SIDE, INTEGERS)
def test_the_best_ia3(seed, d_out, d_in, integers):
    """For W and T of any shape, Gaussian or of small integers, zero rows of W among them; 20 other
    l, near and far.
    """
    rng = np.random.default_rng(seed)
    W, T = draw(rng, (d_out, d_in), integers), draw(rng, (d_out, d_in), integers)
    found = best_ia3(W, T)
    expected = 0.0
    for w, t in zip(W, T):
        expected += t @ t - ((w @ t) ** 2 / (w @ w) if np.any(w) else 0.0)
    within(abs(gap(found, T) ** 2 - expected), 1e-9 * (1 + np.sum(T**2)))
    within(no_nearer(rng, found, T), 1e-9)


@claim("I2", OURS, "SVF: error² = ‖T‖² − Σ (u_kᵀ T v_k)² for σ_k > 0; no other z is nearer")
@given(SEED, SIDE, SIDE, INTEGERS)
def test_the_best_svf(seed, d_out, d_in, integers):
    """For W and T of any shape, Gaussian or of small integers, singular W too; 20 other z."""
    rng = np.random.default_rng(seed)
    W, T = draw(rng, (d_out, d_in), integers), draw(rng, (d_out, d_in), integers)
    found = best_svf(W, T)
    U, sigma, Vt = np.linalg.svd(W, full_matrices=False)
    along = [u @ T @ v for u, s, v in zip(U.T, sigma, Vt) if s > 1e-9 * (1 + sigma[0])]
    expected = np.sum(T**2) - np.sum(np.square(along))
    within(abs(gap(found, T) ** 2 - expected), 1e-9 * (1 + np.sum(T**2)))
    within(no_nearer(rng, found, T), 1e-9 * (1 + np.sum(T**2)))


@claim("I3", OURS, "SHiRA: error² = the squares of all but the k largest |E_ij| of each row")
@given(SEED, SIDE, SIDE, st.integers(1, 2), INTEGERS)
def test_the_best_shira(seed, d_out, d_in, rank, integers):
    """For W and T of any shape, ties among the entries too; against every choice that is better in
    no row: the expected error is computed row by row from sorted squares.
    """
    rng = np.random.default_rng(seed)
    W, T = draw(rng, (d_out, d_in), integers), draw(rng, (d_out, d_in), integers)
    found = best_shira(W, T, rank)
    k = found[1]["v"].shape[1]
    exactly(k == min(d_in, rank * (d_out + d_in) // d_out))
    expected = sum(np.sum(np.sort(row**2)[: d_in - k]) for row in T - W)
    within(abs(gap(found, T) ** 2 - expected), 1e-9 * (1 + np.sum((T - W) ** 2)))
    within(no_nearer(rng, found, T), 1e-9)


@claim("I4", OURS, "LoRA-FA, A given: error² = ‖E‖² − ‖E A⁺ A‖²; no other B is nearer")
@given(SEED, SIDE, SIDE, st.integers(1, 7), INTEGERS)
def test_the_best_lora_fa(seed, d_out, d_in, rank, integers):
    """For W, T and A of any shape, r above d_in and A without full rank among them; 20 other B."""
    rng = np.random.default_rng(seed)
    W, T = draw(rng, (d_out, d_in), integers), draw(rng, (d_out, d_in), integers)
    A = draw(rng, (rank, d_in), integers)
    found = best_lora_fa(W, T, A)
    E = T - W
    solved = np.linalg.lstsq(A.T, E.T, rcond=None)[0].T
    expected = np.sum((E - solved @ A) ** 2)
    within(abs(gap(found, T) ** 2 - expected), 1e-9 * (1 + np.sum(E**2)))
    within(no_nearer(rng, found, T), 1e-9)


@claim("I5", OURS, "LoRA-XS: error² = ‖E‖² − ‖U_rᵀ E V_r‖²; no other R is nearer")
@given(SEED, SIDE, SIDE, st.data())
def test_the_best_lora_xs(seed, d_out, d_in, data):
    """For Gaussian W and T of any shape and any rank; 20 other R."""
    rng = np.random.default_rng(seed)
    rank = data.draw(st.integers(1, min(d_out, d_in)))
    W, T = rng.standard_normal((2, d_out, d_in))
    found = best_lora_xs(W, T, rank)
    U, _, Vt = np.linalg.svd(W)
    E = T - W
    expected = np.sum(E**2) - np.sum((U[:, :rank].T @ E @ Vt[:rank].T) ** 2)
    within(abs(gap(found, T) ** 2 - expected), 1e-8 * (1 + np.sum(E**2)))
    within(no_nearer(rng, found, T), 1e-9)


@pytest.mark.parametrize("size", [1e-8, 1e-3, 1e3])
def test_the_best_ia3_takes_short_rows_for_what_they_are(size, rng):
    W = size * rng.standard_normal((4, 3))
    adapter, params, frozen = best_ia3(W, 2 * W)
    np.testing.assert_allclose(adapter.merge(params, frozen), 2 * W, rtol=1e-9)


@pytest.mark.parametrize("best", [best_ia3, best_svf])
def test_a_target_of_another_shape_or_dtype_is_refused(best):
    W = np.ones((2, 3))
    with pytest.raises(
        ValueError, match=r"^T must be as W, float64 \(2, 3\), got float64 \(3, 2\)"
    ):
        best(W, W.T)
    with pytest.raises(ValueError, match=r"^T must be as W, float64 \(2, 3\), got float32"):
        best(W, W.astype(np.float32))
    with pytest.raises(ValueError, match=r"^W must be a matrix"):
        best(np.ones(3), W)


def test_what_cannot_be_is_refused():
    W = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"^A must be \(r, 3\), got \(1, 4\)"):
        best_lora_fa(W, W, np.ones((1, 4)))
    with pytest.raises(ValueError, match=r"^rank must be an integer from 1 to 2, got 3"):
        best_lora_xs(W, W, 3)
    with pytest.raises(ValueError, match=r"^rank must be an integer from 1 to 1, got 2"):
        best_lora_xs(W, W, 2)  # W has rank 1
    with pytest.raises(ValueError, match=r"^rank must be an integer from 1 to 0, got 1"):
        best_lora_xs(0 * W, W, 1)
    with pytest.raises(ValueError, match=r"^rank must be an integer from 1"):
        best_shira(W, W, 0)


@pytest.mark.parametrize("size", [1e-20, 1e20])
def test_the_best_svf_does_not_depend_on_the_size(size, rng):
    W, T = rng.standard_normal((2, 3, 4))
    one, other = (best_svf(scale * W, scale * T)[1]["z"] for scale in (size, 1))
    np.testing.assert_allclose(one, other, rtol=1e-9)
