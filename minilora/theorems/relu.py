"""Which ReLU networks can low-rank adapters and tuned biases reach? All no deeper and no wider.

The network is `relu_mlp`, with a ReLU after every layer, the last included. Cut its L frozen layers
into runs P_1, …, P_L̄, one for each layer of the target f̄. Within a run, biases lift all ReLUs but
the last onto their linear side, so that the run is one product of matrices; the adapters of
`theorems.linear` turn that product into the target's W̄_i:

    frozen    x ─ relu W_1 ─ relu W_2 ─ relu W_3 ─ relu W_4 ─ relu W_5
    target    x ─ ─ ─  relu W̄_1 ─ ─ ─ ─ ─ ─ ─ ─ ─ relu W̄_2 ─ ─ ─ ─ ─

    P_1 = {1, 2}, P_2 = {3, 4, 5}, written as the partition (2, 3)

    f(x) = f̄(x) for all ‖x‖ ≤ ρ  if  R ≥ max_i ⌈rank(W̄_i − ∏_{l ∈ P_i} W_l) / |P_i|⌉
    ‖f(x) − f̄(x)‖ is bounded     if  R is smaller

`needed_rank` is the right side of the first line, `error_bounds` are for the second. This holds for
runs on which `adapt_product` succeeds. A narrower target lacks some units; in their place biases
make dead ones, which are always 0. Whatever concerns only them may stay frozen, so that
R = ⌈w / |P_i|⌉ suffices where the target has the width w. Copies of the frozen product's rows would
do as well, rows of zeros would need more.

What cannot be spared: the ball, for no bias lifts every x; the biases, for without them
f(t x) = t f(x) for all t > 0; and an adapter on the first layer, unless none of its ReLUs clips
where the target varies (`witness`).

Zeng & Lee, 2023, arXiv 2310.17513, on ReLU networks. Departures: the offsets that lift the ReLUs
are computed from bounds, for every x in the ball and no larger than that takes, since large ones
cost digits; runs may differ in length where that lowers the rank (`best_partition`); and the dead
units.
"""

import numpy as np

from minilora.checks import as_float64_matrix, check_count, check_positive, check_rank, check_rng
from minilora.models.mlp import mlp
from minilora.ops import relu
from minilora.theorems.chain import (
    add_adapters,
    chain_product,
    check_array,
    check_counts,
    check_network,
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
    """A partition with the smallest `needed_rank`, by dynamic programming over the target's layers.

    Raises ValueError for networks that do not chain, and when no partition fits: the target is
    deeper or wider, or the frozen network has an inner width below those at the ends of a run.
    """
    Ws = [W for W, _ in _layers("weights", weights)]
    best = {0: (0, ())}  # number of frozen layers used -> (rank that takes, partition of them)
    for W_bar, _ in _layers("target", target):
        extended = {}
        for start, (rank, partition) in best.items():
            for stop in range(start + 1, len(Ws) + 1):
                needed = max(rank, _rank_of_run(Ws[start:stop], W_bar))
                option = (needed, (*partition, stop - start))
                extended[stop] = min(option, extended.get(stop, option))
        best = extended
    rank, partition = best.get(len(Ws), (np.inf, ()))
    if rank == np.inf:
        raise ValueError(f"target fits no partition of {len(Ws)} frozen layers: too deep or wide")
    return partition


def needed_rank(weights, target, partition):
    """max_i ⌈rank(W̄_i − ∏ W_l) / |P_i|⌉: from this rank on `relu_adapters` is exact.

    Raises ValueError for weights, target or partition as `relu_adapters` does.
    """
    runs = _cut(weights, target, partition)
    return max(_rank_of_run(Ws, W_bar) for Ws, W_bar, _, _ in runs)


def relu_adapters(weights, target, rank, partition, radius, *, rng=None):
    """Adapters and biases with which the frozen network is the target on ‖x‖ ≤ radius, or near it.

    weights, target: of two MLPs, the target no deeper and no wider. If it has fewer inputs, it gets
    the first entries of x, and the others must be 0; if it has fewer outputs, they are the first of
    f, and the others are 0.
    rank: below `needed_rank` f is near the target only. partition: how many frozen layers replace
    each layer of the target. rng: for the retries of `adapt_product`.

    Returns params for `attach(weights, {"*.W": LoRA(rank), "*.b": Full()}, rng=rng)`; a weight with
    a side below the rank gets adapters of that rank. They have the dtype of the weights.

    Raises ValueError for networks that do not chain, a rank below 1, a radius ≤ 0, and a partition
    that does not add up to the frozen layers or whose runs have no room for the target; Unsolvable,
    with the Ws of one run, as `adapt_product` does.
    """
    params = {}
    layer = 0
    for Ws, W_bar, b_bar, ranks in _cut(weights, target, partition, rank, radius):
        adapters = adapt_product(Ws, _goal_of_run(Ws, W_bar), ranks, rng=rng)
        adapted = add_adapters(Ws, adapters)
        width = W_bar.shape[1]
        biases, radius = _lifting_biases(adapted, width, b_bar, radius, nonnegative=layer > 0)
        for factors, b in zip(adapters, biases):
            W_name = f"layers.{layer}.W"
            b_name = f"layers.{layer}.b"
            dtype = weights[W_name].dtype
            params[W_name] = {name: array.astype(dtype) for name, array in factors.items()}
            params[b_name] = {"W": b.astype(weights[b_name].dtype)}
            layer += 1
    return params


def _lifting_biases(Ws, width, b_bar, radius, nonnegative):
    """([b_1, b_2, …], radius): biases that make a run z -> relu(M z + b̄), a vector in that radius.

    M = ∏ W_l. It does so for the z in the domain of `_max_over_ball` whose entries from `width` on
    are 0. Layer l gets to G_l z + c_l with G_l = W_l … W_1. The smallest offset c_l that keeps its
    ReLU on the linear side is max_z −G_l z, hence

        b_l = c_l − W_l c_{l−1} for all layers but the last,    b = b̄ − W c for the last.

    The units that b̄ lacks are dead: there −1 − 2 max_z M z replaces b̄, low enough that rounding
    wakes none.
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
    E_i = σ_{R |P_i| + 1}(W̄_i − ∏ W_l). As relu moves no two points apart, the error δ_i and the
    size z_i ≥ ‖z̄_i‖ after i layers obey

        δ_i = ‖M_i‖ δ_{i−1} + E_i z_{i−1},    z_i = ‖W̄_i‖ z_{i−1} + ‖b̄_i‖,   δ_0 = 0, z_0 = radius

    sharp is δ_L̄. plain is max_{i < L̄} z_i · Σ_i m^(L̄−i) E_i with m = max_k (‖W̄_k‖_F + E_k), and
    sharp ≤ plain. Raises ValueError as `relu_adapters` does.
    """
    sharp = 0.0
    sizes = [radius]
    misses = []
    slopes = []
    for Ws, W_bar, b_bar, ranks in _cut(weights, target, partition, rank, radius):
        Q, C = best_change(Ws, _goal_of_run(Ws, W_bar), ranks)
        M = (chain_product(Ws) + Q @ C)[: len(W_bar), : W_bar.shape[1]]
        miss = np.linalg.norm(W_bar - M, 2)
        sharp = np.linalg.norm(M, 2) * sharp + miss * sizes[-1]
        sizes.append(np.linalg.norm(W_bar, 2) * sizes[-1] + np.linalg.norm(b_bar))
        misses.append(miss)
        slopes.append(np.linalg.norm(W_bar) + miss)
    m = max(slopes)
    depth = len(misses)
    plain = max(sizes[:-1]) * sum(m ** (depth - i) * E for i, E in enumerate(misses, start=1))
    return sharp, plain


def witness(weights, target, radius, *, rng, draws=1000):
    """(x, x', bound): inputs in the ball that the frozen first layer confuses, but not the target.

    x' = x + 2 z_j W_1⁻¹ e_j triples one pre-activation z_j < 0 of the first layer and keeps the
    others, so its ReLU hides the difference. A network with this first layer, whatever follows,
    errs at x or at x' by at least the bound ‖f̄(x) − f̄(x')‖ / 2. It is the largest found in
    `draws` random x.

    Raises ValueError when none is found: W_1 has dependent rows, no unit is off in the ball, or the
    target is constant; and when an argument is impossible.
    """
    W, b = _layers("weights", weights)[0]
    d_in = W.shape[1]
    target_W, _ = _layers("target", target)[0]
    check_array("target['layers.0.W']", target_W, (len(target_W), d_in))
    check_positive("radius", radius)
    check_count("draws", draws)
    check_rng(rng)
    x = rng.uniform(-1, 1, (draws, d_in)) * (radius / d_in**0.5)
    z = x @ W.T + b
    twins = x[:, None] + 2 * z[:, :, None] * np.linalg.pinv(W).T  # (draws, units, d_in)
    hidden = (z < 0) & (np.linalg.norm(twins, axis=-1) <= radius)
    gaps = hidden * np.linalg.norm(relu_mlp(target, x)[:, None] - relu_mlp(target, twins), axis=-1)
    draw, unit = np.unravel_index(np.argmax(gaps), gaps.shape)
    if not gaps[draw, unit] > 0 or np.linalg.matrix_rank(W) < len(W):
        raise ValueError(f"weights: layer 0 hides nothing that was found within radius {radius}")
    return x[draw], twins[draw, unit], gaps[draw, unit] / 2


def _cut(weights, target, partition, rank=1, radius=1.0):
    """(Ws, W̄, b̄, a rank for each of the Ws) of every run, the earliest first.

    Raises ValueError for all arguments of `relu_adapters`.
    """
    check_rank(rank)
    check_positive("radius", radius)
    Ws = [W for W, _ in _layers("weights", weights)]
    wanted = _layers("target", target)
    check_counts("partition", partition, least=1, most=[len(Ws)] * len(wanted))
    if sum(partition) != len(Ws):
        raise ValueError(f"partition must have the sum {len(Ws)}, got {partition!r}")
    runs = []
    start = 0
    for length, (W_bar, b_bar) in zip(partition, wanted):
        run_Ws = Ws[start : start + length]
        start += length
        if _rank_of_run(run_Ws, W_bar) == np.inf:
            shapes = [W.shape for W in run_Ws]
            raise ValueError(f"partition: a run of shapes {shapes} has no room for {W_bar.shape}")
        runs.append((run_Ws, W_bar, b_bar, [min(rank, *W.shape) for W in run_Ws]))
    return runs


def _rank_of_run(Ws, W_bar):
    """⌈rank(W̄ − ∏ W_l) / len(Ws)⌉, where both have entries; inf if the run has no room for W̄.

    It has none if W̄ is larger than the product, or an inner width below the outer ones.
    """
    P = chain_product(Ws)
    too_large = len(W_bar) > len(P) or W_bar.shape[1] > P.shape[1]
    if too_large or any(len(W) < max(P.shape) for W in Ws[:-1]):
        return np.inf
    tolerance = 1e-10 * (np.linalg.norm(P, 2) + np.linalg.norm(W_bar, 2))
    rank = np.linalg.matrix_rank(_goal_of_run(Ws, W_bar) - P, tolerance)
    return int(np.ceil(rank / len(Ws)))


def _goal_of_run(Ws, W_bar):
    """What a run has to become: ∏ W_l with its upper-left block replaced by W̄."""
    goal = chain_product(Ws)
    goal[: len(W_bar), : W_bar.shape[1]] = W_bar
    return goal


def _layers(name, network):
    """[(W, b), …] of an MLP in float64, the earliest first.

    Raises ValueError unless network has the names of an MLP, in shapes that chain, all finite.
    """
    check_network(name, network, _mlp_names)
    layers = []
    for layer in range(len(network) // 2):
        path = f"{name}['layers.{layer}.W']"
        W = as_float64_matrix(path, network[f"layers.{layer}.W"])
        width = len(layers[-1][0]) if layers else W.shape[1]
        if W.shape[1] != width:
            raise ValueError(f"{path} must have {width} columns, got shape {W.shape}")
        b = network[f"layers.{layer}.b"]
        check_array(f"{name}['layers.{layer}.b']", b, (len(W),))
        layers.append((W, b.astype(np.float64)))
    return layers


def _mlp_names(network):
    """The names of the weights of an MLP with half as many layers as network has names."""
    depth = max(1, len(network) // 2)
    return {f"layers.{layer}.{part}" for layer in range(depth) for part in "Wb"}
