"""ReLU networks: what adapters and biases reach exactly, how far off they are below that, and what
cannot be spared.
"""

import math
import re
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.draws import haar

from minilora.adapters import Full, LoRA
from minilora.attachment import attach
from minilora.models.mlp import init_mlp, mlp
from minilora.ops import relu
from minilora.quantization import quantize
from minilora.testing.claims import OURS, ZENG_LEE, at_least, claim, exactly, within
from minilora.theorems.chain import Unsolvable, mlp_layers
from minilora.theorems.relu import (
    _lifting_biases,
    align_units,
    best_partition,
    error_bounds,
    relu_adapters,
    relu_mlp,
    sufficient_rank,
    uniform_partition,
)
from minilora.theorems.witness import witness


def well(rng, shape):
    """A matrix with singular values between 1/2 and 2."""
    left, right = (haar(rng, d) for d in shape)
    k = min(shape)
    return left[:, :k] * rng.uniform(0.5, 2, k) @ right[:k]


def gauss(rng, shape):
    """A matrix with entries from N(0, 1 / d_in)."""
    return rng.standard_normal(shape) / math.sqrt(shape[1])


def integers(rng, shape):
    """A matrix of full rank with small integers, many of them 0 or equal: a piece of a
    triangular one squared.
    """
    n = max(shape)
    lower = np.tril(rng.integers(-1, 2, (n, n)), -1) + np.eye(n)
    return (lower @ lower.T)[: shape[0], : shape[1]]


def shrinking(rng, shape):
    """A matrix with singular values between 1/20 and 1/5."""
    return well(rng, shape) / 10


seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from([well, gauss, integers, shrinking])
depths = st.integers(1, 3)
widths = st.integers(1, 8)
radii = st.sampled_from([0.1, 1.0, 10.0, 100.0])


def net(Ws, bs):
    """The flat weights of an MLP."""
    pairs = [(f"layers.{layer}", W, b) for layer, (W, b) in enumerate(zip(Ws, bs))]
    return {
        name: array
        for layer, W, b in pairs
        for name, array in ((f"{layer}.W", W), (f"{layer}.b", b))
    }


def square_net(rng, kind, depth, width):
    """The weights of an MLP all of whose layers have this width, with biases from N(0, 1)."""
    return net(
        [kind(rng, (width, width)) for _ in range(depth)], rng.standard_normal((depth, width))
    )


def matrices(weights):
    return [W for name, W in weights.items() if name.endswith("W")]


def biases(weights):
    return [b for name, b in weights.items() if name.endswith("b")]


def multiplied(Ws):
    """The product of matrices, bottom first, one column of the identity after the other."""
    columns = []
    for e in np.eye(Ws[0].shape[1]):
        for W in Ws:
            e = W @ e
        columns.append(e)
    return np.array(columns).T


def random_case(rng, kind, depth, widest, slack=0, wide_inside=False):
    """(weights, target, partition): one to three frozen layers for each layer of the target, up to
    `slack` units wider. Layers inside a run are as wide as the target's, or as the ends of the run.

    Half of the target's layers are a change of low rank away from the frozen product that they are
    to replace.
    """
    narrow = rng.integers(1, widest + 1, depth + 1)
    wide = narrow + rng.integers(0, slack + 1, depth + 1)
    partition = tuple(rng.integers(1, 4, depth).tolist())
    frozen, wanted = [], []
    for i, length in enumerate(partition):
        ends = wide if wide_inside else narrow
        inner = max(ends[i], ends[i + 1]) + rng.integers(0, 2, length - 1)
        run = [kind(rng, (d_out, d_in)) for d_in, d_out in pairwise([wide[i], *inner, wide[i + 1]])]
        W_bar = kind(rng, (narrow[i + 1], narrow[i]))
        if rng.random() < 0.5:
            rank = rng.integers(0, min(W_bar.shape) + 1)
            change = rng.integers(-2, 3, (len(W_bar), rank)) @ rng.integers(
                -2, 3, (rank, W_bar.shape[1])
            )
            W_bar = multiplied(run)[: W_bar.shape[0], : W_bar.shape[1]] + change
        frozen += run
        wanted.append(W_bar)
    weights = net(frozen, [rng.standard_normal(len(W)) for W in frozen])
    return weights, net(wanted, [rng.standard_normal(len(W)) for W in wanted]), partition


def adapt(weights, params, *, rng):
    """The adapted network twice: bound, with every adapter a map of its own, and merged."""
    loras = {name: LoRA(len(own["A"])) for name, own in params.items() if name.endswith("W")}
    attached = attach(weights, {**loras, "*.b": Full()}, rng=rng)
    return attached.bind(params), attached.merge(params)


def forward(weights, x):
    """f(x) for one vector after the other, written out."""
    outputs = []
    for h in x:
        for W, b in zip(matrices(weights), biases(weights)):
            h = np.maximum(W @ h + b, 0)
        outputs.append(h)
    return np.array(outputs)


def sphere(rng, count, width, radius):
    """Points with the norm radius."""
    x = rng.standard_normal((count, width))
    return radius * x / np.linalg.norm(x, axis=1, keepdims=True)


def ball(rng, Ws, width, radius):
    """Points of the ball: 0, inside, on the sphere, and those where one unit of one of the layers
    Ws is lowest.
    """
    G, lowest = np.eye(Ws[0].shape[1], width), [np.zeros((1, width))]
    for W in Ws:
        G = W @ G
        size = np.linalg.norm(G, axis=1, keepdims=True)
        lowest.append(-radius * G / np.where(size > 0, size, 1))
    inside = sphere(rng, 10, width, radius) * rng.random((10, 1))
    return np.concatenate([*lowest, inside, sphere(rng, 10, width, radius)])


def worst(y, other):
    return np.max(np.abs(y - other))


@claim("A2.1", ZENG_LEE, "generic layers: from the sufficient rank on, equal on the whole ball")
@given(seeds, kinds, depths, widths, radii)
def test_from_the_sufficient_rank_on_the_network_is_the_target_on_the_ball(
    seed, kind, depth, widest, radius
):
    """f(x) = f̄(x) for all ‖x‖ ≤ ρ if R ≥ max_i ⌈rank(W̄_i − ∏ W_l) / |P_i|⌉, inner widths at least
    the outer ones.

    To 1e-8 of the largest output; to 1e-6, which is what `adapt_product` accepts, for layers that
    shrink vectors by ten: targets are then up to 1e4 times as large as products, and digits lost.
    """
    rng = np.random.default_rng(seed)
    weights, target, partition = random_case(rng, kind, depth, widest)
    rank = max(1, sufficient_rank(weights, target, partition))
    params = relu_adapters(weights, target, rank, partition, radius, rng=rng)
    for name, W in weights.items():
        assert name.endswith("b") or len(params[name]["A"]) == min(rank, *W.shape)
    bound, merged = adapt(weights, params, rng=rng)
    x = ball(rng, matrices(merged)[: partition[0]], weights["layers.0.W"].shape[1], radius)
    y = forward(target, x)
    tolerance = (1e-6 if kind is shrinking else 1e-8) * max(1, np.max(y))
    within(worst(relu(mlp(bound, x)), y), tolerance, "bound")
    within(worst(forward(merged, x), y), tolerance, "merged")


@claim("A2.1", ZENG_LEE, "generic layers, equal runs: rank ⌈D / ⌊L / L̄⌋⌉ suffices")
@given(seeds, kinds, depths, widths, st.integers(0, 4))
def test_equal_runs_need_at_most_the_width_over_their_length(seed, kind, depth, width, more):
    """R = ⌈D / ⌊L / L̄⌋⌉ suffices for any target of width D, with |P_i| = ⌊L / L̄⌋ and the
    remainder in the last run. Layers that shrink vectors by ten stand in runs of at most four: with
    five, rounding defeats the construction; to 1e-6 of the largest output, all others to 1e-8.
    """
    assume(kind is not shrinking or depth > 1 or more < 4)
    rng = np.random.default_rng(seed)
    weights, target = (
        square_net(rng, kind, depth + more, width),
        square_net(rng, kind, depth, width),
    )
    partition = uniform_partition(depth + more, depth)
    assert len(partition) == depth
    assert sum(partition) == depth + more
    assert set(partition[:-1]) <= {(depth + more) // depth}
    enough = math.ceil(width / ((depth + more) // depth))
    exactly(sufficient_rank(weights, target, partition) <= enough)
    bound, _ = adapt(
        weights, relu_adapters(weights, target, enough, partition, 1.0, rng=rng), rng=rng
    )
    x = sphere(rng, 20, width, 1.0)
    y = forward(target, x)
    tolerance = (1e-6 if kind is shrinking else 1e-8) * max(1, np.max(y))
    within(worst(relu(mlp(bound, x)), y), tolerance)


def test_five_layers_that_shrink_are_refused_where_rounding_defeats_the_construction():
    """The target is ten thousand times the product: adapters reach it, or an error says so."""
    solved = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        weights, target = square_net(rng, shrinking, 5, 5), square_net(rng, shrinking, 1, 5)
        try:
            params = relu_adapters(weights, target, 1, (5,), 1.0, rng=rng)
        except Unsolvable as error:
            assert "this construction fails, others might not" in str(error)
        else:
            solved.append(seed)
            x = sphere(rng, 20, 5, 1.0)
            y = forward(target, x)
            assert worst(relu(mlp(adapt(weights, params, rng=rng)[0], x)), y) <= 1e-6
    assert len(solved) <= 4


def rank_by_hand(Ws, W_bar):
    """⌈rank / length⌉ of one run, inf where the target's layer has no room."""
    P = multiplied(Ws)
    inner = [len(W) for W in Ws[:-1]]
    room = P.shape[0] >= W_bar.shape[0] and P.shape[1] >= W_bar.shape[1]
    if not room or min(inner, default=99) < max(W_bar.shape):
        return math.inf
    values = np.linalg.svd(W_bar - P[: W_bar.shape[0], : W_bar.shape[1]], compute_uv=False)
    return math.ceil(np.sum(values > 1e-9 * (np.linalg.norm(P) + np.linalg.norm(W_bar))) / len(Ws))


def all_partitions(depth, target_depth):
    for cuts in combinations(range(1, depth), target_depth - 1):
        yield tuple(stop - start for start, stop in pairwise([0, *cuts, depth]))


def rank_of_partition(weights, target, partition):
    Ws, needed = matrices(weights), []
    for length, W_bar in zip(partition, matrices(target)):
        needed.append(rank_by_hand(Ws[:length], W_bar))
        Ws = Ws[length:]
    return max(needed)


@claim("A2.1", OURS, "the best partition is the best of all, by brute force")
@given(seeds, kinds, depths, widths, st.integers(0, 2))
def test_the_best_partition_is_the_best_of_all(seed, kind, depth, widest, slack):
    """Dynamic programming finds the smallest max_i ⌈rank(W̄_i − ∏ W_l) / |P_i|⌉ over all partitions
    into L̄ runs.
    """
    rng = np.random.default_rng(seed)
    weights, target, _ = random_case(rng, kind, depth, widest, slack)
    found = best_partition(weights, target)
    partitions = list(all_partitions(len(matrices(weights)), depth))
    assert found in partitions
    smallest = min(rank_of_partition(weights, target, partition) for partition in partitions)
    exactly(
        sufficient_rank(weights, target, found)
        == rank_of_partition(weights, target, found)
        == smallest
    )


@claim("A2.1", OURS, "the best partition asks for no more rank than the uniform one")
@given(seeds, kinds, depths, widths, st.integers(0, 4), st.integers(0, 3))
def test_the_best_partition_is_at_least_as_good_as_the_uniform_one(
    seed, kind, depth, width, more, rank
):
    """On square networks it never needs a larger rank, even less where W̄_1 is close to the first
    frozen layer alone.
    """
    rng = np.random.default_rng(seed)
    weights, target = (
        square_net(rng, kind, depth + more, width),
        square_net(rng, kind, depth, width),
    )
    change = rng.integers(-2, 3, (width, rank)) @ rng.integers(-2, 3, (rank, width))
    target["layers.0.W"] = weights["layers.0.W"] + change
    best, uniform = best_partition(weights, target), uniform_partition(depth + more, depth)
    exactly(sufficient_rank(weights, target, best) <= sufficient_rank(weights, target, uniform))


def test_the_best_partition_can_beat_the_uniform_one(rng):
    weights, target = square_net(rng, well, 4, 6), square_net(rng, well, 2, 6)
    target["layers.0.W"] = weights["layers.0.W"] + np.ones((6, 6))
    assert uniform_partition(4, 2) == (2, 2)
    assert sufficient_rank(weights, target, (2, 2)) == 3
    assert best_partition(weights, target) == (1, 3)
    assert sufficient_rank(weights, target, (1, 3)) == 2


def test_a_network_that_is_its_own_target_needs_no_rank(rng):
    weights = square_net(rng, gauss, 3, 5)
    assert sufficient_rank(weights, weights, (1, 1, 1)) == 0


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-8])
def test_a_small_change_of_low_rank_counts_with_its_rank(size, rng):
    """A gap of rank 3 takes rank 2 on two layers, however small; rounding takes none."""
    weights = square_net(rng, well, 2, 6)
    P = multiplied(matrices(weights))
    change = size * well(rng, (6, 3)) @ well(rng, (3, 6))
    near = net([P + change], [np.ones(6)])
    assert sufficient_rank(weights, near, (2,)) == 2
    params = relu_adapters(weights, near, 2, (2,), 1.0, rng=rng)
    bound, _ = adapt(weights, params, rng=rng)
    x = sphere(rng, 30, 6, 1.0)
    assert worst(relu_mlp(bound, x), forward(near, x)) <= 1e-11
    rounded = net([P * (1 + 4e-16)], [np.ones(6)])
    assert sufficient_rank(weights, rounded, (2,)) == 0


# Less rank can do.


def permuted_and_scaled(rng, weights):
    """The same function, its hidden units in another order and of other sizes."""
    Ws, bs = matrices(weights), biases(weights)
    for layer, W in enumerate(Ws[:-1]):
        D_Pi = np.diag(rng.uniform(0.2, 5, len(W)))[rng.permutation(len(W))]
        Ws[layer], bs[layer] = D_Pi @ Ws[layer], D_Pi @ bs[layer]
        Ws[layer + 1] = Ws[layer + 1] @ np.linalg.inv(D_Pi)
    return net(Ws, bs)


@claim("A2.1", OURS, "the frozen network, permuted and scaled, is found at rank 0")
@given(seeds, st.lists(st.integers(2, 7), min_size=1, max_size=5), radii)
def test_the_frozen_network_in_another_form_takes_no_rank(seed, widths, radius):
    """Generic layers of widths from 2 on, so that no two rows are parallel, new biases, every layer
    a run: `align_units` undoes the scales and the order of hidden units, and biases alone make the
    two networks equal.
    """
    rng = np.random.default_rng(seed)
    widths = [*widths, 3]
    Ws = [gauss(rng, (d_out, d_in)) for d_in, d_out in pairwise(widths)]
    weights = net(Ws, [rng.standard_normal(len(W)) for W in Ws])
    other = net(Ws, [rng.standard_normal(len(W)) for W in Ws])
    target = permuted_and_scaled(rng, other)
    partition = (1,) * len(Ws)
    aligned = align_units(weights, target, partition)
    exactly(sufficient_rank(weights, aligned, partition) == 0)
    params = relu_adapters(weights, aligned, [0] * len(Ws), partition, radius, rng=rng)
    exactly(set(params) == {name for name in weights if name.endswith("b")})
    x = sphere(rng, 20, widths[0], radius)
    y = forward(target, x)
    bound, _ = adapt(weights, params, rng=rng)
    within(worst(relu_mlp(bound, x), y), 1e-9 * max(1, np.max(y)))


@pytest.mark.parametrize(("off", "matched"), [(1e-12, True), (1e-8, False)])
def test_rows_are_multiples_of_each_other_to_ten_digits(off, matched, rng):
    """Twice the frozen rows in another order, and a little off: above 1e-10 they stay in place."""
    weights, target = square_net(rng, well, 2, 3), square_net(rng, well, 2, 3)
    W = 2 * weights["layers.0.W"][[1, 2, 0]]
    target["layers.0.W"] = W * (1 + off * rng.standard_normal(W.shape))
    found = align_units(weights, target, (1, 1))["layers.0.W"]
    expected = weights["layers.0.W"] if matched else target["layers.0.W"]
    np.testing.assert_allclose(found, expected, rtol=1e-11 if matched else 0)


def test_the_network_of_the_lesson_in_another_form_seems_to_take_rank(rng):
    """Four layers of width 6: the formula asks for full rank, for the aligned form for none."""
    weights = square_net(rng, well, 4, 6)
    target = permuted_and_scaled(rng, weights)
    assert sufficient_rank(weights, target, (1, 1, 1, 1)) == 6
    assert sufficient_rank(weights, align_units(weights, target, (1,) * 4), (1,) * 4) == 0


@claim("A2.1", OURS, "aligned units: the same function, and matched rows are equal")
@given(seeds, kinds, depths, widths, st.integers(0, 2))
def test_an_aligned_target_computes_the_same(seed, kind, depth, widest, slack):
    """Any target, narrower ones too, a third of whose rows are multiples of the frozen product's:
    f̄ is unchanged, and no row that had a free counterpart is left without one.
    """
    rng = np.random.default_rng(seed)
    weights, target, partition = random_case(rng, kind, depth, widest, slack)
    W_bar = target["layers.0.W"]
    P = multiplied(matrices(weights)[: partition[0]])[: len(W_bar), : W_bar.shape[1]]
    chosen = rng.permutation(len(W_bar))[: len(W_bar) // 3]
    W_bar[chosen] = rng.uniform(0.1, 10, (len(chosen), 1)) * P[rng.permutation(chosen)]
    before = {name: array.copy() for name, array in target.items()}
    aligned = align_units(weights, target, partition)
    x = sphere(rng, 20, W_bar.shape[1], 3.0)
    y = forward(target, x)
    within(worst(forward(aligned, x), y), 1e-10 * max(1, np.max(y)))
    exactly(all(np.array_equal(target[name], before[name]) for name in before))
    if depth > 1:
        matched = np.linalg.norm(aligned["layers.0.W"] - P, axis=1) <= 1e-9 * np.linalg.norm(P)
        nonzero = np.count_nonzero(np.any(W_bar[chosen] != 0, axis=1))
        parallel_rows = np.linalg.matrix_rank(W_bar[chosen]) if len(chosen) else 0
        exactly(np.count_nonzero(matched) >= min(nonzero, parallel_rows))


@claim("A2.1", OURS, "the sufficient rank is not necessary: D = 3, a scale saves one of two")
@pytest.mark.parametrize("seed", range(20))
def test_a_scale_between_two_runs_lowers_the_rank(seed):
    """Two runs of two layers of width 3, and a W̄_1 for which W̄_1⁻¹ P has an eigenvalue t > 0: then
    rank(t W̄_1 − P) = 2, and rank 1 is exact where the formula says ⌈3 / 2⌉ = 2.
    """
    rng = np.random.default_rng(seed)
    weights = square_net(rng, well, 4, 3)
    P_1, P_2 = multiplied(matrices(weights)[:2]), multiplied(matrices(weights)[2:])
    while True:
        W_bar = well(rng, (3, 3))
        t = np.linalg.eigvals(np.linalg.solve(W_bar, P_1))
        t = t[(abs(t.imag) < 1e-9) & (t.real > 0.1)].real
        if len(t):
            break
    target = net([W_bar, P_2 * t[0]], rng.standard_normal((2, 3)))
    scaled = net([W_bar * t[0], P_2], [target["layers.0.b"] * t[0], target["layers.1.b"]])
    exactly(sufficient_rank(weights, target, (2, 2)) == 2)
    exactly(sufficient_rank(weights, scaled, (2, 2)) == 1)
    bound, _ = adapt(weights, relu_adapters(weights, scaled, 1, (2, 2), 5.0, rng=rng), rng=rng)
    x = sphere(rng, 50, 3, 5.0)
    within(worst(relu_mlp(bound, x), forward(target, x)), 1e-9)


@claim("A2.2", OURS, "no input of the domain is clipped, by offsets as small as can be")
@given(seeds, kinds, st.integers(1, 4), widths, widths, radii, st.booleans())
def test_the_offsets_are_the_smallest_that_clip_nothing(
    seed, kind, length, width, alive, radius, first
):
    """One run is relu(M z + b̄) for all ‖z‖ ≤ ρ, in a later run z ≥ 0; each offset is used up by
    some such z.
    """
    rng = np.random.default_rng(seed)
    width, live_out = max(width, alive), int(rng.integers(1, width + 1))
    Ws, b_bar = [kind(rng, (width, width)) for _ in range(length)], rng.standard_normal(live_out)
    bs, size = _lifting_biases(Ws, alive, b_bar, radius, nonnegative=not first)
    G, lowest = np.eye(width)[:, :alive], []
    for W in Ws[:-1]:
        G = W @ G
        down = -G if first else np.where(G < 0, -G, 0)
        lowest += [radius * row / max(np.linalg.norm(row), 1e-300) for row in down]
    z = np.concatenate([np.reshape(lowest, (-1, alive)), sphere(rng, 10, alive, radius)])
    z = z if first else np.abs(z)
    h, M = np.pad(z, ((0, 0), (0, width - alive))), multiplied(Ws)[:, :alive]
    scale = radius * np.prod([np.linalg.norm(W, 2) + 1 for W in Ws]) + 1
    for layer, (W, b) in enumerate(zip(Ws[:-1], bs)):
        before = h @ W.T + b
        own = before[layer * width : (layer + 1) * width]
        within(np.abs(np.diag(own)), 1e-8 * scale, "the lowest point of a unit is not at 0:")
        h = np.maximum(before, 0)
    y = np.maximum(h @ Ws[-1].T + bs[-1], 0)
    within(worst(y[:, :live_out], np.maximum(z @ M[:live_out].T + b_bar, 0)), 1e-10 * scale)
    assert np.max(np.linalg.norm(y, axis=1)) <= size * (1 + 1e-9)
    exactly(not np.any(y[:, live_out:]), "a dead unit is not 0")


def test_later_runs_lift_only_what_a_relu_lets_through(rng):
    """The inputs z ≥ 0 of the second run lie in the ball of radius ‖W̄_1‖ ρ + ‖b̄_1‖."""
    weights, target = square_net(rng, well, 4, 5), square_net(rng, well, 2, 5)
    params = relu_adapters(weights, target, 3, (2, 2), 10.0, rng=rng)
    size = np.linalg.norm(target["layers.0.W"], 2) * 10.0 + np.linalg.norm(target["layers.0.b"])
    own = params["layers.2.W"]
    W = weights["layers.2.W"] + own["B"] @ own["A"]
    lowest = [size * np.linalg.norm(row[row < 0]) for row in W]
    np.testing.assert_allclose(params["layers.2.b"]["W"], lowest, rtol=1e-6)


@claim("A2.2", OURS, "generic one-layer target: far outside the ball the networks differ")
@given(seeds, st.integers(2, 5), st.integers(2, 8))
def test_far_outside_the_ball_the_networks_differ(seed, depth, width):
    """Biases for ρ = 1 do not lift inputs of norm 1000, so that the ReLUs of a run of two layers or
    more clip them.
    """
    rng = np.random.default_rng(seed)
    weights, target = square_net(rng, well, depth, width), square_net(rng, well, 1, width)
    bound, _ = adapt(
        weights, relu_adapters(weights, target, width, (depth,), 1.0, rng=rng), rng=rng
    )
    x = sphere(rng, 200, width, 1e3)
    at_least(worst(relu_mlp(bound, x), relu_mlp(target, x)), 1e-3)


def miss(weights, target, rank, partition, radius, *, rng):
    """The largest error found in the ball, relative to the largest output of the target."""
    params = relu_adapters(weights, target, rank, partition, radius, rng=rng)
    bound, merged = adapt(weights, params, rng=rng)
    width, d_out = matrices(target)[0].shape[1], len(biases(target)[-1])
    x = ball(rng, matrices(merged)[: partition[0]], width, radius)
    y = forward(target, x)
    wide = np.pad(x, ((0, 0), (0, weights["layers.0.W"].shape[1] - width)))
    return worst(relu_mlp(bound, wide)[:, :d_out], y) / max(1, np.max(y))


@claim("A2.3", OURS, "at any rank both bounds hold, for every x in the ball")
@given(seeds, kinds, depths, widths, st.integers(0, 2), radii, st.integers(1, 3))
def test_at_any_rank_the_error_is_bounded(seed, kind, depth, widest, slack, radius, rank):
    """‖f(x) − f̄(x)‖ ≤ sharp ≤ plain for ‖x‖ ≤ ρ and any rank; narrow targets too, on the target's
    own outputs.
    """
    rng = np.random.default_rng(seed)
    weights, target, partition = random_case(rng, kind, depth, widest, slack)
    sharp, plain = error_bounds(weights, target, rank, partition, radius)
    params = relu_adapters(weights, target, rank, partition, radius, rng=rng)
    bound, merged = adapt(weights, params, rng=rng)
    width = matrices(target)[0].shape[1]
    x = ball(rng, matrices(merged)[: partition[0]], width, radius)
    y = forward(target, x)
    wide = np.pad(x, ((0, 0), (0, weights["layers.0.W"].shape[1] - width)))
    rounding = 1e-8 * max(1, np.max(y))
    errors = np.linalg.norm(relu_mlp(bound, wide)[:, : y.shape[1]] - y, axis=1)
    within(errors, sharp + rounding, "sharp:")
    within(sharp, plain * (1 + 1e-12) + 1e-300, "plain:")


@claim("A2.3", OURS, "a run misses its layer by σ of index R|P| + 1, the bounds follow")
@example(24, well, 3, 8, 0, 1.0, 1)  # misses in all three runs, far above rounding
@example(169, gauss, 3, 8, 1, 1.0, 2)
@given(seeds, kinds, depths, st.integers(4, 8), st.integers(0, 2), radii, st.integers(1, 2))
def test_the_bounds_are_those_of_the_formulas(seed, kind, depth, widest, slack, radius, rank):
    """Both bounds, written out as sums over the runs, with E_i as the construction produces it:
    σ_{R|P_i|+1}.
    """
    rng = np.random.default_rng(seed)
    weights, target, partition = random_case(rng, kind, depth, widest, slack)
    params = relu_adapters(weights, target, rank, partition, radius, rng=rng)
    _, merged = adapt(weights, params, rng=rng)
    frozen, changed, wanted = matrices(weights), matrices(merged), matrices(target)
    unit = math.prod(np.linalg.norm(W, 2) + 1 for W in changed)
    E, M, z = [], [], [radius]
    for length, W_bar, b_bar in zip(partition, wanted, biases(target)):
        P, P_new = multiplied(frozen[:length]), multiplied(changed[:length])
        frozen, changed = frozen[length:], changed[length:]
        values = np.linalg.svd(W_bar - P[: len(W_bar), : W_bar.shape[1]], compute_uv=False)
        E.append(values[rank * length] if rank * length < len(values) else 0.0)
        M.append(P_new[: len(W_bar), : W_bar.shape[1]])
        within(abs(np.linalg.norm(W_bar - M[-1], 2) - E[-1]), 1e-8 * unit, "E_i:")
        z.append(np.linalg.norm(W_bar, 2) * z[-1] + np.linalg.norm(b_bar))
    steepest = max(np.linalg.norm(W_bar) + miss for W_bar, miss in zip(wanted, E))
    sharp = sum(
        math.prod(np.linalg.norm(M[k], 2) for k in range(i + 1, depth)) * E[i] * z[i]
        for i in range(depth)
    )
    plain = max(z[:depth]) * sum(steepest ** (depth - i) * E[i - 1] for i in range(1, depth + 1))
    given_sharp, given_plain = error_bounds(weights, target, rank, partition, radius)
    rounding = 1e-12 * unit * max(z) * (1 + steepest) ** depth
    within(abs(given_sharp - sharp), rounding, "sharp:")
    within(abs(given_plain - plain), rounding, "plain:")


def one_layer_with_all_units_on(rng, length, width, radius):
    """(weights, target): one layer as the target, in its linear part on the ball."""
    weights = square_net(rng, well, length, width)
    W_bar = well(rng, (width, width))
    lift = radius * (
        np.linalg.norm(W_bar, 2) + math.prod(np.linalg.norm(W, 2) for W in matrices(weights))
    )
    return weights, net([W_bar], [np.full(width, 2 * lift)])


@claim("A2.3", OURS, "one layer with all units on attains the sharp bound")
@given(seeds, st.integers(1, 3), widths, radii, st.integers(1, 4))
def test_one_layer_with_all_units_on_attains_the_sharp_bound(seed, length, width, radius, rank):
    """There f − f̄ = (M − W̄) x, which is longest along the right singular vector of index R|P| +
    1.
    """
    rng = np.random.default_rng(seed)
    rank = min(rank, width)
    weights, target = one_layer_with_all_units_on(rng, length, width, radius)
    sharp, _ = error_bounds(weights, target, rank, (length,), radius)
    bound, _ = adapt(
        weights, relu_adapters(weights, target, rank, (length,), radius, rng=rng), rng=rng
    )
    right = np.linalg.svd(target["layers.0.W"] - multiplied(matrices(weights)))[2]
    errors = np.linalg.norm(
        relu_mlp(bound, radius * right) - relu_mlp(target, radius * right), axis=1
    )
    within(abs(np.max(errors) - sharp), 1e-9 * radius * 2**length)


@claim("A2.3", ZENG_LEE, "the mean error over random inputs is bounded by their mean size")
@given(seeds, kinds, depths, widths, st.integers(0, 2), st.integers(1, 3))
def test_the_mean_error_is_bounded_by_the_mean_size_of_the_inputs(
    seed, kind, depth, widest, slack, rank
):
    """Inputs in the ball of radius 10 with norms from 0 to 10: the mean of ‖f(x) − f̄(x)‖ is at most
    the sharp bound at the mean of ‖x‖, and that at most the one at √(mean of ‖x‖²) = √(tr Σ).
    """
    rng = np.random.default_rng(seed)
    weights, target, partition = random_case(rng, kind, depth, widest, slack)
    params = relu_adapters(weights, target, rank, partition, 10.0, rng=rng)
    bound, _ = adapt(weights, params, rng=rng)
    width = matrices(target)[0].shape[1]
    x = sphere(rng, 100, width, 10.0) * rng.random((100, 1)) ** 2
    sizes = np.linalg.norm(x, axis=1)
    wide = np.pad(x, ((0, 0), (0, weights["layers.0.W"].shape[1] - width)))
    y = forward(target, x)
    errors = np.linalg.norm(relu_mlp(bound, wide)[:, : y.shape[1]] - y, axis=1)
    by_mean, _ = error_bounds(weights, target, rank, partition, np.mean(sizes))
    by_root, _ = error_bounds(weights, target, rank, partition, np.sqrt(np.mean(sizes**2)))
    within(np.mean(errors), by_mean + 1e-8 * max(1, np.max(y)))
    within(by_mean, by_root * (1 + 1e-12) + 1e-300)


@claim("A2.3", ZENG_LEE, "targets ∏ W_l + s G: rank 1 at s = 0.001 beats rank 3 at s = 1")
@pytest.mark.parametrize("seed", range(20))
def test_a_nearer_target_needs_less_rank_for_the_same_error(seed):
    """Four layers of width 8, runs of two. Each W̄_i is ∏ W_l + s G_i with G_i Gaussian: the largest
    error in the ball falls with s at every rank, and rank 1 at s = 1e-3 is nearer than rank 3 at 1.
    """
    rng = np.random.default_rng(seed)
    weights = square_net(rng, well, 4, 8)
    Ws = matrices(weights)
    runs = [multiplied(Ws[:2]), multiplied(Ws[2:])]
    changes = [gauss(rng, (8, 8)), gauss(rng, (8, 8))]
    bs = rng.standard_normal((2, 8))
    x = sphere(rng, 200, 8, 1.0)
    errors = {}
    for s in (1, 0.1, 0.01, 0.001):
        target = net([P + s * G for P, G in zip(runs, changes)], bs)
        y = forward(target, x)
        for rank in (1, 2, 3, 4):
            params = relu_adapters(weights, target, rank, (2, 2), 1.0, rng=rng)
            bound, _ = adapt(weights, params, rng=rng)
            errors[s, rank] = np.max(np.linalg.norm(relu_mlp(bound, x) - y, axis=1))
    for rank in (1, 2, 3):
        at_least(errors[1, rank] / errors[0.1, rank], 3)
        at_least(errors[0.1, rank] / errors[0.01, rank], 3)
    at_least(errors[1, 3] / errors[0.001, 1], 3)
    within(max(errors[s, 4] for s in (1, 0.1, 0.01, 0.001)), 1e-9)


@claim("A2.4", OURS, "one-layer target, all units on, E of full rank: R − 1 is not exact")
@given(seeds, st.integers(1, 3), st.integers(2, 8), radii)
def test_one_rank_below_the_sufficient_one_is_not_exact(seed, length, width, radius):
    """With all units on, R − 1 leaves at least the smallest singular value of W̄ − ∏ W_l, if that
    has full rank.
    """
    rng = np.random.default_rng(seed)
    weights, target = one_layer_with_all_units_on(rng, length, width, radius)
    values = np.linalg.svd(target["layers.0.W"] - multiplied(matrices(weights)), compute_uv=False)
    rank = sufficient_rank(weights, target, (length,))
    assume(rank > 1 and values[-1] > 1e-3)
    bound, merged = adapt(
        weights, relu_adapters(weights, target, rank - 1, (length,), radius, rng=rng), rng=rng
    )
    x = radius * np.linalg.svd(target["layers.0.W"] - multiplied(matrices(merged)))[2]
    errors = np.linalg.norm(relu_mlp(bound, x) - relu_mlp(target, x), axis=1)
    at_least(np.max(errors) / radius, values[-1] * (1 - 1e-6))


@claim("A2.4", OURS, "one-layer square target, all units on in the ball: Σ R ≥ rank(E) is needed")
@given(seeds, st.integers(1, 3), st.integers(2, 6), st.data())
def test_where_all_units_are_on_no_adapters_of_less_rank_are_exact(seed, length, width, data):
    """Square layers, W̄ invertible. A network that equals W̄ x + b̄ near a point has the Jacobian
    D_L W'_L … D_1 W'_1 = W̄ there, with masks D of 0 and 1: as W̄ is invertible, all masks are I, and
    Σ R ≥ rank(W̄ − ∏ W_l) by the bound on products. With any unit off the Jacobian is singular.
    """
    rng = np.random.default_rng(seed)
    weights = square_net(rng, well, length, width)
    ranks = [data.draw(st.integers(0, width)) for _ in range(length)]
    adapted = [
        W + rng.standard_normal((width, R)) @ rng.standard_normal((R, width))
        for W, R in zip(matrices(weights), ranks)
    ]
    masks = [np.ones(width) for _ in range(length)]
    masks[rng.integers(length)][rng.integers(width)] = 0.0
    W_bar = well(rng, (width, width))
    some_off = multiplied([mask[:, None] * W for mask, W in zip(masks, adapted)])
    at_least(np.linalg.norm(some_off - W_bar, 2), 0.5 * (1 - 1e-9), "a unit off:")
    values = np.linalg.svd(W_bar - multiplied(matrices(weights)), compute_uv=False)
    floor = values[sum(ranks)] if sum(ranks) < width else 0.0
    assume(floor > 1e-3)
    all_on = np.linalg.norm(multiplied(adapted) - W_bar, 2)
    at_least(all_on, floor * (1 - 1e-9), "all units on:")


def varies_where_a_unit_is_off(rng, weights, target, radius):
    """Whether f̄ moves by more than 0.5 as a pre-activation z < 0 of the first layer becomes 2 z,
    with 3 z in the ball.

    A deep target may be constant there: all that it sees can lie where every unit of the first
    layer is on.
    """
    x = rng.uniform(0, 1, (1000, 1)) * sphere(rng, 1000, len(weights["layers.0.b"]), radius)
    z = x @ weights["layers.0.W"].T + weights["layers.0.b"]
    steps = np.linalg.inv(weights["layers.0.W"]).T
    for unit, step in enumerate(steps):
        off = (z[:, unit] < 0) & (np.linalg.norm(x + 2 * z[:, [unit]] * step, axis=1) <= radius)
        gap = relu_mlp(target, x[off]) - relu_mlp(target, x[off] + z[off][:, [unit]] * step)
        if np.max(np.abs(gap), initial=0) > 0.5:
            return True
    return False


@claim("A2.4", ZENG_LEE, "first W and b both frozen: two inputs that they confuse")
@given(seeds, st.integers(1, 2), st.integers(2, 8), st.sampled_from([10.0, 100.0]))
def test_no_network_on_the_frozen_first_layer_is_the_target(seed, depth, width, radius):
    """For D ≥ 2, an invertible first W and a ball in which a first unit is off while the target
    varies: error ≥ gap / 2.
    """
    rng = np.random.default_rng(seed)
    weights, target = square_net(rng, well, depth + 1, width), square_net(rng, well, depth, width)
    assume(varies_where_a_unit_is_off(rng, weights, target, radius))
    x, twin, bound = witness(weights, target, radius, rng=rng)
    assert max(np.linalg.norm(x), np.linalg.norm(twin)) <= radius
    pair = np.array([x, twin])
    y = forward(target, pair)
    within(abs(np.linalg.norm(y[0] - y[1]) / 2 - bound), 1e-12 * radius)
    at_least(bound, 1e-2, "the gap of the witness:")
    hidden = np.maximum(pair @ weights["layers.0.W"].T + weights["layers.0.b"], 0)
    within(worst(hidden[0], hidden[1]), 1e-9 * radius, "the first layer tells them apart:")
    for rest in (matrices(weights)[1:], [well(rng, (width, width)) for _ in range(depth)]):
        others = net(
            [weights["layers.0.W"], *rest],
            [weights["layers.0.b"], *rng.standard_normal((depth, width))],
        )
        errors = np.linalg.norm(forward(others, pair) - y, axis=1)
        at_least(np.max(errors), bound * (1 - 1e-6))


@pytest.mark.parametrize("radius", [0.3, 3.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_witness_has_the_widest_gap_of_its_draws(seed, radius):
    """Two units of three inputs, one draw and one unit after the other: 40 draws from the cube in
    the ball, each with the shortest step that triples a pre-activation below 0 alone.
    """
    rng = np.random.default_rng(seed)
    W, b = well(rng, (2, 3)), 0.2 * rng.standard_normal(2)
    weights = net([W, well(rng, (3, 2))], [b, rng.standard_normal(3)])
    target = net([well(rng, (4, 3)), well(rng, (2, 4))], [rng.standard_normal(4), np.ones(2)])
    pairs = []
    for x in np.random.default_rng(seed).uniform(-1, 1, (40, 3)) * radius / math.sqrt(3):
        for row, offset, unit in zip(W, b, np.eye(2)):
            z = row @ x + offset
            twin = x + 2 * z * np.linalg.lstsq(W, unit, rcond=None)[0]
            if z < 0 and np.linalg.norm(twin) <= radius:
                gap = np.linalg.norm(forward(target, x[None]) - forward(target, twin[None]))
                pairs.append((gap, x, twin))
    gap, x, twin = max(pairs, key=lambda pair: pair[0])
    found = witness(weights, target, radius, rng=np.random.default_rng(seed), draws=40)
    for got, wanted in zip(found, (x, twin, gap / 2)):
        np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_the_witness_draws_a_thousand_times_unless_given(rng):
    weights, target = square_net(rng, well, 2, 3), square_net(rng, well, 1, 3)
    states = []
    for draws in ({}, {"draws": 1000}):
        drawn = np.random.default_rng(0)
        witness(weights, target, 10.0, rng=drawn, **draws)
        states.append(drawn.bit_generator.state)
    assert states[0] == states[1]


def test_the_witness_asks_for_independent_rows(rng):
    """With rank 3 of 4 in W_0 no step moves one pre-activation alone; just above it does."""
    weights, target = square_net(rng, well, 2, 4), square_net(rng, well, 1, 4)
    left, values, right = np.linalg.svd(weights["layers.0.W"])
    values[-1] = 0.0
    deficient = weights | {"layers.0.W": left * values @ right}
    with pytest.raises(ValueError, match=r"^weights: layer 0"):
        witness(deficient, target, 100.0, rng=rng)
    values[-1] = 0.05
    witness(weights | {"layers.0.W": left * values @ right}, target, 100.0, rng=rng)


@claim("A2.4", OURS, "first W frozen, its b tuned: rank(W̄ − ∏ W_l) on later layers is exact")
@given(seeds, st.integers(2, 4), widths, radii)
def test_the_first_bias_alone_will_do(seed, length, width, radius):
    """A generic target of one layer, or of two whose second is the frozen one: ranks 0 for the
    first layer and D, shared by the later layers of its run; the first W is left alone.
    """
    rng = np.random.default_rng(seed)
    weights = square_net(rng, well, length, width)
    target = square_net(rng, well, 1, width)
    for later in {1, length - 1}:
        ranks = [0] * length
        ranks[later] = width
        params = relu_adapters(weights, target, ranks, (length,), radius, rng=rng)
        exactly("layers.0.W" not in params and "layers.0.b" in params)
        bound, _ = adapt(weights, params, rng=rng)
        x = sphere(rng, 30, width, radius)
        y = forward(target, x)
        within(worst(relu_mlp(bound, x), y), 1e-9 * max(1, np.max(y)) * (1 + radius))


def test_the_network_of_the_witness_is_reached_by_its_first_bias(rng):
    """2-2-16-2, where W_0 and b_0 frozen leave an error of about 1: with b_0 tuned, W_0 can stay
    frozen.
    """
    shapes = [(2, 2), (16, 2), (2, 16)]
    weights = net([well(rng, shape) for shape in shapes], [np.zeros(2), np.zeros(16), np.ones(2)])
    weights["layers.0.b"] = np.array([0.3, -0.2])
    target = net([np.array([[1.0, -0.6], [0.5, 1.0]])], [np.array([2.0, 2.0])])
    _, _, bound = witness(weights, target, 2.0, rng=rng)
    assert bound > 0.3
    x = sphere(rng, 50, 2, 2.0)
    for ranks in ([0, 1, 1], [0, 2, 0], [0, 0, 2], [1, 1, 0]):
        params = relu_adapters(weights, target, ranks, (3,), 2.0, rng=rng)
        bound, _ = adapt(weights, params, rng=rng)
        assert ("layers.0.W" in params) == (ranks[0] > 0)
        np.testing.assert_allclose(relu_mlp(bound, x), forward(target, x), rtol=0, atol=1e-12)


@claim("A2.4", ZENG_LEE, "rank 1 on all layers, fewer parameters: exact; whole last layers: not")
@pytest.mark.parametrize("seed", range(20))
def test_low_rank_everywhere_beats_the_last_layers_in_full(seed):
    """Width 4, four layers, a generic one-layer target: rank 1 and biases, 48 parameters, are
    exact; layers 2 to 4 in full, 60 parameters, err by the witness's bound whatever their values.
    """
    rng = np.random.default_rng(seed)
    weights, target = square_net(rng, well, 4, 4), square_net(rng, well, 1, 4)
    params = relu_adapters(weights, target, 1, (4,), 10.0, rng=rng)
    adapted = sum(array.size for own in params.values() for array in own.values())
    last_layers = sum(weights[f"layers.{i}.{part}"].size for i in (1, 2, 3) for part in "Wb")
    exactly((adapted, last_layers) == (48, 60))
    bound, _ = adapt(weights, params, rng=rng)
    x = sphere(rng, 50, 4, 10.0)
    within(worst(relu_mlp(bound, x), forward(target, x)), 1e-9)
    _, _, gap = witness(weights, target, 10.0, rng=rng)
    at_least(gap, 1.0)


@claim("A2.4", OURS, "frozen biases b > 0 can suffice: full rank on matrices alone is exact")
@pytest.mark.parametrize("seed", range(20))
def test_frozen_biases_that_lift_the_units_can_do(seed):
    """Width 4, two layers, b_0 > 0 and b_1 frozen: W'_1 W'_0 = W̄ with W'_1 b_0 = b̄ − b_1, exact for
    ‖x‖ ≤ min_j b_0j / ‖row j of W'_0‖.
    """
    rng = np.random.default_rng(seed)
    weights, target = square_net(rng, well, 2, 4), square_net(rng, well, 1, 4)
    b = weights["layers.0.b"] = rng.uniform(1, 2, 4)
    missing = target["layers.0.b"] - weights["layers.1.b"]
    last = well(rng, (4, 4))
    last += np.outer(missing - last @ b, b) / (b @ b)
    first = np.linalg.solve(last, target["layers.0.W"])
    adapted = weights | {"layers.0.W": first, "layers.1.W": last}
    radius = np.min(b / np.linalg.norm(first, axis=1))
    at_least(radius, 1e-3)
    x = sphere(rng, 50, 4, radius)
    y = forward(target, x)
    within(worst(forward(adapted, x), y), 1e-9 * np.linalg.cond(last))
    moved = relu_mlp(target, x)
    at_least(np.max(abs(moved - relu_mlp(target, 0 * x))), 1e-3 * radius)


def test_where_all_first_units_are_on_the_first_layer_can_be_spared(rng):
    weights, target = square_net(rng, well, 2, 4), square_net(rng, well, 1, 4)
    weights["layers.0.b"] = np.full(4, 10.0)
    with pytest.raises(ValueError, match=r"^weights: layer 0"):
        witness(weights, target, 1.0, rng=rng)
    W = target["layers.0.W"] @ np.linalg.inv(weights["layers.0.W"])
    spared = weights | {
        "layers.1.W": W,
        "layers.1.b": target["layers.0.b"] - W @ weights["layers.0.b"],
    }
    x = sphere(rng, 50, 4, 1.0)
    np.testing.assert_allclose(relu_mlp(spared, x), relu_mlp(target, x), rtol=0, atol=1e-12)


def test_one_unit_alone_may_keep_what_the_target_needs(rng):
    one = net([np.ones((1, 1))] * 2, [np.zeros(1)] * 2)
    with pytest.raises(ValueError, match=r"^weights: layer 0"):
        witness(one, net([np.ones((1, 1))], [np.zeros(1)]), 10.0, rng=rng)
    opposite, twin, bound = witness(one, net([-np.ones((1, 1))], [np.zeros(1)]), 10.0, rng=rng)
    assert twin == pytest.approx(3 * opposite)
    assert bound > 3


def test_a_first_layer_that_loses_nothing_has_no_witness(rng):
    weights = net([np.vstack([np.eye(3), -np.eye(3)]), np.ones((3, 6))], [np.zeros(6), np.zeros(3)])
    with pytest.raises(ValueError, match=r"^weights: layer 0"):
        witness(weights, square_net(rng, well, 1, 3), 10.0, rng=rng)


@claim("A2.4", OURS, "without biases f(t x) = t f(x), so f(0) = 0 ≠ f̄(0)")
@given(seeds, kinds, st.integers(1, 4), widths, st.floats(0.1, 10))
def test_a_network_without_biases_is_homogeneous(seed, kind, depth, width, t):
    """For all t > 0 and any adapters; a target with f̄(0) ≠ 0 is missed at 0 by ‖f̄(0)‖, whatever
    the rank.
    """
    rng = np.random.default_rng(seed)
    bare = net([kind(rng, (width, width)) for _ in range(depth)], np.zeros((depth, width)))
    attached = attach(bare, {"*.W": LoRA(1)}, rng=rng)
    drawn = {
        name: {k: rng.standard_normal(a.shape) for k, a in own.items()}
        for name, own in attached.params.items()
    }
    adapted, merged = attached.bind(drawn), attached.merge(drawn)
    x = rng.standard_normal((10, width))
    scale = (
        t
        * np.max(np.abs(x))
        * width
        * math.prod(np.linalg.norm(W, 2) + 1 for W in matrices(merged))
    )
    within(worst(relu_mlp(adapted, t * x), t * relu_mlp(adapted, x)), 1e-12 * scale)
    target = square_net(rng, kind, 1, width)
    at_zero = np.maximum(target["layers.0.b"], 0)
    exactly(not np.any(relu_mlp(adapted, np.zeros(width))))
    assume(np.any(at_zero))
    zero = np.zeros(width)
    at_least(
        np.linalg.norm(relu_mlp(adapted, zero) - relu_mlp(target, zero)),
        np.linalg.norm(at_zero) * (1 - 1e-12),
    )


@claim("A2.4", OURS, "generic networks: without the hidden offsets the construction fails")
@pytest.mark.parametrize("seed", range(20))
def test_without_the_hidden_offsets_the_construction_fails(seed):
    """The same adapters with hidden biases 0 and b̄ in the last layer of each run miss by a good
    part of the output.
    """
    rng = np.random.default_rng(seed)
    weights, target = square_net(rng, well, 4, 6), square_net(rng, well, 2, 6)
    _, merged = adapt(weights, relu_adapters(weights, target, 3, (2, 2), 1.0, rng=rng), rng=rng)
    zero, x = np.zeros(6), sphere(rng, 50, 6, 1.0)
    plain = net(matrices(merged), [zero, target["layers.0.b"], zero, target["layers.1.b"]])
    y = forward(target, x)
    at_least(worst(forward(plain, x), y) / np.max(y), 0.05)


@claim("A2.5", OURS, "a narrower target: ⌈its width / |P_i|⌉ suffices, by dead units")
@given(seeds, kinds, depths, st.integers(1, 6), st.integers(1, 6), radii)
def test_a_narrower_target_is_reached_with_dead_units(seed, kind, depth, widest, slack, radius):
    """R = max_i ⌈w_i / |P_i|⌉ suffices for widths w_i below the frozen ones; the outputs that f̄
    lacks are exactly 0.
    """
    rng = np.random.default_rng(seed)
    weights, target, partition = random_case(rng, kind, depth, widest, slack)
    rank = max(1, sufficient_rank(weights, target, partition))
    exactly(
        rank
        <= max(math.ceil(min(W.shape) / length) for W, length in zip(matrices(target), partition))
    )
    within(miss(weights, target, rank, partition, radius, rng=rng), 1e-7)
    bound, _ = adapt(
        weights, relu_adapters(weights, target, rank, partition, radius, rng=rng), rng=rng
    )
    width, d_out = matrices(target)[0].shape[1], len(biases(target)[-1])
    x = np.zeros((20, weights["layers.0.W"].shape[1]))
    x[:, :width] = sphere(rng, 20, width, radius)
    exactly(not np.any(relu_mlp(bound, x)[:, d_out:]), "an output that the target lacks is not 0")


@claim("A2.5", OURS, "inner widths as large as the target's suffice: 8-4-8 becomes 3-3")
@pytest.mark.parametrize("seed", range(20))
def test_a_waist_as_wide_as_the_target_is_wide_enough(seed):
    """Generic layers 8-4-8 and a target of width 3: rank ⌈3 / 2⌉ = 2, changes of rank 2 and 1 in
    the sub-matrices that it needs, nothing beyond them, and dead outputs.
    """
    rng = np.random.default_rng(seed)
    weights = net([well(rng, (4, 8)), well(rng, (8, 4))], [np.ones(4), np.ones(8)])
    target = square_net(rng, well, 1, 3)
    exactly(sufficient_rank(weights, target, (2,)) == 2)
    within(miss(weights, target, 2, (2,), 10.0, rng=rng), 1e-10)
    params = relu_adapters(weights, target, 2, (2,), 10.0, rng=rng)
    first, last = (params[f"layers.{i}.W"] for i in (0, 1))
    exactly(not np.any(first["A"][:, 3:]) and not np.any(last["B"][3:]))
    changes = [np.linalg.matrix_rank(own["B"] @ own["A"]) for own in (first, last)]
    exactly(sum(changes) == 3)


def test_rounding_wakes_no_dead_unit(rng):
    """A row of M without a positive entry is highest at z = 0, where M z = 0; a margin keeps its
    unit dead there.
    """
    W, M = well(rng, (6, 6)), -rng.random((6, 6))
    Ws = [W, M @ np.linalg.inv(W)]
    bs, _ = _lifting_biases(Ws, 6, np.ones(3), 10.0, nonnegative=True)
    np.testing.assert_allclose(Ws[1] @ bs[0] + bs[1], [1, 1, 1, -1, -1, -1], rtol=0, atol=1e-9)


def padded(weights, target, partition, copy):
    """The target with the widths of the frozen network: its missing rows are 0, or copies of the
    frozen product's.
    """
    frozen, wanted, bs = matrices(weights), [], []
    for length, W_bar, b_bar in zip(partition, matrices(target), biases(target)):
        P = multiplied(frozen[:length])
        frozen = frozen[length:]
        W = P if copy else np.zeros(P.shape)
        W[: len(W_bar)] = np.pad(W_bar, ((0, 0), (0, P.shape[1] - W_bar.shape[1])))
        wanted.append(W)
        bs.append(np.pad(b_bar, (0, len(P) - len(b_bar))))
    return net(wanted, bs)


@claim("A2.5", OURS, "a narrower target: ⌈its width / |P_i|⌉ suffices, by copied rows")
@given(seeds, kinds, depths, st.integers(1, 6), st.integers(1, 6), radii)
def test_a_narrower_target_is_reached_with_copied_rows(seed, kind, depth, widest, slack, radius):
    """R = max_i ⌈w_i / |P_i|⌉ suffices with rows of the frozen product for missing ones, which the
    next layer skips.
    """
    rng = np.random.default_rng(seed)
    weights, target, partition = random_case(rng, kind, depth, widest, slack, wide_inside=True)
    wide = padded(weights, target, partition, copy=True)
    rank = max(1, sufficient_rank(weights, wide, partition))
    exactly(
        rank <= max(math.ceil(len(W) / length) for W, length in zip(matrices(target), partition))
    )
    exactly(
        sufficient_rank(weights, target, partition) <= rank, "dead units need more than copied rows"
    )
    bound, _ = adapt(
        weights, relu_adapters(weights, wide, rank, partition, radius, rng=rng), rng=rng
    )
    width = matrices(target)[0].shape[1]
    x = sphere(rng, 20, width, radius)
    y = forward(target, x)
    x = np.pad(x, ((0, 0), (0, weights["layers.0.W"].shape[1] - width)))
    within(worst(relu_mlp(bound, x)[:, : y.shape[1]], y), 1e-7 * max(1, np.max(y)))


@claim("A2.5", OURS, "width 3 in 9, runs of 2: not exact: rank 1; rank 2, rest of W̄ zero")
@pytest.mark.parametrize("seed", range(10))
def test_a_narrower_target_needs_this_rank_and_zero_rows_need_more(seed):
    """Width 3 in 9, runs of 2: rank 2 with dead units or copied rows, not 1. The target padded with
    zeros in rows and columns takes ⌈9 / 2⌉ = 5, not 2.
    """
    rng = np.random.default_rng(seed)
    weights = square_net(rng, well, 4, 9)
    target = net([well(rng, (3, 9)), well(rng, (3, 3))], rng.standard_normal((2, 3)))
    copied, zero = (
        padded(weights, target, (2, 2), copy=True),
        padded(weights, target, (2, 2), copy=False),
    )
    exactly(
        [sufficient_rank(weights, each, (2, 2)) for each in (target, copied, zero)] == [2, 2, 5]
    )
    at_least(miss(weights, target, 1, (2, 2), 10.0, rng=rng), 0.02, "dead units, one rank less:")
    at_least(miss(weights, copied, 1, (2, 2), 10.0, rng=rng), 0.02, "copied rows, one rank less:")
    at_least(miss(weights, zero, 2, (2, 2), 10.0, rng=rng), 0.02, "zero rows:")


def test_float32_stays_float32(rng):
    weights, target = square_net(rng, well, 4, 6), square_net(rng, well, 2, 6)
    weights = {name: array.astype(np.float32) for name, array in weights.items()}
    params = relu_adapters(weights, target, 3, (2, 2), 1.0, rng=rng)
    assert {array.dtype for own in params.values() for array in own.values()} == {
        np.dtype(np.float32)
    }
    bound, _ = adapt(weights, params, rng=rng)
    x = sphere(rng, 50, 6, 1.0).astype(np.float32)
    y = relu_mlp(bound, x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, relu_mlp(target, x), rtol=0, atol=1e-4)
    exact = [W.astype(float) for W in matrices(weights)]
    near = net([multiplied(exact[:2]) + 1, multiplied(exact[2:])], np.zeros((2, 6)))
    assert sufficient_rank(weights, near, (2, 2)) == 1


def test_the_arguments_are_unchanged(rng):
    weights, target = (
        square_net(rng, well, 4, 6),
        net([well(rng, (3, 6)), well(rng, (2, 3))], [np.ones(3), np.ones(2)]),
    )
    before = [{name: array.copy() for name, array in each.items()} for each in (weights, target)]
    relu_adapters(weights, target, 1, best_partition(weights, target), 1.0, rng=rng)
    error_bounds(weights, target, 1, (2, 2), 1.0)
    for each, old in zip((weights, target), before):
        for name in old:
            np.testing.assert_array_equal(each[name], old[name])


def mistakes():
    """(the name that the message must begin with, a call)."""
    rng = np.random.default_rng(0)
    good, small = square_net(rng, well, 4, 3), square_net(rng, well, 2, 3)

    def adapters(weights=good, target=small, rank=2, partition=(2, 2), radius=1.0):
        return lambda: relu_adapters(weights, target, rank, partition, radius)

    def find(target=small, radius=10.0):
        return witness(good, target, radius, rng=rng)

    for radius in (0, -1.0, math.nan, math.inf, "1", None, True):
        yield "radius", adapters(radius=radius)
        yield "radius", lambda radius=radius: error_bounds(good, small, 2, (2, 2), radius)
        yield "radius", lambda radius=radius: find(radius=radius)
    for partition in ((2, 1), (2, 3), (4,), (1, 1, 2), (0, 4), (5, -1), ()):
        yield "partition", adapters(partition=partition)
        yield "partition", lambda partition=partition: sufficient_rank(good, small, partition)
    for partition in (2, None, "22", (2.0, 2.0), (True, 3), (2, (2,)), {0: 2, 1: 2}, np.ones(2)):
        yield "partition", adapters(partition=partition)
    for rank in (0, 1.5, "2", None, True, [2, 2, 2], [2, 2, 2, -1], [4, 1, 1, 1], [1, 1, 1, 1.0]):
        yield "rank", adapters(rank=rank)
    for rng_given in (0, "rng", np.random.RandomState(0)):
        yield "rng", lambda rng=rng_given: relu_adapters(good, small, 2, (2, 2), 1.0, rng=rng)
        yield "rng", lambda rng=rng_given: witness(good, small, 10.0, rng=rng)
    yield "rng", lambda: witness(good, small, 10.0, rng=None)
    for draws in (0, -1, 2.5, "9", None):
        yield "draws", lambda draws=draws: witness(good, small, 10.0, rng=rng, draws=draws)
    for name, bad in (
        ("W", np.ones((3, 4))),
        ("W", np.ones(3)),
        ("W", np.full((3, 3), np.nan)),
        ("W", np.eye(3, dtype=int)),
        ("W", np.eye(3, dtype=np.float16)),
        ("W", np.eye(3).tolist()),
        ("W", None),
        ("b", np.ones(4)),
        ("b", np.ones((3, 1))),
        ("b", np.array(1.0)),
        ("b", np.array([0, 0, np.inf])),
        ("b", [0.0, 0.0, 0.0]),
    ):
        yield f"weights['layers.1.{name}']", adapters(good | {f"layers.1.{name}": bad})
        yield f"target['layers.1.{name}']", adapters(target=small | {f"layers.1.{name}": bad})
    yield "weights['layers.0.W']", adapters(good | {"layers.0.W": np.array(1.0)})
    gap = {name.replace("1", "4"): array for name, array in small.items()}
    for bad in (None, [], matrices(good), np.eye(3)):
        yield "weights must be a dict", adapters(bad)
        yield "target must be a dict", adapters(target=bad)
        yield "target must be a dict", lambda bad=bad: find(target=bad)
    for bad in (
        {},
        {"head.W": np.eye(3)},
        {"layers.0.W": np.eye(3)},
        gap,
        small | {"c": np.eye(3)},
    ):
        yield "weights must have a model's names", adapters(bad)
        yield "target must have a model's names", adapters(target=bad)
    wide = square_net(rng, well, 2, 4)
    narrow = net([np.eye(2, 3), np.eye(3, 2)] * 2, [np.ones(2), np.ones(3)] * 2)
    yield "partition", lambda: align_units(good, small, (4,))
    yield "target must", lambda: align_units(good, None, (2, 2))
    yield "partition: ", adapters(target=wide)
    yield "partition: ", adapters(narrow)
    yield "target['layers.0.W']", lambda: find(target=wide)
    for too_much in (wide, square_net(rng, well, 5, 3)):
        yield "target ", lambda too_much=too_much: best_partition(good, too_much)
    yield "target ", lambda: best_partition(narrow, small)
    for depth in (0, 5, -1, 1.0, "1", None):
        yield "target_depth ", lambda depth=depth: uniform_partition(4, depth)
    for depth in (0, 4.0, None):
        yield "depth ", lambda depth=depth: uniform_partition(depth, 1)


def test_any_weights_will_do(rng):
    """Four-bit matrices are changed as their dense ones are."""
    weights, target = square_net(rng, well, 4, 6), square_net(rng, well, 2, 6)
    quantized = {name: quantize(W) if W.ndim == 2 else W for name, W in weights.items()}
    dense = {name: np.asarray(W) for name, W in quantized.items()}
    found = relu_adapters(quantized, target, 3, (2, 2), 1.0, rng=rng)
    for name, own in relu_adapters(dense, target, 3, (2, 2), 1.0, rng=rng).items():
        for key, array in own.items():
            np.testing.assert_array_equal(found[name][key], array)


@pytest.mark.parametrize("name, call", list(mistakes()))
def test_a_mistake_is_a_value_error_that_names_the_argument(name, call):
    with pytest.raises(ValueError, match=f"^{re.escape(name)}"):
        call()


def test_two_layers_of_zeros_are_unsolvable(rng):
    weights = square_net(rng, well, 2, 3) | {
        "layers.0.W": np.zeros((3, 3)),
        "layers.1.W": np.zeros((3, 3)),
    }
    with pytest.raises(Unsolvable):
        relu_adapters(weights, square_net(rng, well, 1, 3), 2, (2,), 1.0, rng=rng)


def test_layers_are_float64_and_an_aligned_target_keeps_its_dtype(rng):
    net32 = init_mlp(rng, (3, 3, 3), np.float32)
    assert {part.dtype for layer in mlp_layers("weights", net32) for part in layer} == {
        np.dtype(float)
    }
    assert {array.dtype for array in align_units(net32, net32, (1, 1)).values()} == {np.dtype("f4")}


def test_a_ball_may_be_large(rng):
    weights = init_mlp(rng, (3, 3), np.float64)
    assert np.all(np.isfinite(error_bounds(weights, weights, 1, (1,), 1e12)))


def test_adapters_and_biases_have_the_dtypes_of_their_weights():
    """In a network that has both, each its own."""
    W = np.eye(2)
    weights = {"layers.0.W": W.astype(np.float32), "layers.0.b": np.zeros(2)}
    weights |= {"layers.1.W": W, "layers.1.b": np.zeros(2, np.float32)}
    target = {"layers.0.W": 2 * W, "layers.0.b": np.ones(2)}
    for name, own in relu_adapters(weights, target, 1, (2,), 1.0).items():
        assert {array.dtype for array in own.values()} == {weights[name].dtype}


def test_a_negative_multiple_of_a_row_is_no_match():
    weights = net([np.eye(2)] * 2, [np.zeros(2)] * 2)
    target = net([np.array([[0.0, -2], [0, 3]]), np.eye(2)], [np.zeros(2)] * 2)
    aligned = align_units(weights, target, (1, 1))["layers.0.W"]
    np.testing.assert_allclose(aligned, [[0, -2], [0, 1]])


def test_a_rank_of_a_list_is_at_most_the_smaller_side():
    weights = net([np.ones((2, 4))], [np.zeros(2)])
    with pytest.raises(ValueError, match=r"^rank\[0\] must be an integer from 0 to 2"):
        relu_adapters(weights, weights, [3], (1,), 1.0)


def test_an_aligned_target_has_its_own_dtype_whatever_the_weights_have(rng):
    weights, target = (init_mlp(rng, (4, 4, 4), dtype) for dtype in (np.float32, np.float64))
    assert align_units(weights, target, (1, 1))["layers.0.W"].dtype == np.float64
