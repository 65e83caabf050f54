"""One plain Transformer made equal to another by adapters of half the rank; and where this ends."""

import re

import numpy as np
import pytest
from autograd.test_util import check_grads
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.draws import haar

from minilora.adapters import Full, LoRA
from minilora.attachment import attach
from minilora.models.transformer import causal, layer_norm, no_mask
from minilora.quantization import quantize
from minilora.testing.claims import OURS, ZENG_LEE, at_least, claim, exactly, within
from minilora.theorems.chain import Unsolvable
from minilora.theorems.transformer import (
    adapt_heads,
    plain_transformer,
    residual_adapters,
    sufficient_ranks,
    transformer_adapters,
)
from minilora.train import value_and_grad
from minilora.train.tape import leaves

seeds = st.integers(0, 2**32 - 1)
widths = st.integers(1, 6)
head_counts = depths = st.integers(1, 3)


def gaussian(rng, width):
    """N(0, 1/D): sometimes close to singular."""
    return rng.standard_normal((width, width)) / np.sqrt(width)


def well_conditioned(rng, width):
    """All singular values in [0.5, 2]."""
    U, _, Vt = np.linalg.svd(rng.standard_normal((width, width)))
    return U * rng.uniform(0.5, 2, width) @ Vt


def integers(rng, width):
    """Small integers: ties, zeros and singular matrices."""
    return rng.integers(-2, 3, (width, width)).astype(float)


kinds = st.sampled_from([gaussian, well_conditioned])


def network(rng, width, heads, depth, kind=gaussian):
    """The weights of a plain Transformer with matrices of this kind."""
    matrices = [
        f"blocks.{b}.heads.{h}.{part}"
        for b in range(depth)
        for h in range(heads)
        for part in "qkvo"
    ]
    layers = [f"blocks.{b}.ffn.{layer}" for b in range(depth) for layer in (1, 2)]
    weights = {f"{name}.W": kind(rng, width) for name in [*matrices, *layers, "head"]}
    return weights | {f"{name}.b": rng.standard_normal(width) for name in layers}


def softmax(scores):
    powers = np.exp(scores - np.max(scores))
    return powers / np.sum(powers)


def by_the_book(weights, X, allowed, scale=1.0, shares=softmax, residual=False):
    """The network for one sequence, token by token, with tokens as columns as in the paper."""
    H, block = X.T, 0
    while f"blocks.{block}.ffn.1.W" in weights:
        A, head = np.zeros(H.shape), 0
        while f"blocks.{block}.heads.{head}.q.W" in weights:
            Q, K, V, W_O = (weights[f"blocks.{block}.heads.{head}.{part}.W"] for part in "qkvo")
            for i in range(len(X)):
                keys = [j for j in range(len(X)) if allowed[i][j]]
                p = shares(np.array([scale * np.dot(K @ H[:, j], Q @ H[:, i]) for j in keys]))
                for j, share in zip(keys, p):
                    A[:, i] += share * (W_O @ (V @ H[:, j]))
            head += 1
        A = H + A if residual else A
        W1, b1, W2, b2 = (
            weights[f"blocks.{block}.ffn.{name}"] for name in ("1.W", "1.b", "2.W", "2.b")
        )
        H = np.empty(A.shape)
        for i in range(len(X)):
            z = [max(0.0, number) for number in W1 @ A[:, i] + b1]
            H[:, i] = W2 @ z + b2 + (A[:, i] if residual else 0)
        block += 1
    return (weights["head.W"] @ H).T


def attach_plain(weights, *, rng):
    """The adapters of the theorem: ⌈D/2⌉ on heads, the last W_2 and W_o; biases in full."""
    half = LoRA((len(weights["head.W"]) + 1) // 2)
    last = max(name for name in weights if name.endswith("ffn.2.W"))
    return attach(weights, {"*.heads.*": half, last: half, "head.W": half, "*.b": Full()}, rng=rng)


def attach_residual(weights, *, rng):
    """The adapters of the residual variant: ⌈D/2⌉ on heads, all else in full."""
    half = LoRA((len(weights["head.W"]) + 1) // 2)
    return attach(weights, {"*.heads.*": half, "*.ffn.*": Full(), "head.W": Full()}, rng=rng)


@claim("A3.1", OURS, "the network equals one written in loops, for any mask and scale")
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("width, heads, depth", [(1, 1, 1), (3, 2, 2), (4, 3, 1), (2, 1, 11)])
def test_the_network_is_the_one_written_token_by_token(width, heads, depth, residual, rng):
    """y_i = W_o h_i with one attention over the allowed keys and one ReLU in each block."""
    weights = network(rng, width, heads, depth)
    for length in (1, 2, 5):
        X = rng.standard_normal((2, 3, length, width))
        odd = np.eye(length, dtype=bool) | (rng.random((length, length)) < 0.5)
        for mask, scale in (
            (no_mask, 1.0),
            (causal, width**-0.5),
            (lambda length, odd=odd: odd, -2.0),
        ):
            Y = plain_transformer(weights, X, mask, scale, residual)
            assert Y.shape == X.shape
            for index in np.ndindex(2, 3):
                expected = by_the_book(weights, X[index], mask(length), scale, residual=residual)
                within(
                    np.max(np.abs(Y[index] - expected)), 1e-12 * max(1, np.max(np.abs(expected)))
                )


def test_mask_and_scale_are_one_and_everything_unless_given(rng):
    weights, X = network(rng, 3, 2, 1), rng.standard_normal((4, 3))
    np.testing.assert_allclose(
        plain_transformer(weights, X), by_the_book(weights, X, no_mask(4)), rtol=1e-12
    )


def test_the_gradient_agrees_with_finite_differences_and_keeps_float32(rng):
    weights, X = network(rng, 3, 2, 2), rng.standard_normal((2, 3, 3))
    check_grads(plain_transformer, argnum=[0], modes=["rev"], order=1)(weights, X, causal, 0.7)
    small = {name: W.astype(np.float32) for name, W in weights.items()}
    half = attach_plain(small, rng=rng)
    loss, grads = value_and_grad(
        lambda params, X: (
            plain_transformer(half.bind(params), X, causal, np.float64(0.7)) ** 2
        ).sum(),
        half.params,
        X.astype(np.float32),
    )
    assert {array.dtype for array in (loss, *leaves(grads))} == {np.dtype(np.float32)}


@claim("A3.2", ZENG_LEE, "invertible matrices: ranks ⌈D/2⌉ and new biases make networks equal")
@given(seeds, widths, head_counts, depths, st.integers(1, 5), kinds)
def test_adapters_of_half_the_rank_turn_one_network_into_another(
    seed, width, heads, depth, length, kind
):
    """For two networks of the same shape with invertible matrices, the adapted one is the target on
    every input; its W_1 and inner W_2 are bitwise the frozen ones.
    """
    rng = np.random.default_rng(seed)
    weights, target = (
        network(rng, width, heads, depth, kind),
        network(rng, width, heads, depth, kind),
    )
    attached = attach_plain(weights, rng=rng)
    params = transformer_adapters(weights, target, rng=rng)
    X = rng.standard_normal((2, length, width))
    wanted = plain_transformer(target, X)
    tolerance = 1e-6 * max(1, np.max(np.abs(wanted)))
    within(np.max(np.abs(plain_transformer(attached.bind(params), X) - wanted)), tolerance)
    merged = attached.merge(params)
    within(np.max(np.abs(by_the_book(merged, X[0], no_mask(length)) - wanted[0])), tolerance)
    adapted = {name for name, own in params.items() if own.keys() == {"A", "B"}}
    assert adapted == {name for name in weights if ".heads." in name} | {
        f"blocks.{depth - 1}.ffn.2.W",
        "head.W",
    }
    for name in adapted:
        exactly(params[name]["A"].shape == params[name]["B"].T.shape == ((width + 1) // 2, width))
    for name in weights.keys() - params.keys():
        assert name.endswith(("ffn.1.W", "ffn.2.W"))
        exactly(np.array_equal(merged[name].view(np.int64), weights[name].view(np.int64)))


@claim("A3.2", OURS, "integer weights, often singular: exact or refused")
@given(seeds, st.integers(1, 4), st.integers(1, 2), st.integers(1, 2), st.booleans())
@example(313, 2, 2, 1, True)  # an adapted product that is singular up to rounding
@example(40429, 2, 2, 1, True)  # adapters so large that rounding drowns the output
def test_singular_weights_are_solved_exactly_or_refused(seed, width, heads, depth, near):
    """When the matrices may be singular, the adapted network is the target, or Unsolvable is
    raised: never anything in between; and never refused when none is. near: only one matrix of the
    target differs from the frozen ones.
    """
    rng = np.random.default_rng(seed)
    weights, target = (
        network(rng, width, heads, depth, integers),
        network(rng, width, heads, depth, integers),
    )
    target = weights | {"blocks.0.heads.0.v.W": target["blocks.0.heads.0.v.W"]} if near else target
    X = rng.integers(-2, 3, (3, width)).astype(float)
    wanted = plain_transformer(target, X)
    try:
        params = transformer_adapters(weights, target, rng=rng)
    except Unsolvable as refusal:
        matrices = [W for W in (*weights.values(), *target.values()) if W.ndim == 2]
        exactly(min(np.linalg.matrix_rank(W) for W in matrices) < width, str(refusal))
        return
    got = plain_transformer(attach_plain(weights, rng=rng).bind(params), X)
    within(np.max(np.abs(got - wanted)), 1e-6 * max(1, np.max(np.abs(wanted))))


@claim("A3.2", OURS, "generic target: one rank less misses its W_Kᵀ W_Q by σ of index 2R + 1")
@given(seeds, st.integers(3, 6), head_counts)
def test_one_rank_less_misses_the_target(seed, width, heads):
    """Adapters of rank R = ⌈D/2⌉ − 1 on W_Q and W_K leave W'_Kᵀ W'_Q off by at least σ_(2R+1) of
    the difference.
    """
    rng = np.random.default_rng(seed)
    less, identity = (width + 1) // 2 - 1, np.eye(width)
    weights, target = (network(rng, width, heads, 1, well_conditioned) for _ in range(2))
    params = adapt_heads(weights, target, "blocks.0", identity, identity, less, rng=rng)
    for head in range(heads):
        q, k = (f"blocks.0.heads.{head}.{part}.W" for part in "qk")
        wanted = target[k].T @ target[q]
        floor = np.linalg.svd(wanted - weights[k].T @ weights[q], compute_uv=False)[2 * less]
        assume(floor > 1e-3)
        best = [weights[name] + params[name]["B"] @ params[name]["A"] for name in (q, k)]
        moved = [
            W + rng.standard_normal((width, less)) @ rng.standard_normal((less, width))
            for W in best
        ]
        other = [weights[name] + moved[i] - best[i] for i, name in enumerate((q, k))]
        for Q, K in (best, other):
            at_least(np.linalg.norm(K.T @ Q - wanted, 2), floor * (1 - 1e-9))


def nearer(rng, weights, gaps):
    """A target whose every matrix differs from the frozen one by a change of such a rank."""
    target = dict(weights)
    for name, W in weights.items():
        if W.ndim == 1:
            target[name] = rng.standard_normal(W.shape)
        elif gaps[name]:
            left, right = rng.standard_normal((2, len(W), gaps[name]))
            target[name] = W + left @ right.T
    return target


@claim("A3.2", ZENG_LEE, "⌈rank(gap) / 2⌉ suffices for a pair of matrices, here 0 or 1")
@given(seeds, st.integers(2, 6), head_counts, depths)
def test_every_pair_takes_half_the_rank_of_its_gap(seed, width, heads, depth):
    """Well-conditioned networks that differ by changes of rank 0 or 1 in the matrices of the heads
    and in W_o: with `sufficient_ranks`, at most 1 where a gap has rank 2, the outputs are equal.
    """
    rng = np.random.default_rng(seed)
    weights = network(rng, width, heads, depth, well_conditioned)
    changed = [name for name in weights if ".heads." in name or name == "head.W"]
    gaps = {name: int(name in changed and rng.integers(0, 2)) for name in weights}
    target = nearer(rng, weights, gaps)
    ranks = sufficient_ranks(weights, target)
    for first, second in zip(list(ranks)[::2], list(ranks)[1::2]):
        exactly(ranks[first] == ranks[second] == min(1, gaps[first] + gaps[second]))
    params = transformer_adapters(weights, target, ranks, rng=rng)
    adapters = {name: LoRA(R) for name, R in ranks.items() if R} | {"*.b": Full()}
    attached = attach(weights, adapters, rng=rng)
    exactly(set(params) == set(attached.params))
    X = rng.standard_normal((2, 3, width))
    wanted = plain_transformer(target, X)
    got = plain_transformer(attached.bind(params), X)
    within(np.max(np.abs(got - wanted)), 1e-6 * max(1, np.max(np.abs(wanted))))


def test_the_ranks_of_a_generic_target_are_those_of_the_theorem(rng):
    weights, target = (network(rng, 5, 2, 2, well_conditioned) for _ in range(2))
    ranks = sufficient_ranks(weights, target)
    assert set(ranks.values()) == {3}
    assert set(ranks) == {name for name in weights if ".heads." in name} | {
        "blocks.1.ffn.2.W",
        "head.W",
    }
    for given_rank in (3, ranks):
        params = transformer_adapters(weights, target, given_rank, rng=rng)
        for name, own in transformer_adapters(weights, target).items():
            for key, array in own.items():
                np.testing.assert_array_equal(params[name][key], array)


@claim("A3.2", ZENG_LEE, "below ⌈D/2⌉ every product misses by σ of index 2R + 1 of its gap")
@given(seeds, st.integers(3, 6), head_counts)
def test_a_smaller_rank_gives_the_best_products(seed, width, heads):
    """One block, well-conditioned networks, every rank R from 0 to ⌈D/2⌉, C = I: the scores'
    products and the last pair's miss their goals by σ_(2R+1), and by 0 at ⌈D/2⌉.
    """
    rng = np.random.default_rng(seed)
    weights, target = (network(rng, width, heads, 1, well_conditioned) for _ in range(2))
    for rank in range((width + 1) // 2 + 1):
        params = transformer_adapters(weights, target, rank, rng=rng)
        zero = {"A": np.zeros((0, width)), "B": np.zeros((width, 0))}
        adapted = {}
        for name in weights:
            own = params.get(name, zero) if weights[name].ndim == 2 else zero
            exactly(name.endswith("b") or len(own["A"]) == (rank if name in params else 0))
            if weights[name].ndim == 2:
                adapted[name] = weights[name] + own["B"] @ own["A"]
        pairs = [(f"blocks.0.heads.{h}.q.W", f"blocks.0.heads.{h}.k.W") for h in range(heads)]
        for first, second in [*pairs, ("blocks.0.ffn.2.W", "head.W")]:
            products = []
            for net in (weights, target, adapted):
                right = net[second].T if second.endswith("k.W") else net[second]
                products.append(right @ net[first])
            frozen, goal, reached = products
            values = np.append(np.linalg.svd(goal - frozen, compute_uv=False), [0.0, 0.0])
            within(abs(np.linalg.norm(goal - reached, 2) - values[2 * rank]), 1e-7)


@claim("A3.2", OURS, "values and outputs, D = 3: rank 1 is exact for 29 of 40 random pairs")
def test_a_scale_of_the_hidden_units_lowers_the_rank_of_values():
    """One block with one head. z = t z̄ is the target with t W̄_1, t b̄_1 and W̄_2 / t, and
    rank(t F W̄_O W̄_V − W_O W_V) = 2 where t is an eigenvalue of (F W̄_O W̄_V)⁻¹ W_O W_V. If there is
    a positive one, rank 1 on W_V and W_O is exact instead of ⌈3 / 2⌉ = 2.
    """
    v, o = "blocks.0.heads.0.v.W", "blocks.0.heads.0.o.W"
    w1, b1, w2 = "blocks.0.ffn.1.W", "blocks.0.ffn.1.b", "blocks.0.ffn.2.W"
    lowered = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        weights, target = (network(rng, 3, 1, 1, well_conditioned) for _ in range(2))
        goal = np.linalg.solve(weights[w1], target[w1]) @ target[o] @ target[v]
        t = np.linalg.eigvals(np.linalg.solve(goal, weights[o] @ weights[v]))
        t = t[(abs(t.imag) < 1e-9) & (t.real > 0)].real
        exactly(sufficient_ranks(weights, target)[v] == 2)
        if not len(t):
            continue
        lowered += 1
        scaled = target | {w1: t[0] * target[w1], b1: t[0] * target[b1], w2: target[w2] / t[0]}
        ranks = sufficient_ranks(weights, scaled)
        exactly(ranks[v] == ranks[o] == 1)
        params = transformer_adapters(weights, scaled, ranks, rng=rng)
        adapters = {name: LoRA(R) for name, R in ranks.items()} | {"*.b": Full()}
        X = rng.standard_normal((2, 6, 3))
        wanted = plain_transformer(target, X)
        got = plain_transformer(attach(weights, adapters, rng=rng).bind(params), X)
        within(np.max(np.abs(got - wanted)), 1e-6 * max(1, np.max(np.abs(wanted))))
    exactly(lowered == 29)


@pytest.mark.parametrize("wrong", [-1, 4, 1.5, True, "2", {}, {"head.W": 1}, [1, 1]])
def test_a_wrong_rank_is_named(wrong, rng):
    weights, target = (network(rng, 3, 1, 1, well_conditioned) for _ in range(2))
    with pytest.raises(ValueError, match=r"^rank must"):
        transformer_adapters(weights, target, wrong)
    ranks = sufficient_ranks(weights, target)
    for name in (min(ranks), "head.W"):
        for wrong in (-1, 4):
            with pytest.raises(ValueError, match=rf"^rank\['{re.escape(name)}'\] must"):
                transformer_adapters(weights, target, ranks | {name: wrong})
    with pytest.raises(ValueError, match=r"^rank must .* but differs in \['c', 'head\.W'\]$"):
        transformer_adapters(weights, target, ranks | {"c": ranks.pop("head.W")})


@claim("A3.3", OURS, "the adapters found hold for any mask, scale and length")
@given(seeds, widths, head_counts, depths, st.integers(2, 6), kinds)
def test_the_same_adapters_hold_for_every_mask_scale_and_length(
    seed, width, heads, depth, length, kind
):
    """What makes the networks equal is found without knowing mask, scale or length, and holds for
    all of them.

    To this many digits it does if no W_2 before the last block is close to singular: W_2⁻¹ enters
    the scores twice.
    """
    rng = np.random.default_rng(seed)
    weights, target = (
        network(rng, width, heads, depth, kind),
        network(rng, width, heads, depth, kind),
    )
    assume(
        max((np.linalg.cond(weights[f"blocks.{b}.ffn.2.W"]) for b in range(depth - 1)), default=1)
        < 1e3
    )
    bound = attach_plain(weights, rng=rng).bind(transformer_adapters(weights, target, rng=rng))
    odd = np.eye(length, dtype=bool) | (rng.random((length, length)) < 0.5)
    for n, mask, scale in (
        (length, causal, width**-0.5),
        (length + 7, causal, 1.0),
        (1, no_mask, 3.0),
        (length, lambda n: odd, -1.5),
    ):
        X = 2 * rng.standard_normal((n, width))
        wanted = plain_transformer(target, X, mask, scale)
        error = np.max(np.abs(plain_transformer(bound, X, mask, scale) - wanted))
        within(error, 1e-6 * max(1, np.max(np.abs(wanted))))


@claim("A3.3", OURS, "the adapters found hold for any function of the scores, not only softmax")
@given(
    seeds,
    widths,
    head_counts,
    depths,
    st.sampled_from([np.tanh, np.square, lambda s: np.maximum(s, 0)]),
)
def test_any_function_of_the_scores_may_replace_softmax(seed, width, heads, depth, shares):
    """The scores themselves are equal, so all that is computed from them is."""
    rng = np.random.default_rng(seed)
    weights, target = (network(rng, width, heads, depth, well_conditioned) for _ in range(2))
    merged = attach_plain(weights, rng=rng).merge(transformer_adapters(weights, target, rng=rng))
    X = rng.standard_normal((3, width))
    wanted = by_the_book(target, X, causal(3), shares=shares)
    error = np.max(np.abs(by_the_book(merged, X, causal(3), shares=shares) - wanted))
    within(error, 1e-6 * max(1, np.max(np.abs(wanted))))


@claim("A3.4", OURS, "residual path: ⌈D/2⌉ on the heads, W_1, W_2, W_o in full")
@given(seeds, widths, head_counts, depths, st.integers(1, 5), kinds)
def test_with_a_residual_path_the_feed_forward_part_is_matched_in_full(
    seed, width, heads, depth, length, kind
):
    """With x ← x + a and x ← x + h: ranks ⌈D/2⌉ on heads, all else the target's own, is exact."""
    rng = np.random.default_rng(seed)
    weights, target = (
        network(rng, width, heads, depth, kind),
        network(rng, width, heads, depth, kind),
    )
    attached = attach_residual(weights, rng=rng)
    params = residual_adapters(weights, target, rng=rng)
    X = rng.standard_normal((2, length, width))
    wanted = plain_transformer(target, X, causal, residual=True)
    error = np.max(
        np.abs(plain_transformer(attached.bind(params), X, causal, residual=True) - wanted)
    )
    within(error, 1e-8 * max(1, np.max(np.abs(wanted))))
    for name in params:
        if ".heads." in name:
            exactly(
                params[name]["A"].shape == params[name]["B"].T.shape == ((width + 1) // 2, width)
            )


@claim("A3.4", OURS, "residual path, generic networks: the plain construction fails")
@given(seeds, st.integers(2, 6), head_counts, depths)
def test_with_a_residual_path_the_plain_construction_fails(seed, width, heads, depth):
    """The skip path carries x itself, past the change of basis C: the outputs differ by more than 1
    %.
    """
    rng = np.random.default_rng(seed)
    weights, target = (network(rng, width, heads, depth, well_conditioned) for _ in range(2))
    bound = attach_plain(weights, rng=rng).bind(transformer_adapters(weights, target, rng=rng))
    X = rng.standard_normal((8, 3, width))
    wanted = plain_transformer(target, X, residual=True)
    error = np.max(np.abs(plain_transformer(bound, X, residual=True) - wanted))
    at_least(error, 0.01 * np.max(np.abs(wanted)))


@claim("A3.4", OURS, "residual, no mask, W_1 ≠ W̄_1 frozen, z = z̄, N ≥ 2: no adapters of heads")
@given(seeds, st.integers(1, 6))
def test_with_a_residual_path_and_w_1_frozen_no_values_matrix_is_exact(seed, width):
    """W_1 (x + M c) = W̄_1 (x + W̄_O W̄_V c) for all tokens x and their contexts c has no solution
    M, of whatever rank and with whatever bias; for a single token c = x, and it has one.
    """
    rng = np.random.default_rng(seed)
    W1, target_W1, values, scores = (well_conditioned(rng, width) for _ in range(4))
    assume(np.linalg.norm(W1 - target_W1) > 0.1)
    for length in (1, 4):
        X = rng.standard_normal((40, length, width))
        P = np.exp(X @ scores @ X.swapaxes(1, 2))
        contexts = (P / P.sum(axis=2, keepdims=True) @ X).reshape(-1, width)
        X = X.reshape(-1, width)
        missing = X @ (target_W1 - W1).T + contexts @ (target_W1 @ values).T
        known = np.hstack([contexts, np.ones((len(X), 1))])
        left = np.linalg.norm(missing - known @ np.linalg.lstsq(known, missing, rcond=None)[0])
        if length == 1:
            within(left, 1e-10 * np.linalg.norm(missing))
        else:
            at_least(left, 0.01 * np.linalg.norm(X @ (target_W1 - W1).T))


def norm(X):
    width = X.shape[-1]
    return layer_norm(
        {"norm.gain": np.ones(width), "norm.bias": np.zeros(width)}, "norm", X, eps=0.0
    )


def mean_zero_part(rng, width):
    """Q: a random orthogonal matrix on the vectors of mean zero, 0 on (1, …, 1)."""
    rest = np.linalg.svd(np.full((width, 1), width**-0.5))[0][:, 1:]
    return rest @ haar(rng, width - 1) @ rest.T


@claim("A3.4", OURS, "LayerNorm, ε = 0: norm(C h) = C' norm(h) for C = c Q + 1 mᵀ, C' = ±Q")
@given(seeds, st.integers(2, 6), st.sampled_from([-3.0, -1.0, 0.1, 1.0, 2.0]))
def test_layer_norm_lets_some_changes_of_basis_pass(seed, width, c):
    """Q orthogonal on the vectors of mean zero, Q 1 = 0, c ≠ 0 and any m; 2 I and multiples of
    permutations are among them.
    """
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((8, width))
    assume(np.min(np.std(X, axis=1)) > 1e-2)
    Q, m = mean_zero_part(rng, width), rng.standard_normal(width)
    permutation = np.eye(width)[rng.permutation(width)]
    for C, passed in (
        (c * Q + m, np.sign(c) * Q),
        (2 * np.eye(width), np.eye(width)),
        (c * permutation, np.sign(c) * permutation),
    ):
        within(np.max(np.abs(norm(X @ C.T) - norm(X) @ passed.T)), 1e-9)


@claim("A3.4", OURS, "LayerNorm, D ≥ 3: no C' for a generic C, W̄_2 W_2⁻¹ or one flipped sign")
@given(seeds, st.integers(3, 6))
def test_layer_norm_stops_other_changes_of_basis(seed, width):
    """The C' of least squares over 200 inputs leaves more than 1 % of the outputs, for a C of the
    construction, an orthogonal one and a sign.
    """
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((200, width))
    flip = np.eye(width)
    flip[0, 0] = -1
    construction = well_conditioned(rng, width) @ np.linalg.inv(well_conditioned(rng, width))
    for C in (construction, np.linalg.qr(rng.standard_normal((width, width)))[0], flip):
        moved = norm(X @ C.T)
        passed = np.linalg.lstsq(norm(X), moved, rcond=None)[0]
        at_least(np.linalg.norm(moved - norm(X) @ passed), 0.01 * np.linalg.norm(moved))


@claim("A3.4", OURS, "LayerNorm, ε = 0, C = 2 I or 2 Q + 1 mᵀ, W_2 frozen: rank ⌈D/2⌉ is exact")
@pytest.mark.parametrize("seed", range(10))
def test_a_network_with_layer_norm_is_matched_where_c_passes(seed):
    """Two blocks, the second with norm before it, and a target with W̄_2 = C W_2, b̄_2 = C b_2 in the
    first block: the heads of the second get C' for C, and its outputs z are equal.
    """
    rng = np.random.default_rng(seed)
    D = 4
    for c, Q, m in ((2.0, np.eye(D), 0.0), (2.0, mean_zero_part(rng, D), rng.standard_normal(D))):
        weights, target = (network(rng, D, 2, 2, well_conditioned) for _ in range(2))
        w2, b2 = "blocks.0.ffn.2.W", "blocks.0.ffn.2.b"
        target[w2] = (c * Q + m) @ weights[w2]
        target[b2] = (c * Q + m) @ weights[b2]
        params = {}
        for block, C in (("blocks.0", np.eye(D)), ("blocks.1", Q)):
            w1 = f"{block}.ffn.1.W"
            F = np.linalg.solve(weights[w1], target[w1])
            params |= adapt_heads(weights, target, block, C, F, 2, rng=rng)
        half = attach(weights, {"*.heads.*": LoRA(2)}, rng=rng).merge(params)
        for name in ("blocks.0.ffn.1.b", "blocks.1.ffn.1.b"):
            half[name] = target[name]
        X = rng.standard_normal((5, D))
        outputs = []
        for net in (half, target):
            first, second = (
                {f"blocks.0{name[8:]}": W for name, W in net.items() if name.startswith(block)}
                for block in ("blocks.0", "blocks.1")
            )
            eye = {"head.W": np.eye(D)}
            h = norm(plain_transformer(first | eye, X))
            z = {"blocks.0.ffn.2.W": np.eye(D), "blocks.0.ffn.2.b": np.zeros(D)}
            outputs.append(plain_transformer(second | z | eye, h))
        within(np.max(np.abs(outputs[0] - outputs[1])), 1e-10 * max(1, np.max(outputs[1])))


@claim("A3.4", OURS, "gate, generic networks: the construction fails, it requires two F")
@given(seeds, st.integers(2, 6))
def test_two_matrices_in_place_of_w_1_have_no_common_solution(seed, width):
    """W_g F = W̄_g and W_u F = W̄_u together have no solution F; the least squares one misses by
    more than 1 %.
    """
    rng = np.random.default_rng(seed)
    W, target = (np.vstack([well_conditioned(rng, width) for _ in range(2)]) for _ in range(2))
    F = np.linalg.lstsq(W, target, rcond=None)[0]
    at_least(np.linalg.norm(W @ F - target), 0.01 * np.linalg.norm(target))


def reach(between, rank, *, rng):
    """The dimension of what adapters of this rank on W_Q and W_K reach: all products W'_Kᵀ S W'_Q
    for S in `between`.

    It is the rank of the derivative at random adapters, so with rank = D it is the dimension of all
    targets.
    """
    width = len(between[0])
    Q, K, B_q, B_k = (
        rng.standard_normal(shape) for shape in 2 * [(width, width)] + 2 * [(width, rank)]
    )
    A_q, A_k = rng.standard_normal((2, rank, width))
    Q, K = Q + B_q @ A_q, K + B_k @ A_k
    columns = []
    for row in range(width):
        for column in range(rank):
            unit = np.zeros((width, rank))
            unit[row, column] = 1
            for change in (unit @ A_q, B_q @ unit.T):
                columns.append(np.ravel([K.T @ S @ change for S in between]))
            for change in (unit @ A_k, B_k @ unit.T):
                columns.append(np.ravel([change.T @ S @ Q for S in between]))
    return np.linalg.matrix_rank(np.array(columns), tol=1e-8)


def stacked(width, heads):
    """W_Kᵀ S_h W_Q are the scores of head h, whose rows are those that S_h keeps."""
    return [
        np.diag(np.repeat(np.arange(heads) == head, width // heads).astype(float))
        for head in range(heads)
    ]


@claim("A3.5", OURS, "stacked heads: almost no target below rank D − D/√(2H), by dimensions")
@pytest.mark.parametrize("width, heads", [(2, 2), (3, 3), (4, 2), (4, 4), (6, 2), (6, 3), (6, 6)])
def test_stacked_heads_need_more_than_half_the_rank(width, heads, rng):
    """Adapters of rank R on stacked W_Q and W_K, H ≥ 2, reach 2R(2D − R) of the D(2D − D/H)
    dimensions of the scores of all heads; so below R = D − D/√(2H), more than D/2 from three heads
    on, almost no target is reached.
    """
    targets = reach(stacked(width, heads), width, rng=rng)
    exactly(targets == width * (2 * width - width // heads))
    for rank in range(1, width):
        reached = reach(stacked(width, heads), rank, rng=rng)
        exactly(reached == min(targets, 2 * rank * (2 * width - rank)), f"rank {rank}")
        exactly((reached < targets) == (rank < width - width / np.sqrt(2 * heads)), f"rank {rank}")


@claim("A3.5", OURS, "a single head: almost no target below rank D/2, by counting dimensions")
@pytest.mark.parametrize("width", [2, 4, 6])
def test_a_single_head_needs_half_the_rank(width, rng):
    """What adapters of rank R < D/2 add to W_Kᵀ W_Q has rank 2R, so they reach 4R(D − R) of its D²
    dimensions.
    """
    for rank in range(1, width + 1):
        reached = reach([np.eye(width)], rank, rng=rng)
        exactly(
            reached == (width**2 if 2 * rank >= width else 4 * rank * (width - rank)),
            f"rank {rank}",
        )


def rotations(width):
    """RoPE's block rotations R for the distances 0 to 4."""
    between = []
    for distance in range(5):
        angles = [distance * 0.7 / 3**pair for pair in range(width // 2)]
        between.append(np.zeros((width, width)))
        for pair, angle in enumerate(angles):
            c, s = np.cos(angle), np.sin(angle)
            between[-1][2 * pair : 2 * pair + 2, 2 * pair : 2 * pair + 2] = [[c, -s], [s, c]]
    return between


@claim("A3.4", OURS, "RoPE, D = 4, 6: almost no target has adapters of rank D/2, by dimensions")
@pytest.mark.parametrize("width", [4, 6])
def test_with_rotated_positions_half_the_rank_is_not_enough(width, rng):
    """W_Kᵀ R W_Q for the rotations R of the distances 0 to 4 has more dimensions than adapters of
    rank D/2 reach.
    """
    between = rotations(width)
    at_least(reach(between, width, rng=rng) - reach(between, width // 2, rng=rng), 1)
    exactly(reach(between[:1], width // 2, rng=rng) == width**2)


def test_with_rotated_positions_counting_excludes_no_target_of_two_inputs(rng):
    assert reach(rotations(2), 2, rng=rng) == reach(rotations(2), 1, rng=rng) == 6


@claim("A3.5", OURS, "stacked heads: G Q, G⁻ᵀ K keeps the scores iff G is block-diagonal")
@given(seeds, st.integers(2, 3), st.integers(1, 3))
def test_stacked_heads_leave_only_a_change_of_basis_within_each_head(seed, heads, rows):
    """With one pair of matrices for all heads, W_Q → G W_Q and W_K → G⁻ᵀ W_K keeps the scores of
    every head if G is block-diagonal, and not if it mixes two heads.
    """
    rng = np.random.default_rng(seed)
    width = heads * rows
    Q, K, G = (well_conditioned(rng, width) for _ in range(3))
    blocks = sum(S @ G @ S for S in stacked(width, heads)) + 3 * np.eye(width)
    mixing = np.eye(width)
    mixing[0, -1] = 1.0
    for change, mixes in ((blocks, False), (mixing, True)):
        new_Q, new_K = change @ Q, np.linalg.inv(change).T @ K
        error = max(
            np.linalg.norm(new_K.T @ S @ new_Q - K.T @ S @ Q, 2) for S in stacked(width, heads)
        )
        if mixes:
            at_least(error, 0.1)
        else:
            within(error, 1e-10)


@claim("A3.5", OURS, "a head of generic d_h × D matrices, 2 d_h ≤ D, needs adapters of rank d_h")
@given(seeds, st.integers(1, 3), st.integers(0, 2))
def test_a_narrow_head_needs_adapters_of_full_rank(seed, rows, more):
    """When W_Q and W̄_Q (d_h, D) have 2 d_h independent rows, W'_Q = G W̄_Q differs from W_Q by
    rank d_h.
    """
    rng = np.random.default_rng(seed)
    Q, target = rng.standard_normal((2, rows, 2 * rows + more))
    floor = np.linalg.svd(np.vstack([Q, target]), compute_uv=False)[-1]
    assume(floor > 1e-3)
    for size in (0.0, 0.1, 1.0, 10.0):
        G = size * rng.standard_normal((rows, rows))
        at_least(np.linalg.svd(G @ target - Q, compute_uv=False)[-1], floor * (1 - 1e-9))


@pytest.mark.parametrize("part", ["q", "k", "v", "o"])
def test_a_rotation_by_a_right_angle_is_found_at_a_second_attempt(part, rng):
    """I becomes a rotation by 90° as a product of two reflections, which are rank-1 changes, but
    not of any two.
    """
    eye = {name: np.eye(2) if W.ndim == 2 else W for name, W in network(rng, 2, 1, 1).items()}
    target = eye | {f"blocks.0.heads.0.{part}.W": np.array([[0.0, -1.0], [1.0, 0.0]])}
    X = rng.standard_normal((3, 2))
    for construct, adapted, residual in (
        (transformer_adapters, attach_plain(eye, rng=rng), False),
        (residual_adapters, attach_residual(eye, rng=rng), True),
    ):
        got = plain_transformer(adapted.bind(construct(eye, target, rng=rng)), X, residual=residual)
        np.testing.assert_allclose(
            got, plain_transformer(target, X, residual=residual), rtol=0, atol=1e-10
        )


def test_the_arguments_are_unchanged(rng):
    weights, target = network(rng, 3, 2, 2), network(rng, 3, 2, 2)
    before = [array.copy() for array in (*weights.values(), *target.values())]
    for construct in (transformer_adapters, residual_adapters):
        params = construct(weights, target)
        for array in leaves(params):
            array += 1.0  # the params are arrays of their own
    for array, old in zip((*weights.values(), *target.values()), before):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("construct", [transformer_adapters, residual_adapters])
def test_params_have_the_dtype_of_the_weights(construct, rng):
    weights, target = (network(rng, 4, 2, 2, well_conditioned) for _ in range(2))
    weights = {name: W.astype(np.float32) for name, W in weights.items()}
    assert {array.dtype for array in leaves(construct(weights, target))} == {np.dtype(np.float32)}
    if construct is transformer_adapters:
        X = rng.standard_normal((3, 4))
        wanted = plain_transformer(target, X)
        got = plain_transformer(attach_plain(weights, rng=rng).bind(construct(weights, target)), X)
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4 * np.max(np.abs(wanted)))


@claim("A3.2", OURS, "target's inner W_2 singular: exact if it reaches the bias")
@given(seeds, st.integers(2, 6), head_counts)
def test_a_singular_inner_target_asks_for_a_bias_in_its_column_space(seed, width, heads):
    """C = W̄_2 W_2⁻¹ is singular with W̄_2, and C b_2 = b̄_2 has a solution if and only if W̄_2 z =
    b̄_2 has one.
    """
    rng = np.random.default_rng(seed)
    weights, target = (network(rng, width, heads, 2, well_conditioned) for _ in range(2))
    W2, b2 = "blocks.0.ffn.2.W", "blocks.0.ffn.2.b"
    target[W2][-1] = 0.0
    target[b2][-1] = 1.0
    with pytest.raises(Unsolvable, match=r"C b_2 = b̄_2"):
        transformer_adapters(weights, target, rng=rng)
    target[b2][-1] = 0.0
    X = rng.standard_normal((3, width))
    wanted = plain_transformer(target, X)
    got = plain_transformer(
        attach_plain(weights, rng=rng).bind(transformer_adapters(weights, target, rng=rng)), X
    )
    within(np.max(np.abs(got - wanted)), 1e-6 * max(1, np.max(np.abs(wanted))))


def wrong_networks():
    rng = np.random.default_rng(0)
    weights, target = (network(rng, 3, 2, 2) for _ in range(2))
    W1 = "blocks.0.ffn.1.W"
    W2 = "blocks.0.ffn.2.W"
    b1 = "blocks.0.ffn.1.b"
    q = "blocks.1.heads.1.q.W"
    k = "blocks.1.heads.1.k.W"
    zero = np.zeros((3, 3))
    headless = {name: W for name, W in weights.items() if name != "head.W"}
    renamed = {name.replace("heads.1", "heads.x"): W for name, W in weights.items()}
    gap = {name.replace("blocks.1", "blocks.2"): W for name, W in weights.items()}
    yield (
        "another width",
        r"^target\['blocks\.0\.heads\.0\.q\.W'\] must have shape \(3, 3\), got \(4, 4\)",
        weights,
        network(rng, 4, 2, 2),
    )
    yield (
        "more heads",
        r"^target must have the names of weights, .*'blocks\.0\.heads\.2\.q\.W'",
        weights,
        network(rng, 3, 3, 2),
    )
    yield (
        "fewer blocks",
        r"^target must have the names of weights, .*'blocks\.1\.heads\.0\.q\.W'",
        weights,
        network(rng, 3, 2, 1),
    )
    for argument in ("weights", "target"):
        for id, bad, message in (
            ("no head", headless, r"must have a model's names: missing \['head\.W'\]"),
            ("renamed", renamed, r"must have a model's names: .*unknown .*'blocks\.0\.heads\.x\.k"),
            ("gap", gap, r"must have a model's names: missing .*'blocks\.1\..*'blocks\.2\."),
            ("more", weights | {"c": zero}, r"must have a model's names: .*unknown \['c'\]"),
            ("empty", {}, r"must have a model's names"),
            (
                "no block",
                {"head.W": zero},
                r"must have a model's names: missing \['blocks\.0\.ffn\.1\.W', .*1\.b', .*2\.W', "
                r".*2\.b', .*k\.W', .*o\.W', .*q\.W', .*v\.W'\], unknown \[\]",
            ),
            *(
                (id, networks, r"must have a model's names: missing \['blocks\.2\..*'blocks\.9\.c'")
                for id, networks in (
                    ("a third block at last", weights | {"blocks.9.c": zero}),
                    ("a third block at first", {"blocks.9.c": zero} | weights),
                )
            ),
            (
                "a number",
                weights | {0: zero, "c": zero},
                r"must have a model's names: .*\[0, 'c'\]",
            ),
            ("None", None, r"must be a dict"),
            ("list", list(weights.values()), r"must be a dict"),
            (
                "narrow",
                weights | {q: zero[:2]},
                rf"\['{q}'\] must have shape \(3, 3\), got \(2, 3\)",
            ),
            (
                "long",
                weights | {b1: np.zeros(4)},
                rf"\['{b1}'\] must have shape \(3,\), got \(4,\)",
            ),
            ("integers", weights | {q: np.eye(3, dtype=int)}, rf"\['{q}'\] must be .*got int64"),
            ("half", weights | {q: np.eye(3, dtype=np.float16)}, rf"\['{q}'\] must be .*float16"),
            ("lists", weights | {q: zero.tolist()}, rf"\['{q}'\] must be an array"),
            ("NaN", weights | {k: zero * np.nan}, rf"\['{k}'\] must be finite"),
        ):
            space = "" if message.startswith(r"\[") else " "
            networks = {"weights": weights, "target": target, argument: bad}
            yield f"{argument}: {id}", f"^{argument}{space}{message}", *networks.values()
    yield "scalar", r"^weights\['head\.W'\] must", weights | {"head.W": np.float64(1)}, target
    yield (
        "W_1 = 0",
        r"^weights, target: blocks\.0: W_1 F = W̄_1 has no solution",
        weights | {W1: zero},
        target,
    )
    yield (
        "W_2 = 0",
        r"^weights, target: blocks\.0: C W_2 = W̄_2 has no solution",
        weights | {W2: zero},
        target,
    )
    yield (
        "Q = K = 0",
        r"^weights: .*blocks\.1\.heads\.1\.q\.W and blocks\.1\.heads\.1\.k\.W",
        weights | {q: zero, k: zero},
        target,
    )


@pytest.mark.parametrize(
    "message, weights, target", [pytest.param(*rest, id=wrong) for wrong, *rest in wrong_networks()]
)
def test_networks_that_cannot_be_matched_are_a_value_error(message, weights, target, rng):
    with pytest.raises(ValueError, match=message):
        transformer_adapters(weights, target, rng=rng)
    if "no solution" not in message:
        with pytest.raises(ValueError, match=message):
            residual_adapters(weights, target, rng=rng)


def test_a_singular_last_output_asks_for_a_bias_that_it_reaches(rng):
    weights, target = network(rng, 3, 1, 1), network(rng, 3, 1, 1)
    target["blocks.0.ffn.2.W"][:] = 0.0
    weights["head.W"][:], weights["blocks.0.ffn.2.W"][:] = 0.0, 0.0
    with pytest.raises(
        Unsolvable, match=r"^weights, target: blocks\.0: W'_o b_2 = W̄_o b̄_2 has no solution"
    ):
        transformer_adapters(weights, target, rng=rng)


def plain_pair():
    """Two equal networks of identities with biases 0."""
    weights = {name: np.eye(2) for name in network(np.random.default_rng(0), 2, 1, 1)}
    weights |= {name: np.zeros(2) for name in weights if name.endswith("b")}
    return weights, dict(weights)


@pytest.mark.parametrize("size", [0.1, 10.0])
def test_an_equation_may_miss_by_one_part_in_a_million(size):
    """W_1 = diag(1, 0) cannot make W̄_1, of Frobenius norm `size`, by the entry beside it."""
    weights, target = plain_pair()
    w1 = "blocks.0.ffn.1.W"
    weights[w1] = np.diag([1.0, 0])
    target[w1] = np.diag([size, 0.95e-6 * size])
    transformer_adapters(weights, target)
    target[w1] = np.diag([size, 1.05e-6 * size])
    with pytest.raises(Unsolvable, match=r"W_1 F = W̄_1 has no solution"):
        transformer_adapters(weights, target)


def test_an_equation_is_solved_up_to_a_condition_of_1e10():
    """W_1 = diag(1, ε) on the left of F, and W̄_1 = I."""
    weights, target = plain_pair()
    w1 = "blocks.0.ffn.1.W"
    weights[w1] = np.diag([1.0, 1.05e-10])
    transformer_adapters(weights, target)
    weights[w1] = np.diag([1.0, 0.95e-10])
    with pytest.raises(Unsolvable, match=r"W_1 F = W̄_1 has no solution"):
        transformer_adapters(weights, target)


def test_no_rank_for_the_heads_is_no_adapter(rng):
    weights, target = (network(rng, 3, 2, 1) for _ in range(2))
    assert adapt_heads(weights, target, "blocks.0", np.eye(3), np.eye(3), 0) == {}


def test_an_impossible_input_is_a_value_error(rng):
    weights = network(rng, 3, 1, 1)
    X = np.ones((2, 3))
    wrong = [
        {"X": wrong}
        for wrong in (np.ones(3), np.ones((2, 4)), np.ones((0, 3)), np.ones((2, 3), int), None)
    ]
    wrong += [{"X": X.tolist()}, {"X": X * np.nan}, {"X": X.astype(np.float16)}]
    wrong += [{"scale": wrong} for wrong in (None, "1", np.nan, np.inf, 1j, np.ones(1))]
    wrong += [
        {"mask": wrong}
        for wrong in (
            None,
            np.eye(2, dtype=bool),
            lambda length: np.array([[False, False], [True, True]]),
            lambda length: causal(length + 1),
            lambda length: np.log(np.eye(length) + 1),
        )
    ]
    wrong += [
        {"weights": wrong}
        for wrong in (
            None,
            [],
            {},
            weights | {"blocks.x.ffn.1.W": np.eye(3)},
            {name.replace("heads.0", "heads.1"): W for name, W in weights.items()},
            {name: W for name, W in weights.items() if name != "head.W"},
        )
    ]
    with pytest.raises(ValueError, match=r"^weights must .* try attached\.bind\(params\)"):
        plain_transformer(attach_plain(weights, rng=rng), X)
    for given_wrong in wrong:
        (name,) = given_wrong
        with pytest.raises(ValueError, match=rf"^{name} must"):
            plain_transformer(**{"weights": weights, "X": X, **given_wrong})


def test_a_wrong_argument_of_adapt_heads_is_named(rng):
    weights, target = network(rng, 3, 1, 1), network(rng, 3, 1, 1)
    right = {"weights": weights, "target": target, "block": "blocks.0", "C": np.eye(3)}
    right |= {"F": np.eye(3), "rank": 2}
    wrong = [{"block": wrong} for wrong in ("blocks.1", 0, None, "blocks", ["blocks.0"])]
    wrong += [{name: None} for name in ("weights", "target", "C", "F", "rank")]
    wrong += [{name: np.eye(2)} for name in ("weights", "target", "C", "F", "rank")]
    wrong += [{"rank": wrong} for wrong in (-1, 4, 1.5, True)]
    for given_wrong in wrong:
        (name,) = given_wrong
        with pytest.raises(ValueError, match=rf"^{name} must"):
            adapt_heads(**{**right, **given_wrong})
    for construct in (transformer_adapters, residual_adapters):
        with pytest.raises(ValueError, match=r"^rng must"):
            construct(weights, target, rng=0)


def test_any_weights_will_do(rng):
    """Four-bit matrices are changed as their dense ones are."""
    weights, target = (network(rng, 4, 2, 2, well_conditioned) for _ in range(2))
    quantized = {name: quantize(W) if W.ndim == 2 else W for name, W in weights.items()}
    dense = {name: np.asarray(W) for name, W in quantized.items()}
    for construct in (transformer_adapters, residual_adapters):
        found = construct(quantized, target)
        for name, own in construct(dense, target).items():
            for key, array in own.items():
                np.testing.assert_array_equal(found[name][key], array)


def test_the_two_of_a_pair_may_have_unlike_ranks(rng):
    weights, target = (network(rng, 4, 1, 1, well_conditioned) for _ in range(2))
    ranks = dict.fromkeys(sufficient_ranks(weights, target), 2)
    ranks |= {"blocks.0.heads.0.q.W": 1, "blocks.0.heads.0.k.W": 3}
    params = transformer_adapters(weights, target, ranks)
    assert {name: len(params[name]["A"]) for name in ranks} == ranks


def test_ranks_for_unknown_weights_are_named(rng):
    weights, target = (network(rng, 3, 1, 1, well_conditioned) for _ in range(2))
    ranks = sufficient_ranks(weights, target)
    with pytest.raises(ValueError, match=r"^rank must .* but differs in \['other'\]$"):
        transformer_adapters(weights, target, ranks | {"other": 1})


@pytest.mark.parametrize("width", [1, 2, 4])
def test_inputs_of_another_width_are_named(width, rng):
    with pytest.raises(ValueError, match=r"^X must be"):
        plain_transformer(network(rng, 3, 1, 1), np.ones((5, width)))


def test_a_target_may_have_adapters_already(rng):
    weights, target = (network(rng, 3, 1, 1, well_conditioned) for _ in range(2))
    bound = attach(target, {"*.W": LoRA(1)}, rng=rng).bind()
    one, other = (transformer_adapters(weights, goal) for goal in (target, bound))
    for name, own in one.items():
        for letter, array in own.items():
            np.testing.assert_allclose(other[name][letter], array, rtol=1e-9, atol=1e-12)
