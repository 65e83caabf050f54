"""Tasks whose right answer is known: every change has the structure that it promises."""

import math
from itertools import combinations

import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.draws import assert_equally_often, assert_uniform

from minilora.adapters import LoRA
from minilora.attachment import attach
from minilora.data.teacher import (
    few_columns,
    few_rows,
    low_rank,
    reflected,
    rotated,
    scaled_columns,
    scaled_rows,
    shared_conversion,
    teacher_task,
)
from minilora.models.mlp import mlp
from minilora.train import fit

CHANGES = (
    low_rank,
    shared_conversion,
    few_columns,
    few_rows,
    scaled_columns,
    scaled_rows,
    reflected,
    rotated,
)
LAYERS = ("layers.0.W", "layers.1.W", "layers.2.W")
SEED = st.integers(0, 2**32 - 1)
every_change = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)


def stack(seed, layers, d_out, d_in, dtype=np.float64):
    """A generator, and random weights (layers, d_out, d_in) from it."""
    rng = np.random.default_rng(seed)
    return rng, rng.standard_normal((layers, d_out, d_in)).astype(dtype)


def rank_of(M):
    values = np.linalg.svd(M, compute_uv=False)
    return int(np.sum(values > 1e-9 * values[0]))


def bits(M):
    return np.ascontiguousarray(M).view(np.int64)


# What each change promises


@every_change
@given(SEED, st.integers(1, 3), st.integers(1, 3))
def test_every_update_has_the_rank_that_was_asked_for(change, seed, layers, half):
    """W' − W has rank k in every layer, so LoRA of rank k can be exact; k even for rotations."""
    rng, W = stack(seed, layers, 12, 10)
    changed = change(rng, W, 2 * half)
    assert changed.shape == W.shape
    for before, after in zip(W, changed):
        assert rank_of(after - before) == 2 * half


@pytest.mark.parametrize("change", [low_rank, shared_conversion, few_columns, few_rows])
@given(SEED, st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
def test_what_is_added_is_half_as_large_as_the_weights(change, seed, layers, d_out, d_in, rank):
    """‖W' − W‖ = ‖W‖ / 2 over all layers together, and for non-square weights too."""
    rng, W = stack(seed, layers, d_out, d_in)
    changed = change(rng, W, min(rank, d_out, d_in))
    assert np.linalg.norm(changed - W) == pytest.approx(np.linalg.norm(W) / 2)


@pytest.mark.parametrize("change", [few_columns, scaled_columns, few_rows, scaled_rows])
@given(SEED, st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
def test_exactly_k_columns_or_rows_change_and_all_others_are_bitwise_identical(
    change, seed, layers, d_out, d_in, rank
):
    rng, W = stack(seed, layers, d_out, d_in)
    axis = 0 if "columns" in change.__name__ else 1
    rank = min(rank, (d_in, d_out)[axis])
    for before, after in zip(W, change(rng, W, rank)):
        same = bits(before) == bits(after)
        kept = np.all(same, axis=axis, keepdims=True)
        assert np.sum(kept) == kept.size - rank
        np.testing.assert_array_equal(same, np.broadcast_to(kept, same.shape))


@pytest.mark.parametrize("change", [few_columns, scaled_columns, few_rows, scaled_rows])
def test_every_layer_draws_its_own_indices_and_all_pairs_of_them_as_often(change):
    rng, W = stack(0, 800, 5, 5)
    axis = 1 if "columns" in change.__name__ else 2
    changed = np.any(bits(W) != bits(change(rng, W, 2)), axis=axis)
    indices = [tuple(np.flatnonzero(layer).tolist()) for layer in changed]
    assert_equally_often(indices, combinations(range(5), 2))


@given(SEED, st.integers(2, 6), st.integers(2, 6), st.integers(1, 6))
def test_scaling_multiplies_by_positive_factors_between_1_over_e_and_e(seed, d_out, d_in, rank):
    """W' = W D and W' = D W: W'ᵢⱼ / Wᵢⱼ is the same down a column, or along a row."""
    for change, axis, limit in ((scaled_columns, 0, d_in), (scaled_rows, 1, d_out)):
        rng, W = stack(seed, 2, d_out, d_in)
        for before, after in zip(W, change(rng, W, min(rank, limit))):
            factors = after / before
            np.testing.assert_allclose(
                factors, np.repeat(factors.max(axis, keepdims=True), W.shape[1 + axis], axis)
            )
            assert np.all((factors > 1 / math.e) & (factors < math.e))


def test_scaling_uses_the_whole_range_of_factors():
    rng, W = stack(0, 1, 2, 2000)
    flat = W.swapaxes(1, 2)
    for factors in (scaled_columns(rng, W, 2000) / W, scaled_rows(rng, flat, 2000) / flat):
        of_one = factors[0, 0] if factors.shape == W.shape else factors[0, :, 0]
        assert_uniform(np.log(of_one), -1 - 1e-12, 1 + 1e-12)


@pytest.mark.parametrize("change, sign", [(reflected, -1), (rotated, 1)])
@given(SEED, st.integers(1, 3), st.integers(3, 8), st.integers(2, 7))
def test_reflections_and_rotations_multiply_by_an_orthogonal_matrix(
    change, sign, seed, layers, d, rank
):
    """Q = W⁻¹ W' is orthogonal, rank(Q − I) = k, det Q = (−1)^k, for rotations +1."""
    rng, W = stack(seed, layers, d, d)
    assume(np.linalg.cond(W).max() < 1e3)
    rank = min(rank, d - 1)
    rank -= rank % 2 if change is rotated else 0
    for before, after in zip(W, change(rng, W, rank)):
        Q = np.linalg.solve(before, after)
        np.testing.assert_allclose(Q.T @ Q, np.eye(d), atol=1e-11)
        assert np.linalg.det(Q) == pytest.approx(sign**rank)
        assert rank_of(Q - np.eye(d)) == rank


def test_a_rotation_rotates_one_plane_by_about_53_degrees():
    """The angle is twice that between u and u + v/2: its tan is |v|/2|u| for orthogonal u and v."""
    rng, W = stack(0, 200, 50, 50)
    W[:] = np.eye(50)
    cosines = (np.trace(rotated(rng, W, 2), axis1=1, axis2=2) - 48) / 2
    assert np.median(np.degrees(np.arccos(cosines))) == pytest.approx(
        2 * math.degrees(math.atan(0.5)), abs=2
    )


def test_reflections_go_in_all_directions_and_differ_between_layers():
    """A single reflection of the identity is I − 2 u uᵀ with mean I − 2 I / d."""
    rng, W = stack(0, 4000, 3, 3)
    W[:] = np.eye(3)
    np.testing.assert_allclose(reflected(rng, W, 1).mean(axis=0), np.eye(3) / 3, atol=0.05)


@given(SEED, st.integers(2, 4), st.integers(2, 7), st.integers(1, 6))
def test_one_conversion_matrix_serves_all_layers(seed, layers, d, rank):
    """M = W⁻¹ (W' − W) W⁻¹ is the same in all layers, of rank k: CondLoRA can be exact."""
    rng, W = stack(seed, layers, d, d)
    assume(np.linalg.cond(W).max() < 1e2)
    rank = min(rank, d - 1)
    found = [
        np.linalg.solve(before, after - before) @ np.linalg.inv(before)
        for before, after in zip(W, shared_conversion(rng, W, rank))
    ]
    for M in found:
        np.testing.assert_allclose(M, found[0], atol=1e-9 * np.abs(found[0]).max())
        assert rank_of(M) == rank


def test_low_rank_changes_of_two_layers_are_independent():
    rng, W = stack(0, 2, 8, 8)
    one, two = low_rank(rng, W, 2) - W
    assert rank_of(np.concatenate([one, two])) == rank_of(np.concatenate([one, two], axis=1)) == 4


def test_a_matrix_alone_may_be_changed_too():
    for change in CHANGES:
        _, W = stack(0, 1, 6, 5)
        stacked = change(np.random.default_rng(1), W, 2)
        np.testing.assert_array_equal(change(np.random.default_rng(1), W[0], 2), stacked[0])


# The task


@every_change
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_teacher_is_the_student_except_for_the_change(change, dtype):
    student, teacher, x, y = teacher_task(
        np.random.default_rng(3), change, 4, (9, 8, 8, 8, 5), count=50, dtype=dtype
    )
    assert x.shape == (50, 9)
    assert y.shape == (50, 5)
    assert student.keys() == teacher.keys()
    for name, W in student.items():
        assert W.dtype == teacher[name].dtype == x.dtype == y.dtype == dtype
        changed = name in ("layers.1.W", "layers.2.W")
        assert np.array_equal(W, teacher[name]) != changed
        if changed and dtype is np.float64:
            assert rank_of(teacher[name] - W) == 4
    np.testing.assert_array_equal(y, mlp(teacher, x))
    assert np.linalg.norm(y - mlp(student, x)) > 0.1 * np.linalg.norm(y)


def test_all_layers_of_a_task_of_equal_widths_are_changed(rng):
    student, teacher, x, y = teacher_task(rng, low_rank, 4)
    assert x.shape == y.shape == (1000, 24)
    assert [name for name in student if not np.array_equal(student[name], teacher[name])] == list(
        LAYERS
    )
    assert x.dtype == np.float64


@every_change
def test_a_task_depends_on_the_generator_alone(change):
    one, two, other = (
        teacher_task(np.random.default_rng(seed), change, 2, (6, 6, 6), count=20, dtype=np.float32)
        for seed in (5, 5, 6)
    )
    for a, b in zip(one[:2], two[:2]):
        assert all(np.array_equal(a[name], b[name]) for name in a)
    for a, b, c in zip(one[2:], two[2:], other[2:]):
        np.testing.assert_array_equal(a, b)
        assert np.mean(np.abs(a - c)) > 0.1


@pytest.mark.parametrize("d", [1, 2, 5])
def test_inputs_are_uniform_in_the_ball_of_radius_root_d(d, rng):
    """The share of a ball of radius ρ within t ρ of its centre is t^d; the mean is 0."""
    _, _, x, _ = teacher_task(rng, low_rank, 1, (d, 4, 4), count=20_000)
    lengths = np.linalg.norm(x, axis=1) / math.sqrt(d)
    assert np.max(lengths) <= 1 + 1e-12
    for t in (0.3, 0.6, 0.9):
        assert np.mean(lengths < t) == pytest.approx(t**d, abs=0.015)
    np.testing.assert_allclose(np.mean(x, axis=0), 0, atol=0.03)
    np.testing.assert_allclose(x.T @ x / len(x), np.eye(d) * d / (d + 2), atol=0.03)


@every_change
def test_the_given_weights_are_not_changed(change):
    rng, W = stack(0, 2, 5, 5)
    before = W.copy()
    changed = change(rng, W, 2)
    np.testing.assert_array_equal(W, before)
    assert not np.shares_memory(changed, W)


def test_lora_of_the_rank_of_the_change_recovers_it_and_of_a_lower_rank_does_not():
    """Two layers, changes of rank 2: unseen inputs get the right outputs at rank 2, not at 1."""
    errors = {}
    for rank in (1, 2):
        rng = np.random.default_rng(1)
        student, _, x, y = teacher_task(rng, low_rank, 2, (8, 8, 8), count=300)
        attached = attach(student, {"layers.*.W": LoRA(rank)}, rng=rng)

        def loss(params, x, y, attached=attached):
            return anp.sum((mlp(attached.bind(params), x) - y) ** 2) / len(x)

        params = fit(
            loss, attached.params, (x[:200], y[:200]), rng=rng, steps=400, batch=32, lr=0.03
        )
        answers = mlp(attached.merge(params), x[200:])
        errors[rank] = np.linalg.norm(answers - y[200:]) / np.linalg.norm(y[200:])
    assert errors[1] > 0.1
    assert errors[2] < 0.02


# Mistakes


def mistakes():
    """(what is wrong, the name that the message must begin with, a call)."""
    W = np.ones((2, 5, 4))
    rng = np.random.default_rng(0)
    limits = (4, 4, 4, 5, 4, 5, 4, 4)
    for change, limit in zip(CHANGES, limits):
        for rank in (0, -2, limit + 1, 1.5, 2.0, "2", None, math.nan, True):
            yield f"{change.__name__} {rank!r}", "rank", lambda c=change, rank=rank: c(rng, W, rank)
        yield f"{change.__name__} in a task", "rank", lambda c=change: teacher_task(rng, c, 26)
        for wrong in (None, [[1.0, 2.0]], W[0, 0], W[:0], W.astype(int), W * math.nan):
            yield f"{change.__name__} of {wrong!r}", "W", lambda c=change, W=wrong: c(rng, W, 2)
        for seed in (0, None, np.random.RandomState(0)):
            yield f"{change.__name__} by {seed}", "rng", lambda c=change, seed=seed: c(seed, W, 2)
    yield "a conversion of zero", "W", lambda: shared_conversion(rng, 0 * W, 2)
    yield "float16", "W", lambda: low_rank(rng, W.astype(np.float16), 2)
    for count in (0, -1, 2.5, True, None, "3"):
        yield f"count {count!r}", "count", lambda n=count: teacher_task(rng, low_rank, 1, count=n)
    yield "a task by seed", "rng", lambda: teacher_task(0, low_rank, 1)
    yield "a task of no change", "change", lambda: teacher_task(rng, "low_rank", 1)
    for widths in ((24, 2.5, 24), "24", None, 24):
        yield f"widths {widths!r}", "widths", lambda w=widths: teacher_task(rng, low_rank, 1, w)
    for dtype in (int, np.float16):
        yield f"{dtype}", "dtype", lambda t=dtype: teacher_task(rng, low_rank, 1, dtype=t)
    yield "an odd number of reflections for rotations", "rank", lambda: rotated(rng, W, 3)
    yield "no hidden layer", "widths", lambda: teacher_task(rng, low_rank, 1, (4, 5, 6))
    yield "one width", "widths", lambda: teacher_task(rng, low_rank, 1, (4,))
    yield "a width of zero", "widths", lambda: teacher_task(rng, low_rank, 1, (4, 0, 0))


@pytest.mark.parametrize(
    "name, call", [pytest.param(name, call, id=wrong) for wrong, name, call in mistakes()]
)
def test_a_mistake_is_a_value_error_that_names_the_argument(name, call):
    with pytest.raises(ValueError, match=rf"^{name}(\[1\])? must "):
        call()


@every_change
def test_the_largest_rank_that_a_change_allows_is_allowed(change):
    rng, W = stack(0, 2, 4, 4)
    for before, after in zip(W, change(rng, W, 4)):
        assert rank_of(after - before) == 4
