"""Biases and low-rank adapters turn a generic ReLU network into any smaller ReLU network.

The network is `relu_mlp`, with a ReLU after every layer, the last included. Cut its L frozen layers
into runs P_1, …, P_L̄, one for each layer of the target f̄. Within a run, biases lift all ReLUs but
the last onto their linear side, so that the run is one product of matrices; the adapters of
`theorems.linear` turn that product into the target's W̄_i:

    frozen    x ─ relu W_1 ─ relu W_2 ─ relu W_3 ─ relu W_4 ─ relu W_5
    target    x ─ ─ ─  relu W̄_1 ─ ─ ─ ─ ─ ─ ─ ─ ─ relu W̄_2 ─ ─ ─ ─ ─

    P_1 = {1, 2}, P_2 = {3, 4, 5}, written as the partition (2, 3)

    f(x) = f̄(x) for all ‖x‖ ≤ ρ  if  R ≥ max_i ⌈rank(W̄_i − ∏_{l ∈ P_i} W_l) / |P_i|⌉
    ‖f(x) − f̄(x)‖ is bounded     if  R is smaller

`sufficient_rank` is the right side of the first line, `error_bounds` are for the second. Smaller
means no deeper and, in all layers, no wider. Both lines hold where `adapt_product` succeeds on all
runs, as it does for W_l in general position.

Narrower targets. The target's w units are the first w of the frozen layer, and biases make the
others dead, always 0. So a run has to become W̄_i only between the first inputs and the first
outputs: adapters of these sub-matrices do it, ∏ W_l above stands for their product, and R =
⌈w / |P_i|⌉ suffices. Copies of the frozen product's rows would work too; a target padded with
zeros in rows and columns would take more rank.

Is that much rank necessary? No. For a diagonal D > 0 and a permutation Π,
relu(D Π z) = D Π relu(z): hidden units of the target may be scaled and permuted, which changes
every W̄_i − ∏ W_l but not f̄. For some of these forms less rank may suffice. `align_units` finds
those units that are a positive multiple of one of the frozen product's; a search over all scales
and orders it is not. Nor does anything force a network to work in runs.

What the construction takes:
- The ball: beyond radius ρ the ReLUs inside a run can clip.
- Biases. Without any, f(t x) = t f(x) for all t > 0, so f(0) = 0, and no other target is reached.
  Frozen biases other than 0 can replace tuned ones in some cases; we know no theorem.
- Something to train in the first layer, its weight or its bias. With both frozen, a W_1 of
  independent rows and a unit that is off in the ball, it confuses inputs, and a target that tells
  them apart is not reached (`theorems.witness`). For an invertible W_1 the bias alone is enough if
  its run has other layers with the rank that it takes.

Zeng & Lee, 2023, arXiv 2310.17513, on ReLU networks; their lemma on the first layer freezes both.
Departures: the offsets that lift the ReLUs are computed from bounds, for every x in the ball and no
larger than necessary, since large ones cost digits; their bound on the expected error is here one
for every x; runs may differ in length where that lowers the rank (`best_partition`); sub-matrices
and dead units; `align_units`.
"""

from typing import NamedTuple

import numpy as np

from minilora.checks import check_count, check_positive, check_rank
from minilora.models.mlp import mlp
from minilora.ops import relu
from minilora.theorems.chain import (
    add_adapters,
    chain_product,
    check_counts,
    gap_rank,
    mlp_layers,
)
from minilora.theorems.linear import adapt_product, best_change


def relu_mlp(weights, x):
    """f(x) = relu(mlp(weights, x)): (..., d_in) -> (..., d_out)."""
    return relu(mlp(weights, x))


def uniform_partition(depth, target_depth):
    """How many frozen layers each layer of the target gets: ⌊L / L̄⌋, the last the remainder too.

    Raises ValueError unless depth and target_depth are integers with 1 ≤ L̄ ≤ L.
    """
    check_count("depth", depth)
    check_count("target_depth", target_depth, most=depth)
    length, remainder = divmod(depth, target_depth)
    return (*[length] * (target_depth - 1), length + remainder)


def best_partition(weights, target):
    """A partition with the smallest `sufficient_rank`, by dynamic programming over the target.

    Raises ValueError for networks that do not chain, and when no partition fits: the target is
    deeper or wider, or the frozen network has an inner width below the target's.
    """
    Ws = [W for W, _ in mlp_layers("weights", weights)]
    best = {0: (0, ())}  # number of frozen layers used -> (rank that takes, partition of them)
    for W_bar, _ in mlp_layers("target", target):
        extended = {}
        for start, (rank, partition) in best.items():
            for stop in range(start + 1, len(Ws) + 1):
                enough = max(rank, _rank_of_run(Ws[start:stop], W_bar))
                option = (enough, (*partition, stop - start))
                extended[stop] = min(option, extended.get(stop, option))
        best = extended
    rank, partition = best.get(len(Ws), (np.inf, ()))
    if rank == np.inf:
        raise ValueError(f"target fits no partition of {len(Ws)} frozen layers: too deep or wide")
    return partition


def sufficient_rank(weights, target, partition):
    """max_i ⌈rank(W̄_i − ∏ W_l) / |P_i|⌉, a rank that suffices for `relu_adapters`.

    Where the construction succeeds, it is exact from this rank on. It may be 0, for which
    `relu_adapters` wants a list of zeros. A smaller rank may suffice for another form of the same
    target: `align_units`. Differences are counted as `gap_rank` does, in float64.

    Raises ValueError for weights, target or partition as `relu_adapters` does.
    """
    runs = _cut(weights, target, partition)
    return max(_rank_of_run(run.Ws, run.W_bar) for run in runs)


def align_units(weights, target, partition):
    """The target with hidden units scaled and permuted so that rows of W̄_i are rows of ∏ W_l.

    It computes f̄ as before. Layer by layer, a unit whose row is a positive multiple of a row of
    the frozen product, to ten digits, takes that row's position and size; the others fill the
    remaining positions in order. The frozen network itself, permuted and scaled, is restored if no
    two rows of a layer are parallel and none is zero. (Networks in float32 have no ten digits, so
    there it need not be.)

    Raises ValueError for weights, target or partition as `relu_adapters` does.
    """
    aligned = {}
    inputs = None  # the last layer's D Π, whose inverse this layer must undo
    runs = _cut(weights, target, partition)
    for i, run in enumerate(runs):
        W_bar = run.W_bar if inputs is None else run.W_bar @ np.linalg.inv(inputs)
        inputs = np.eye(len(W_bar))
        if i < len(runs) - 1:
            inputs = _match_rows(W_bar, chain_product(_part_of_run(run.Ws, W_bar)))
        dtype = target[f"layers.{i}.W"].dtype
        aligned[f"layers.{i}.W"] = (inputs @ W_bar).astype(dtype)
        aligned[f"layers.{i}.b"] = (inputs @ run.b_bar).astype(dtype)
    return aligned


def _match_rows(W_bar, P):
    """D Π with the rows of D Π W̄ equal to those of P where a row of W̄ is a positive multiple."""
    norms = np.linalg.norm(P, axis=1), np.linalg.norm(W_bar, axis=1)
    sizes = np.outer(*norms)
    apart = norms[1][:, None] * P[:, None] - norms[0][:, None, None] * W_bar
    parallel = np.linalg.norm(apart, axis=2) < 1e-10 * sizes
    D_Pi = np.zeros((len(P), len(W_bar)))
    for place, unit in np.argwhere(parallel):
        if not (np.any(D_Pi[place]) or np.any(D_Pi[:, unit])):
            D_Pi[place, unit] = norms[0][place] / norms[1][unit]
    free = [np.flatnonzero(~np.any(D_Pi, axis=axis)) for axis in (1, 0)]
    D_Pi[free[0], free[1]] = 1.0
    return D_Pi


def relu_adapters(weights, target, rank, partition, radius, *, rng=None):
    """Adapters and biases with which the frozen network is the target on ‖x‖ ≤ radius, or near it.

    weights, target: of two MLPs, the target no deeper and no wider. If it has fewer inputs, it gets
    the first entries of x, and the others must be 0; if it has fewer outputs, they are the first of
    f, and the others are 0.
    rank: one for all layers, or a list with one for each, in which 0 means no adapter. Where the
    ranks of a run add up to less than rank(W̄_i − ∏ W_l), f is near the target only. partition: how
    many frozen layers replace each layer of the target. rng: for the retries of `adapt_product`.

    Returns params for `attach(weights, {"*.W": LoRA(rank), "*.b": Full()}, rng=rng)`; a weight with
    a side below the rank gets adapters of the rank min(rank, d_out, d_in), so attach
    LoRA(min(rank, d_out, d_in)) there. They have the dtype of the weights.

    Raises ValueError for networks that do not chain, a rank below 1, or in a list below 0 or above
    min(d_out, d_in), a radius ≤ 0, and a partition that does not add up to the frozen layers or
    whose runs have no room for the target; Unsolvable, with the Ws of one run, as `adapt_product`
    does.
    """
    params = {}
    layer = 0
    for run in _cut(weights, target, partition, rank, radius):
        adapters = _adapt_run(run, rng=rng)
        adapted = add_adapters(run.Ws, adapters)
        width = run.W_bar.shape[1]
        biases, radius = _lifting_biases(adapted, width, run.b_bar, radius, nonnegative=layer > 0)
        for factors, b in zip(adapters, biases):
            W_name = f"layers.{layer}.W"
            b_name = f"layers.{layer}.b"
            dtype = weights[W_name].dtype
            if len(factors["A"]):
                params[W_name] = {name: array.astype(dtype) for name, array in factors.items()}
            params[b_name] = {"W": b.astype(weights[b_name].dtype)}
            layer += 1
    return params


def _adapt_run(run, *, rng):
    """Adapters for the Ws of a run, zero beside the sub-matrices that become the target's W̄."""
    part = _part_of_run(run.Ws, run.W_bar)
    ranks = [min(R, *W.shape) for R, W in zip(run.ranks, part)]
    found = adapt_product(part, run.W_bar, ranks, rng=rng)
    return [
        {"A": _in_corner(own["A"], (R, W.shape[1])), "B": _in_corner(own["B"], (len(W), R))}
        for own, W, R in zip(found, run.Ws, run.ranks)
    ]


def _in_corner(array, shape):
    """Zeros of a shape, but for the array in the upper left corner."""
    return np.pad(array, [(0, whole - part) for whole, part in zip(shape, array.shape)])


def _lifting_biases(Ws, width, b_bar, radius, nonnegative):
    """([b_1, b_2, …], radius): biases that make a run z -> relu(M z + b̄), a vector in that radius.

    M = ∏ W_l. It does so for the z in the domain of `_max_over_ball` whose entries from `width` on
    are 0. Layer l computes G_l z + c_l with G_l = W_l … W_1. The smallest offset c_l that keeps its
    ReLU on the linear side is max_z −G_l z, hence

        b_l = c_l − W_l c_{l−1} for all layers but the last,    b = b̄ − W c for the last.

    The units that b̄ lacks are dead: there −1 − 2 max_z M z replaces b̄, low enough that rounding
    turns none on, unless the product of the layers' norms is so far above ‖M‖ that it reaches 1.
    """
    *inner, last = Ws
    d_in = Ws[0].shape[1]
    G = np.eye(d_in, width)
    offset = np.zeros(d_in)
    biases = []
    for W in inner:
        G = W @ G
        # A little more, so that rounding at the edge of the ball clips nothing.
        lift = (1 + 1e-9) * _max_over_ball(-G, radius, nonnegative)
        biases.append(lift - W @ offset)
        offset = lift
    M = last @ G
    alive = len(b_bar)
    dead = -1 - 2 * _max_over_ball(M[alive:], radius, nonnegative)
    b = np.concatenate([b_bar, dead])
    radius = np.linalg.norm(M[:alive], 2) * radius + np.linalg.norm(b_bar)
    return [*biases, b - last @ offset], radius


def _max_over_ball(G, radius, nonnegative):
    """max_z G z for every row of G over ‖z‖ ≤ radius.

    nonnegative: over z ≥ 0 alone, where only max(G, 0) counts, as it is after the first run.
    """
    rows = np.maximum(G, 0) if nonnegative else G
    return radius * np.linalg.norm(rows, axis=1)


def error_bounds(weights, target, rank, partition, radius):
    """(sharp, plain): two bounds on ‖f(x) − f̄(x)‖ over ‖x‖ ≤ radius, f by `relu_adapters`.

    A run becomes M_i, the best approximation of W̄_i within reach, and misses it by
    E_i = σ_{k+1}(W̄_i − ∏ W_l), with k the sum of its ranks. As relu increases no distance, the
    error δ_i and the size z_i ≥ ‖z̄_i‖ after i layers obey

        δ_i = ‖M_i‖ δ_{i−1} + E_i z_{i−1},    z_i = ‖W̄_i‖ z_{i−1} + ‖b̄_i‖,   δ_0 = 0, z_0 = ‖x‖

    sharp is δ_L̄ for ‖x‖ = radius. plain is max_{i < L̄} z_i · Σ_i m^(L̄−i) E_i with m =
    max_k (‖W̄_k‖_F + E_k), and sharp ≤ plain. Since δ_L̄ is linear in ‖x‖ but for a constant, the
    mean of ‖f(x) − f̄(x)‖ over random x in the ball of `relu_adapters` is bounded in the same way:
    put the mean of ‖x‖, or the root of the mean of ‖x‖², for the radius.

    Raises ValueError as `relu_adapters` does.
    """
    sharp = 0.0
    sizes = [radius]
    misses = []
    slopes = []
    for run in _cut(weights, target, partition, rank, radius):
        part = _part_of_run(run.Ws, run.W_bar)
        ranks = [min(R, *W.shape) for R, W in zip(run.ranks, part)]
        Q, C = best_change(part, run.W_bar, ranks)
        M = chain_product(part) + Q @ C
        miss = np.linalg.norm(run.W_bar - M, 2)
        sharp = np.linalg.norm(M, 2) * sharp + miss * sizes[-1]
        sizes.append(np.linalg.norm(run.W_bar, 2) * sizes[-1] + np.linalg.norm(run.b_bar))
        misses.append(miss)
        slopes.append(np.linalg.norm(run.W_bar) + miss)
    m = max(slopes)
    depth = len(misses)
    plain = max(sizes[:-1]) * sum(m ** (depth - i) * E for i, E in enumerate(misses, start=1))
    return sharp, plain


class _Run(NamedTuple):
    """Frozen layers, the earliest first, and the layer of the target that they are to become."""

    Ws: list
    W_bar: np.ndarray
    b_bar: np.ndarray
    ranks: list  # one for each of the Ws


def _cut(weights, target, partition, rank=1, radius=1.0):
    """The runs, the earliest first. Raises ValueError for all arguments of `relu_adapters`."""
    check_positive("radius", radius)
    Ws = [W for W, _ in mlp_layers("weights", weights)]
    wanted = mlp_layers("target", target)
    ranks = rank
    if isinstance(rank, (list, tuple)):
        check_counts("rank", rank, least=0, most=[min(W.shape) for W in Ws])
    else:
        check_rank(rank)
        ranks = [min(rank, *W.shape) for W in Ws]
    check_counts("partition", partition, least=1, most=[len(Ws)] * len(wanted))
    if sum(partition) != len(Ws):
        raise ValueError(f"partition must have the sum {len(Ws)}, got {partition!r}")
    runs = []
    start = 0
    for length, (W_bar, b_bar) in zip(partition, wanted):
        own = slice(start, start + length)
        start += length
        if _rank_of_run(Ws[own], W_bar) == np.inf:
            shapes = [W.shape for W in Ws[own]]
            raise ValueError(f"partition: a run of shapes {shapes} has no room for {W_bar.shape}")
        runs.append(_Run(Ws[own], W_bar, b_bar, ranks[own]))
    return runs


def _rank_of_run(Ws, W_bar):
    """⌈rank(W̄ − ∏ W_l) / len(Ws)⌉, ∏ of the sub-matrices; inf if a width is below those of W̄."""
    d_out, d_in = W_bar.shape
    inner = [len(W) for W in Ws[:-1]]
    if d_out > len(Ws[-1]) or d_in > Ws[0].shape[1] or any(w < max(W_bar.shape) for w in inner):
        return np.inf
    return int(np.ceil(gap_rank(_part_of_run(Ws, W_bar), W_bar) / len(Ws)))


def _part_of_run(Ws, W_bar):
    """The Ws without the inputs of the first and the outputs of the last that W̄ does not have."""
    part = list(Ws)
    part[0] = part[0][:, : W_bar.shape[1]]
    part[-1] = part[-1][: len(W_bar)]
    return part
