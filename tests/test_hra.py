"""HRA: what a product of Householder reflections is, keeps, and cannot reach."""

import re

import numpy as np
import pytest
from autograd import numpy as anp
from autograd.test_util import check_grads
from hypothesis import assume, given
from hypothesis import strategies as st

from minilora.adapters import HRA, HRAStrict, LoRA
from minilora.adapters.hra import orthogonality_penalty
from minilora.testing.claims import OURS, SHUTTLEWORTH, YUAN, at_least, claim, exactly, within
from minilora.testing.trials import moved, weight
from minilora.train import fit, value_and_grad

SEED = st.integers(0, 2**32 - 1)
WIDTH = st.integers(1, 10)


def haar(rng, d, r):
    """r orthonormal vectors as columns (d, r), each direction as likely as any other.

    NumPy's qr alone has det Q = −1 for every even d and 1 for every odd one.
    """
    Q, R = np.linalg.qr(rng.standard_normal((d, r)))
    return Q * np.sign(np.diag(R))


def vectors(seed, d, r):
    """r random columns of lengths about 1e-6 to 1e6, every third nearly parallel to another."""
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


def drawn():
    """U (d, r) of either kind, d up to 10 and r up to 14."""
    sizes = st.tuples(SEED, WIDTH, st.integers(1, 14)).map(lambda drawn: vectors(*drawn))
    small = st.tuples(st.integers(1, 5), st.integers(1, 6)).flatmap(
        lambda shape: small_integers(*shape)
    )
    return st.one_of(sizes, small)


def H_of(U):
    """H₁ … H_r as a matrix, by HRA's merge on the identity."""
    return HRA(U.shape[1], odd=True).merge({"U": U}, {"W": np.eye(U.shape[0])})


def one_by_one(U, x):
    """H₁ (H₂ (… H_r x)), one reflection after the other."""
    for u in U.T[::-1]:
        unit = u / np.linalg.norm(u)
        x = x - 2 * unit * (unit @ x)
    return x


@claim("B1", YUAN, "H is orthogonal")
@given(drawn())
def test_a_chain_of_reflections_is_orthogonal(U):
    """HᵀH = I to 1e-13, for any r, above d too: columns of lengths 1e-6 to 1e6, some nearly
    parallel; and columns of small integers, some of them parallel, orthogonal or repeated.
    """
    H = H_of(U)
    within(np.abs(H.T @ H - np.eye(len(U))), 1e-13)


@claim("B1", OURS, "det H = (−1)^r, and reversed columns give the inverse of H")
@given(drawn())
def test_the_sign_and_the_inverse_of_a_chain(U):
    """Columns as for orthogonality: r is any, and their lengths, angles and ties too."""
    H = H_of(U)
    within(np.abs(np.linalg.det(H) - (-1) ** U.shape[1]), 1e-12, "det")
    within(np.abs(H_of(U[:, ::-1]) @ H - np.eye(len(U))), 1e-13, "inverse")


@claim("B2", YUAN, "compact WY is the chain: H = I − U Γ Uᵀ, applied to x")
@given(drawn())
def test_compact_wy_is_one_reflection_after_the_other(U):
    """`forward`, to 1e-12, and `merge`, to 1e-13, against the reflections of a vector one by one.

    For any r, above d too, and columns of any angle; their lengths, 1e-6 to 1e6, do not matter.
    """
    d, r = U.shape
    adapter = HRA(r, odd=True)
    for x in (np.random.default_rng(r).standard_normal(d), *np.eye(d)):
        y = one_by_one(U, x)
        size = 1 + np.abs(x).max()
        within(np.abs(adapter.forward({"U": U}, {"W": np.eye(d)}, x) - y), 1e-12 * size)
        within(np.abs(H_of(U) @ x - y), 1e-13 * size)


@claim("B3", YUAN, "HRA is LoRA in disguise: ΔW = −(W U Γ) Uᵀ of rank at most r")
@given(SEED, WIDTH, st.integers(1, 6), st.integers(1, 8))
def test_hra_is_a_low_rank_update_that_depends_on_w(seed, d, r, d_out):
    """For W of any shape and random unit columns.

    Γ is built column by column, Γ_k = [[Γ, −2 Γ Uᵀu], [0, 2]]: a derivation of its own.
    """
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
    """For W of any shape: its singular values stay, and W H Hᵀ Wᵀ = W Wᵀ, to 1e-12."""
    W = weight(np.random.default_rng(seed), (d_out, d))
    merged = HRA(r, odd=True).merge({"U": vectors(seed, d, r)}, {"W": W})
    spectra = [np.linalg.svd(M, compute_uv=False) for M in (merged, W)]
    within(np.abs(spectra[0] - spectra[1]), 1e-12)
    within(np.abs(merged @ merged.T - W @ W.T), 1e-12)


def new_directions(W, tuned):
    """1 − the largest |cosine| of each left singular vector of `tuned` with those of W.

    Shuttleworth et al. call a vector an intruder dimension when that cosine is below a chosen ε.
    Vectors of singular value 0 are left out, since they are nobody's own.
    """
    (old, before, _), (new, after, _) = (np.linalg.svd(M) for M in (W, tuned))
    old, new = (
        vectors[:, : np.sum(values > 1e-9 * values[0])]
        for vectors, values in ((old, before), (new, after))
    )
    return 1 - np.max(np.abs(old.T @ new), axis=0)


@claim("B19", OURS, "W H has W's left singular vectors: HRA has no intruder dimension")
@given(SEED, st.integers(2, 9), st.integers(1, 9), st.integers(1, 12), st.booleans())
def test_hra_has_no_intruder_dimension(seed, d_out, d, r, strict):
    """Free HRA with any columns, and strict HRA from random ones. For W of any shape whose singular
    values are at least a fifth apart: with equal ones, singular vectors are not unique.

    Every left singular vector of W H has a cosine of 1 with one of W, to 1e-10. So there is no
    intruder dimension for any ε < 1.
    """
    rng = np.random.default_rng(seed)
    k = min(d_out, d)
    spectrum = 1.2 ** -np.arange(k) * rng.uniform(1, 10)
    W = (haar(rng, d_out, k) * spectrum) @ haar(rng, d, k).T
    adapter = HRAStrict(min(r, d)) if strict else HRA(r, odd=True)
    U = haar(rng, d, min(r, d)) if strict else vectors(seed, d, r)
    merged = adapter.merge({"U": U}, {"W": W})
    within(new_directions(W, merged), 1e-10)
    exactly(len(new_directions(W, merged)) == k)


@claim("B20", OURS, "LoRA of rank 1 can have an intruder dimension for any ε > 1/√d_out")
@given(SEED, st.integers(2, 9), st.integers(1, 9))
def test_lora_can_have_an_intruder_dimension(seed, half, d):
    """For W of any shape with d_out ≥ 4, of full rank. B (d_out, 1) has the same cosine, 1/√d_out,
    with all left singular vectors of W, and the update is 1e6 times as large as W.

    Then the first left singular vector of W + B A has a largest cosine of 1/√d_out, to 1e-5: it is
    an intruder dimension for the authors' ε = 0.5 if d_out > 4.
    """
    rng, d_out = np.random.default_rng(seed), 2 * half
    W = weight(rng, (d_out, d))
    left = np.linalg.svd(W)[0]
    B = left @ np.full((d_out, 1), d_out**-0.5) * 1e6 * np.linalg.norm(W)
    A = haar(rng, d, 1).T
    (old, new) = (np.linalg.svd(M)[0] for M in (W, LoRA(1).merge({"A": A, "B": B}, {"W": W})))
    within(abs(np.max(np.abs(old.T @ new[:, 0])) - d_out**-0.5), 1e-5)


@claim("B20", SHUTTLEWORTH, "LoRA of rank 4, trained on one matrix, has intruder dimensions")
@pytest.mark.parametrize("seed", range(3))
def test_lora_has_intruder_dimensions_after_training(seed):
    """For Gaussian W (40, 40) and a target W + 3 E of rank 4, with ε = 0.5, in 3 draws.

    Both adapters have 320 trainable parameters and train for 200 steps. LoRA ends with at least 6
    intruder dimensions; HRA, whose update is at least a third as large as W, with none.
    """
    rng = np.random.default_rng(seed)
    W = weight(rng, (40, 40))
    T = W + 3 * haar(rng, 40, 4) @ haar(rng, 40, 4).T
    found = {}
    for adapter, lr in ((LoRA(4), 0.03), (HRA(8), 0.1)):
        start, frozen = adapter.init(rng, W)

        def loss(params, x, y, adapter=adapter, frozen=frozen):
            error = adapter.forward(params, frozen, x) - y
            return (error * error).sum() / y.size

        example = (np.eye(40)[None], T.T[None])
        params = fit(loss, start, example, rng=rng, steps=200, batch=1, lr=lr)
        merged = adapter.merge(params, frozen)
        found[type(adapter)] = np.sum(1 - new_directions(W, merged) < 0.5)
        at_least(np.linalg.norm(merged - W) / np.linalg.norm(W), 1 / 3, type(adapter).__name__)
    at_least(found[LoRA], 6)
    exactly(found[HRA] == 0)


@claim("B5", YUAN, "equal columns in adjacent pairs, HRA's start, give H = I")
@given(SEED, st.integers(1, 10), st.integers(1, 4))
def test_pairs_start_as_the_identity(seed, d, half):
    """For the start of HRA at the even ranks from 2 to 8: merged and unmerged, to 1e-13."""
    W = np.eye(d)
    params, frozen = HRA(2 * half).init(np.random.default_rng(seed), W)
    within(np.abs(HRA(2 * half).merge(params, frozen) - W), 1e-13)
    within(np.abs(HRA(2 * half).forward(params, frozen, W) - W), 1e-13)


@claim("B5", OURS, "(u, v, u, v) rotates by 4θ, θ the angle of u and v: I at 0° and 90° alone")
@given(SEED, st.integers(2, 8), st.floats(0, np.pi / 2))
def test_interleaved_pairs_are_the_identity_at_right_angles_alone(seed, d, angle):
    """For any two vectors at this angle: ‖H − I‖₂ = 2 |sin 2θ|, which is 0 for parallel and for
    orthogonal vectors, and for no others.
    """
    u, v = haar(np.random.default_rng(seed), d, 2).T
    v = np.cos(angle) * u + np.sin(angle) * v
    H = H_of(np.stack([u, v, u, v], axis=1))
    within(abs(np.linalg.norm(H - np.eye(d), 2) - 2 * abs(np.sin(2 * angle))), 1e-12)


@claim("B6", OURS, "an odd product is never I, and ‖WH − W‖₂ ≥ 2 σ_min(W) for d_out ≥ d_in")
@given(SEED, st.integers(1, 8), st.integers(0, 2), st.integers(0, 3))
def test_an_odd_product_is_far_from_the_identity(seed, d, more, half):
    """For odd r from 1 to 7, any columns, and W (d + more, d) with σ_min > 1e-3.

    ‖H − I‖₂ = 2, since H has the eigenvalue −1.
    """
    rng = np.random.default_rng(seed)
    r = 2 * half + 1
    W = weight(rng, (d + more, d))
    U = vectors(seed, d, r)
    within(np.abs(np.linalg.norm(H_of(U) - np.eye(d), 2) - 2), 1e-12)
    smallest = np.linalg.svd(W, compute_uv=False)[-1]
    assume(smallest > 1e-3)
    distance = np.linalg.norm(HRA(r, odd=True).merge({"U": U}, {"W": W}) - W, 2)
    at_least(distance, 2 * smallest * (1 - 1e-9))


@given(SEED, st.integers(1, 8), st.integers(0, 3))
def test_an_odd_rank_starts_with_one_column_that_has_no_partner(seed, d, half):
    W = weight(np.random.default_rng(seed), (d, d))
    adapter = HRA(2 * half + 1, odd=True)
    start, frozen = adapter.init(np.random.default_rng(seed), W)
    assert start["U"].shape == (d, 2 * half + 1)
    merged = adapter.merge(start, frozen)
    np.testing.assert_allclose(merged, adapter.merge({"U": start["U"][:, -1:]}, frozen), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(merged), -np.linalg.det(W), atol=1e-12)


def test_an_odd_product_can_keep_a_w_that_has_a_kernel(rng):
    """No bound if W has more columns than rows: a reflection inside the kernel changes nothing."""
    W = weight(rng, (3, 5))
    u = np.linalg.svd(W)[2][-1:].T
    np.testing.assert_allclose(HRA(1, odd=True).merge({"U": u}, {"W": W}), W, atol=1e-14)


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_an_odd_rank_is_refused_with_the_reason_unless_asked_for(rank):
    with pytest.raises(ValueError, match=r"^rank must be even, got .: .*determinant −1.*odd=True"):
        HRA(rank)
    assert HRA(rank, odd=True).rank == rank


@claim("B7", OURS, "‖H − I‖_F ≤ 2√r and ‖WH − W‖_F ≤ 2 √(the r largest σ²)")
@given(SEED, WIDTH, st.integers(1, 6), st.integers(1, 8))
def test_how_far_reflections_can_move_a_matrix(seed, d, r, d_out):
    """For W of any shape and random columns."""
    rng = np.random.default_rng(seed)
    W = weight(rng, (d_out, d))
    U = rng.standard_normal((d, r))
    within(np.linalg.norm(H_of(U) - np.eye(d)), 2 * np.sqrt(r) * (1 + 1e-12))
    values = np.linalg.svd(W, compute_uv=False)
    moved_by = np.linalg.norm(HRA(r, odd=True).merge({"U": U}, {"W": W}) - W)
    within(moved_by, 2 * np.sqrt(np.sum(values[:r] ** 2)) * (1 + 1e-10))


@claim("B7", OURS, "two reflections: ‖H − I‖_F = 2√2 |sin θ|, θ the angle of the vectors")
@given(SEED, st.integers(2, 10), st.floats(-8, np.log10(np.pi / 2)))
def test_two_reflections_move_by_the_sine_of_their_angle(seed, d, exponent):
    """For angles from 1e-8 to a right one, to 1e-14."""
    angle = 10.0**exponent
    u, v = haar(np.random.default_rng(seed), d, 2).T
    U = np.stack([u, np.cos(angle) * u + np.sin(angle) * v], axis=1)
    expected = 2 * np.sqrt(2) * np.sin(angle)
    within(abs(np.linalg.norm(H_of(U) - np.eye(d)) - expected), 1e-14)


@claim("B7", OURS, "the r top right-singular vectors move W by 2 √(the r largest σ²)")
@given(SEED, st.integers(1, 8), st.integers(1, 8), st.data())
def test_the_top_singular_vectors_move_it_farthest(seed, d, d_out, data):
    """For W of any shape and every r up to the smaller side: the bound is attained."""
    W = weight(np.random.default_rng(seed), (d_out, d))
    r = data.draw(st.integers(1, min(d, d_out)))
    _, values, Vt = np.linalg.svd(W)
    distance = np.linalg.norm(HRA(r, odd=True).merge({"U": Vt[:r].T}, {"W": W}) - W)
    within(abs(distance / (2 * np.sqrt(np.sum(values[:r] ** 2))) - 1), 1e-10)


def near_dependent(rng, d, r, e, dtype=np.float64):
    """r columns that differ from one direction by about e, of lengths 1e-3 to 1e3: (d, r)."""
    one = haar(rng, d, 1)
    U = one + e * rng.standard_normal((d, r)) / np.sqrt(d)
    return (U * 10.0 ** rng.uniform(-3, 3, r)).astype(dtype)


def accepted(U):
    """Whether strict HRA takes U, of which `forward` and `merge` must say the same."""
    d, r = U.shape
    verdicts = []
    for compute in (
        lambda: HRAStrict(r).merge({"U": U}, {"W": np.eye(d, dtype=U.dtype)}),
        lambda: HRAStrict(r).forward({"U": U}, {"W": np.eye(d, dtype=U.dtype)}, U[:, 0]),
    ):
        try:
            compute()
            verdicts.append(True)
        except ValueError as error:
            assert str(error).startswith("U must have independent columns")
            verdicts.append(False)
    assert verdicts[0] == verdicts[1]
    return verdicts[0]


@claim("B8", YUAN, "strict: H = I − 2P, P the projection on the columns, of any lengths")
@given(SEED, st.integers(1, 9), st.floats(-3, 0), st.data())
def test_strict_hra_is_one_minus_two_projections(seed, d, exponent, data):
    """For every U that is accepted, r ≤ d, from nearly dependent to random, with lengths from 1e-3
    to 1e3. P is made by the SVD of the unit columns; the tolerance is 1e-13, and 1e-12 for HU = −U.
    """
    rng = np.random.default_rng(seed)
    U = near_dependent(rng, d, data.draw(st.integers(1, d)), 10.0**exponent)
    assume(accepted(U))
    unit = U / np.linalg.norm(U, axis=0)
    left = np.linalg.svd(unit, full_matrices=False)[0]
    H = HRAStrict(U.shape[1]).merge({"U": U}, {"W": np.eye(d)})
    within(np.abs(H - (np.eye(d) - 2 * left @ left.T)), 1e-13)
    within(np.abs(H @ unit + unit), 1e-12, "the columns are reflected")


@claim("B8", OURS, "strict: H is an involution with ‖H − I‖_F = 2√r, so it is never I")
@given(SEED, st.integers(1, 9), st.floats(-3, 0), st.data())
def test_strict_hra_is_never_the_identity(seed, d, exponent, data):
    """For every U that is accepted, r ≤ d, from nearly dependent to random, lengths 1e-3 to 1e3:
    H = Hᵀ, HH = I and the distance, to 1e-13.
    """
    rng = np.random.default_rng(seed)
    U = near_dependent(rng, d, data.draw(st.integers(1, d)), 10.0**exponent)
    assume(accepted(U))
    H = HRAStrict(U.shape[1]).merge({"U": U}, {"W": np.eye(d)})
    within(np.abs(H - H.T), 1e-13)
    within(np.abs(H @ H - np.eye(d)), 1e-13)
    within(abs(np.linalg.norm(H - np.eye(d)) - 2 * np.sqrt(U.shape[1])), 1e-13)


@claim("B8", OURS, "strict, r ≤ 6: forward is merge to 100 ε ‖W‖ ‖x‖, every U that is accepted")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_strict_hra_computes_what_it_merges(dtype):
    """For r from 1 to 6, d from r to r + 20, lengths from 1e-3 to 1e3, and columns that differ from
    one direction by e, from 1e-8 to 1: either both refuse U, or they agree. In both dtypes.
    """
    worst, taken = 0.0, {}
    for e in 10.0 ** np.arange(-8, 0.01, 0.25):
        for r in range(1, 7):
            for seed in range(3):
                rng = np.random.default_rng(seed)
                d = r + int(rng.integers(21))
                U = near_dependent(rng, d, r, e, dtype)
                taken.setdefault(r > 1, {}).setdefault(e, []).append(accepted(U))
                if taken[r > 1][e][-1]:
                    W, x = weight(rng, (7, d), dtype), rng.standard_normal((5, d)).astype(dtype)
                    y = HRAStrict(r).forward({"U": U}, {"W": W}, x)
                    merged = HRAStrict(r).merge({"U": U}, {"W": W}).astype(np.float64)
                    size = np.linalg.norm(W, 2) * np.linalg.norm(x, axis=1)[:, None]
                    worst = max(worst, np.max(np.abs(y - x.astype(np.float64) @ merged.T) / size))
    within(worst, 100 * np.finfo(dtype).eps)
    exactly(all(map(all, taken[False].values())), "one column is always independent")
    exactly(not any(any(some) for e, some in taken[True].items() if e < 3e-3), "refused")
    exactly(np.mean(taken[True][1.0]) > 0.8, "taken")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("degrees, fine", [(0.80, False), (0.82, True), (179.2, False)])
def test_two_columns_are_refused_below_an_angle_of_eight_tenths_of_a_degree(degrees, fine, dtype):
    """1 − cos θ is the smallest eigenvalue of ÛᵀÛ, and 1e-4 at 0.81°; the lengths do not matter."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    for scale in (1.0, 1e-3, 1e3):
        U = np.array([[1.0, scale * cos], [0.0, scale * sin], [0.0, 0.0]], dtype)
        assert accepted(U) == fine


@claim("B8", OURS, "strict: 2 √(the r smallest σ²) ≤ ‖WH − W‖_F ≤ 2 √(the r largest σ²)")
@given(SEED, st.integers(1, 7), st.integers(1, 9), st.data())
def test_how_far_strict_hra_moves_a_matrix(seed, d_out, d, data):
    """For W of any shape, whose d_in singular values end with zeros if d_in > d_out, r ≤ d_in, and
    random columns that are accepted.
    """
    rng = np.random.default_rng(seed)
    r = data.draw(st.integers(1, d))
    W, U = weight(rng, (d_out, d)), near_dependent(rng, d, r, 1.0)
    assume(accepted(U))
    values = np.append(np.linalg.svd(W, compute_uv=False), np.zeros(d))[:d]
    distance = np.linalg.norm(HRAStrict(r).merge({"U": U}, {"W": W}) - W)
    within(distance, 2 * np.sqrt(np.sum(values[:r] ** 2)) * (1 + 1e-12))
    within(2 * np.sqrt(np.sum(values[d - r :] ** 2)), distance + 1e-12)


@claim("B8", OURS, "strict: the start moves W by 2 √(the r smallest σ²), the least there is")
@given(SEED, st.integers(1, 7), st.integers(2, 9), st.data())
def test_strict_hra_starts_as_near_as_it_can(seed, d_out, d, data):
    """For W of any shape and r ≤ d_in, to 1e-13: nothing if d_in − d_out ≥ r."""
    r = data.draw(st.integers(1, d))
    W = weight(np.random.default_rng(seed), (d_out, d))
    params, frozen = HRAStrict(r).init(np.random.default_rng(0), W)
    values = np.append(np.linalg.svd(W, compute_uv=False), np.zeros(d))[:d]
    distance = np.linalg.norm(HRAStrict(r).merge(params, frozen) - W)
    within(abs(distance - 2 * np.sqrt(np.sum(values[d - r :] ** 2))), 1e-13)


def by_formula(U, W, x):
    """x Hᵀ Wᵀ with H = I − 2 U (UᵀU)⁻¹ Uᵀ as it stands."""
    return anp.dot(x - 2 * x @ U @ anp.linalg.inv(U.T @ U) @ U.T, W.T)


def by_forward(U, W, x):
    return HRAStrict(U.shape[1]).forward({"U": U}, {"W": W}, x)


def loss_and_gradient(compute, U, W, x):
    loss, grads = value_and_grad(lambda params: (compute(params["U"], W, x) ** 3).sum(), {"U": U})
    return loss, grads["U"]


@pytest.mark.parametrize("e", [0.1, 1.0])
def test_strict_hra_has_the_gradient_of_its_formula(e, rng):
    """Autograd sees no derivative of the change of basis, and need not: also of second order."""
    W, x, U = weight(rng, (4, 6)), rng.standard_normal((5, 6)), near_dependent(rng, 6, 3, e)
    U = U / np.linalg.norm(U, axis=0)
    loss, gradient = loss_and_gradient(by_forward, U, W, x)
    expected, reference = loss_and_gradient(by_formula, U, W, x)
    assert loss == pytest.approx(expected, rel=1e-11)
    np.testing.assert_allclose(gradient, reference, rtol=0, atol=1e-11 * np.abs(reference).max())
    U = rng.standard_normal((6, 3))
    check_grads(lambda U: (by_forward(U, W, x) ** 3).sum(), modes=["rev"], order=2)(U)


def test_strict_hra_has_its_gradient_in_float32_where_columns_are_nearly_dependent(rng):
    """To 50 ε. By the formula as it stands some are off by 1,000 ε."""
    off = {by_forward: [], by_formula: []}
    for _ in range(20):
        U = near_dependent(rng, 16, 4, 0.1)
        U = (U / np.linalg.norm(U, axis=0)).astype(np.float32)
        W, x = weight(rng, (8, 16), np.float32), rng.standard_normal((5, 16)).astype(np.float32)
        exact = (a.astype(np.float64) for a in (U, W, x))
        _, reference = loss_and_gradient(by_formula, *exact)
        for compute, errors in off.items():
            _, gradient = loss_and_gradient(compute, U, W, x)
            errors.append(np.abs(gradient - reference).max() / np.abs(reference).max())
    assert max(off[by_forward]) < 50 * np.finfo(np.float32).eps < max(off[by_formula]) / 10


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
    np.testing.assert_allclose(adapter.merge(short, frozen), merged, atol=1e-14)
    np.testing.assert_allclose(adapter.forward(short, frozen, x), y, atol=1e-14)


def test_nearly_dependent_columns_are_reflected_along_orthogonal_vectors(rng):
    """Then the reflections commute and H = Hᵀ; one pass of Gram–Schmidt leaves them at 1e-13."""
    for _ in range(20):
        U = near_dependent(rng, 9, 6, 0.15)
        if accepted(U):
            H = HRAStrict(6).merge({"U": U}, {"W": np.eye(9)})
            np.testing.assert_allclose(H, H.T, rtol=0, atol=4e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dependent_columns_are_an_error_and_not_nan(dtype, rng):
    """The message holds the smallest eigenvalue of ÛᵀÛ, which is rounding here."""
    W = weight(rng, (4, 5), dtype)
    one, two = rng.standard_normal((2, 5)).astype(dtype)
    message = r"^U must have independent columns; .* is (?P<smallest>\S+), below 1e-04, so "
    for columns in ((one, one), (one, -3 * one), (one, two, one + two), (one, one + 1e-9 * two)):
        params = {"U": np.stack(columns, axis=1).astype(dtype)}
        adapter = HRAStrict(len(columns))
        for compute in (
            lambda adapter=adapter, params=params: adapter.forward(params, {"W": W}, W[0]),
            lambda adapter=adapter, params=params: adapter.merge(params, {"W": W}),
        ):
            with pytest.raises(ValueError, match=message) as caught:
                compute()
            smallest = re.match(message, str(caught.value))["smallest"]
            assert abs(float(smallest)) < 1e-6


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


@claim("B9", YUAN, "the regulariser ‖ÛᵀÛ − I‖_F² is 2 Σ_{i<j} (û_i·û_j)²")
@given(drawn())
def test_the_regulariser_is_the_sum_over_all_pairs(U):
    """For columns of any length and angle, where only the angles count."""
    unit = U / np.linalg.norm(U, axis=0)
    r = U.shape[1]
    pairs = sum(2 * (unit[:, i] @ unit[:, j]) ** 2 for i in range(r) for j in range(i))
    within(abs(orthogonality_penalty(U) - pairs), 1e-12 * r**2)


@claim("B9", OURS, "the regulariser lies between max(0, r(r−d)/d) and r(r−1), both attained")
@given(SEED, WIDTH, st.integers(1, 8), st.integers(1, 3))
def test_the_range_of_the_regulariser(seed, d, r, copies):
    """For any columns. Its least value is that of orthonormal ones, and of an orthonormal basis in
    several copies, its largest that of parallel ones.
    """
    value = orthogonality_penalty(vectors(seed, d, r))
    within(value, r * (r - 1) + 1e-12 * r**2)
    within(max(0.0, r * (r - d) / d), value + 1e-12 * r**2)
    Q = haar(np.random.default_rng(seed), d, d)
    within(orthogonality_penalty(Q[:, : min(r, d)]), 1e-13)
    parallel = orthogonality_penalty(np.repeat(Q[:, :1], r, axis=1))
    within(abs(parallel - r * (r - 1)), 1e-12 * r**2)
    many = copies * d
    basis = orthogonality_penalty(np.tile(Q, copies))
    within(abs(basis - many * (many - d) / d), 1e-12 * many**2)


@claim("B9", OURS, "λ leads from free to strict HRA: the penalty falls, ‖H − I‖_F → 2√r")
@pytest.mark.parametrize("seed", range(2))
def test_the_regulariser_leads_from_free_to_strict(seed):
    """For Gaussian W and T (8, 8), r = 4, 150 steps of training on ‖WH − T‖² / ‖W − T‖² plus λ
    times the regulariser, λ = 0, 0.1, 1, in 2 draws: the penalty is above 0.5, between, below 0.02.
    """
    rng = np.random.default_rng(seed)
    W, T = weight(rng, (8, 8)), weight(rng, (8, 8))
    adapter, size = HRA(4), np.sum((T - W) ** 2)
    start, frozen = adapter.init(rng, W)
    penalties, distances = [], []
    for strength in (0.0, 0.1, 1.0):

        def loss(params, x, y, strength=strength):
            error = adapter.forward(params, frozen, x) - y
            return (error * error).sum() / size + strength * orthogonality_penalty(params["U"])

        example = (np.eye(8)[None], T.T[None])
        params = fit(loss, start, example, rng=rng, steps=150, batch=1, lr=0.05)
        penalties.append(orthogonality_penalty(params["U"]))
        distances.append(4 - np.linalg.norm(H_of(params["U"]) - np.eye(8)))
    at_least(penalties[0], 0.5)
    within(penalties[1], penalties[0] / 2)
    within(penalties[2], 0.02)
    within(distances[1], distances[0] / 2)
    within(distances[2], 0.01)


@pytest.mark.parametrize("wrong", [0.0, np.nan, np.inf])
def test_the_regulariser_of_a_column_without_a_direction_is_an_error(wrong):
    U = np.eye(3)
    U[:, 1] = wrong
    with pytest.raises(ValueError, match=r"^U must have no zero, NaN or infinite column"):
        orthogonality_penalty(U)


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
    """What HRA keeps does not depend on the order of the reflections; this test does."""
    U = moved(rng, {"U": rng.standard_normal((4, 3))})["U"]
    adapter = HRA(3, odd=True)
    start = rng.standard_normal(4)
    y = one_by_one(U, start)
    np.testing.assert_allclose(adapter.forward({"U": U}, {"W": np.eye(4)}, start), y, atol=1e-13)
    backwards = adapter.forward({"U": U[:, ::-1]}, {"W": np.eye(4)}, start)
    assert np.max(np.abs(backwards - y)) > 0.1


def test_strict_hras_start_is_that_of_an_svd_for_an_ill_conditioned_w(rng):
    """Eigenvectors of WᵀW would lose the directions of singular values below √ε σ₁."""
    left, right = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2))
    W = (left * [1, 1e-9, 1e-12]) @ right
    adapter = HRAStrict(1)
    assert np.linalg.norm(adapter.merge(*adapter.init(rng, W)) - W) < 3e-12
