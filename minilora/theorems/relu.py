"""Which ReLU networks can low-rank adapters reach, if the biases are tuned too? All that are no deeper and no wider.

The network is `relu_mlp`, with a ReLU after every layer, the last included. Cut its L frozen layers into runs P_1, …,
P_L̄, one for each layer of the target f̄. Within a run, biases lift all ReLUs but the last onto their linear side, so
that the run is one product of matrices; the adapters of `theorems.linear` turn that product into the target's W̄_i:

    frozen    x ─ relu W_1 ─ relu W_2 ─ relu W_3 ─ relu W_4 ─ relu W_5        P_1 = {1, 2}, P_2 = {3, 4, 5},
    target    x ─ ─ ─  relu W̄_1 ─ ─ ─ ─ ─ ─ ─ ─ ─ relu W̄_2 ─ ─ ─ ─ ─          written as the partition (2, 3)

    f(x) = f̄(x) for all ‖x‖ ≤ ρ   if  R ≥ max_i ⌈rank(W̄_i − ∏_{l ∈ P_i} W_l) / |P_i|⌉        (`needed_rank`)
    ‖f(x) − f̄(x)‖ is bounded      if  R is smaller                                             (`error_bounds`)

This holds for runs on which `adapt_product` succeeds. A narrower target lacks some units; in their place biases make
dead ones, which are always 0. Whatever concerns only them may stay frozen (`corner`), so that R = ⌈w / |P_i|⌉ suffices
where the target has the width w. Copies of the frozen product's rows would do as well, rows of zeros would need more.

What cannot be spared: the ball, for no bias lifts every x; the biases, for without them f(t x) = t f(x) for all t > 0;
and an adapter on the first layer, unless none of its ReLUs clips where the target varies (`witness`).

Zeng & Lee, 2023, arXiv 2310.17513, on ReLU networks. Departures: the offsets that lift the ReLUs are computed from
bounds, for every x in the ball and no larger than that takes, since large ones cost digits; runs may differ in length
where that lowers the rank (`best_partition`); and the dead units.
"""

import numpy as np

from minilora.linalg import check_count, check_rank
from minilora.models.mlp import mlp, relu
from minilora.theorems.linear import adapt_product, adapted, best_change, product


def relu_mlp(weights, x):
    """f(x) = relu(mlp(weights, x)): (..., d_in) -> (..., d_out)."""
    return relu(mlp(weights, x))


def uniform_partition(depth, target_depth):
    """How many frozen layers each layer of the target gets: ⌊L / L̄⌋, and the last one the remainder too.

    Raises ValueError unless 1 ≤ L̄ ≤ L.
    """
    check_count("target_depth", target_depth, most=depth)
    share, rest = divmod(depth, target_depth)
    return (*[share] * (target_depth - 1), share + rest)


def best_partition(weights, target):
    """A partition with the smallest `needed_rank`, by dynamic programming over the target's layers.

    Raises ValueError for networks that do not chain, and when no partition fits: the target is deeper or wider, or the
    frozen network has an inner width below those at the ends of a run.
    """
    Ws = [W for W, _ in layers("weights", weights)]
    best = {0: (0, ())}  # how many frozen layers are used -> (the rank that takes, how they are cut)
    for W_bar, _ in layers("target", target):
        longer = {}
        for start, (rank, partition) in best.items():
            for stop in range(start + 1, len(Ws) + 1):
                option = max(rank, run_rank(Ws[start:stop], W_bar)), (*partition, stop - start)
                longer[stop] = min(option, longer.get(stop, option))
        best = longer
    rank, partition = best.get(len(Ws), (np.inf, ()))
    if rank == np.inf:
        raise ValueError(f"target fits no partition of the {len(Ws)} frozen layers: it is too deep or too wide")
    return partition


def needed_rank(weights, target, partition):
    """max_i ⌈rank(W̄_i − ∏ W_l) / |P_i|⌉: from this rank on `relu_adapters` is exact. Raises ValueError as that does."""
    return max(run_rank(Ws, W_bar) for Ws, W_bar, _, _ in runs(weights, target, partition))


def relu_adapters(weights, target, rank, partition, radius, rng=None):
    """Adapters and biases with which the frozen network is the target on ‖x‖ ≤ radius, or near it if the rank is small.

    weights, target: of two MLPs, the target no deeper and no wider. If it has fewer inputs, it gets the first entries
    of x, and the others must be 0; if it has fewer outputs, they are the first of f, and the others are 0.
    partition: how many frozen layers stand for each layer of the target. rng: for the retries of `adapt_product`.

    Returns params for `attach(weights, {"*.W": LoRA(rank), "*.b": Full()}, rng)`; a weight with a side below the rank
    gets adapters of that rank. They have the dtype of the weights.

    Raises ValueError for networks that do not chain, a rank below 1, a radius ≤ 0, and a partition that does not add up
    to the frozen layers or whose runs have no room for the target; Unsolvable, with the Ws of one run, as
    `adapt_product` does.
    """
    params = {}
    for Ws, W_bar, b_bar, ranks in runs(weights, target, partition, rank, radius):
        own = adapt_product(Ws, corner(Ws, W_bar), ranks, rng=rng)
        biases, radius = lifting_biases(adapted(Ws, own), W_bar.shape[1], b_bar, radius, first=not params)
        for AB, b in zip(own, biases):
            layer = len(params) // 2
            params |= {f"layers.{layer}.W": AB, f"layers.{layer}.b": {"W": b}}
    return {name: {key: a.astype(weights[name].dtype) for key, a in own.items()} for name, own in params.items()}


def lifting_biases(Ws, width, b_bar, radius, first):
    """([b_1, b_2, …], radius): with these biases a run maps z to relu(M z + b̄), M = ∏ W_l, a vector in that radius.

    It does so for the z in the domain of `highest` whose entries from `width` on are 0. Layer l gets to G_l z + c_l
    with G_l = W_l … W_1. The smallest offset c_l that keeps its ReLU on the linear side is max_z −G_l z, hence

        b_l = c_l − W_l c_{l−1} for all layers but the last,    b = b̄ − W c for the last.

    The units that b̄ lacks are dead: there −1 − 2 max_z M z stands for b̄, low enough that rounding wakes none.
    """
    G, offset, biases = np.eye(Ws[0].shape[1], width), np.zeros(Ws[0].shape[1]), []
    for W in Ws[:-1]:
        G = W @ G
        lift = (1 + 1e-9) * highest(-G, radius, first)  # so that rounding at the edge of the ball clips nothing
        biases.append(lift - W @ offset)
        offset = lift
    M, alive = Ws[-1] @ G, len(b_bar)
    b = np.concatenate([b_bar, -1 - 2 * highest(M[alive:], radius, first)])
    radius = np.linalg.norm(M[:alive], 2) * radius + np.linalg.norm(b_bar)
    return [*biases, b - Ws[-1] @ offset], radius


def highest(G, radius, first):
    """max_z G z for every row of G over ‖z‖ ≤ radius and, after the first run, z ≥ 0: there only max(G, 0) counts."""
    return radius * np.linalg.norm(G if first else np.maximum(G, 0), axis=1)


def error_bounds(weights, target, rank, partition, radius):
    """(sharp, plain): two bounds on ‖f(x) − f̄(x)‖ over ‖x‖ ≤ radius for the f of `relu_adapters`; sharp ≤ plain.

    A run becomes M_i, the best approximation of W̄_i within reach, and misses it by E_i = σ_{R |P_i| + 1}(W̄_i − ∏ W_l).
    As relu moves no two points apart, the error δ_i and the size z_i ≥ ‖z̄_i‖ after i layers obey

        δ_i = ‖M_i‖ δ_{i−1} + E_i z_{i−1},    z_i = ‖W̄_i‖ z_{i−1} + ‖b̄_i‖,    δ_0 = 0, z_0 = radius

    sharp is δ_L̄. plain is max_{i < L̄} z_i · Σ_i m^(L̄−i) E_i with m = max_k (‖W̄_k‖_F + E_k).
    """
    error, sizes, misses, slopes = 0.0, [radius], [], []
    for Ws, W_bar, b_bar, ranks in runs(weights, target, partition, rank, radius):
        Q, C = best_change(Ws, corner(Ws, W_bar), ranks)
        M = (product(Ws) + Q @ C)[: len(W_bar), : W_bar.shape[1]]
        misses.append(np.linalg.norm(W_bar - M, 2))
        slopes.append(np.linalg.norm(W_bar) + misses[-1])
        error = np.linalg.norm(M, 2) * error + misses[-1] * sizes[-1]
        sizes.append(np.linalg.norm(W_bar, 2) * sizes[-1] + np.linalg.norm(b_bar))
    return error, max(sizes[:-1]) * sum(max(slopes) ** i * miss for i, miss in enumerate(reversed(misses)))


def witness(weights, target, radius, rng, draws=1000):
    """(x, x', bound): two inputs in the ball that the frozen first layer confuses but the target does not.

    x' = x + 2 z_j W_1⁻¹ e_j triples one pre-activation z_j < 0 of the first layer and keeps the others, so its ReLU
    hides the difference. A network with this first layer, whatever follows, errs at x or at x' by at least the bound
    ‖f̄(x) − f̄(x')‖ / 2. It is the largest found in so many draws of x.

    Raises ValueError when none is found: W_1 has dependent rows, no unit is off in the ball, or the target is constant.
    """
    W, b = layers("weights", weights)[0]
    x = rng.uniform(-1, 1, (draws, W.shape[1])) * (radius / W.shape[1] ** 0.5)
    z = x @ W.T + b
    twins = x[:, None] + 2 * z[:, :, None] * np.linalg.pinv(W).T
    hidden = (z < 0) & (np.linalg.norm(twins, axis=-1) <= radius)
    gaps = hidden * np.linalg.norm(relu_mlp(target, x)[:, None] - relu_mlp(target, twins), axis=-1)
    draw, unit = np.unravel_index(np.argmax(gaps), gaps.shape)
    if not gaps[draw, unit] > 0 or np.linalg.matrix_rank(W) < len(W):
        raise ValueError(f"weights: layer 0 of shape {W.shape} hides nothing that was found within radius {radius}")
    return x[draw], twins[draw, unit], gaps[draw, unit] / 2


def runs(weights, target, partition, rank=1, radius=1.0):
    """Check all arguments, then yield (Ws, W̄, b̄, a rank for each of the Ws) of every run, bottom first."""
    check_rank(rank)
    Ws, wanted = [W for W, _ in layers("weights", weights)], layers("target", target)
    if not 0 < radius < np.inf:
        raise ValueError(f"radius must be a positive number, got {radius}")
    if len(partition) != len(wanted) or min(partition) < 1 or sum(partition) != len(Ws):
        raise ValueError(f"partition must be {len(wanted)} whole numbers ≥ 1 of sum {len(Ws)}, got {partition}")
    for length, (W_bar, b_bar) in zip(partition, wanted):
        run, Ws = Ws[:length], Ws[length:]
        if run_rank(run, W_bar) == np.inf:
            raise ValueError(f"partition: a run of shapes {[W.shape for W in run]} has no room for {W_bar.shape}")
        yield run, W_bar, b_bar, [min(rank, *W.shape) for W in run]


def run_rank(Ws, W_bar):
    """⌈rank(W̄ − ∏ W_l) / len(Ws)⌉, where both have entries; inf if W̄ is too large or an inner width below the outer."""
    P = product(Ws)
    if len(W_bar) > len(P) or W_bar.shape[1] > P.shape[1] or any(len(W) < max(P.shape) for W in Ws[:-1]):
        return np.inf
    tolerance = 1e-10 * (np.linalg.norm(P, 2) + np.linalg.norm(W_bar, 2))
    return int(np.ceil(np.linalg.matrix_rank(corner(Ws, W_bar) - P, tolerance) / len(Ws)))


def corner(Ws, W_bar):
    """∏ W_l with W̄ in the place of its upper left corner: what the run has to become, whatever goes to dead units."""
    goal = product(Ws)
    goal[: len(W_bar), : W_bar.shape[1]] = W_bar
    return goal


def layers(name, net):
    """[(W, b), …] of an MLP in float64, bottom first. Raises ValueError unless its shapes chain and all is finite."""
    found = []
    while not found or f"layers.{len(found)}.W" in net:
        W, b = (np.asarray(net.get(f"layers.{len(found)}.{letter}", np.nan)) for letter in "Wb")
        d_in = (len(found[-1][1]),) if found else W.shape[1:2]
        if W.shape != (b.size, *d_in) or W.dtype.kind != "f" or not np.isfinite(W.sum() + b.sum()):
            given = f"W {W.dtype} {W.shape} and b {b.shape}"
            raise ValueError(f"{name}: layers.{len(found)} must be finite floats in shapes that chain, got {given}")
        found.append((W.astype(float), b.astype(float)))
    return found
