"""Turn one Transformer into another of the same size with adapters of half the rank.

The network is as plain as it gets: no residual path, no LayerNorm, every head with D × D matrices of its own. For the
tokens x_i of a sequence, each block computes

    a_i = Σ_heads W_O W_V Σ_j p_ij x_j,      p_i = softmax over j of s · x_jᵀ (W_Kᵀ W_Q) x_i
    z_i = relu(W_1 a_i + b_1),      h_i = W_2 z_i + b_2,      and h_i is the next block's x_i; at the end y_i = W_o h_i.

Theorem. Let a target have the same shape; its arrays wear a bar. Adapters of rank ⌈D/2⌉ on W_Q, W_K, W_V and W_O of
every head, on the last W_2 and on W_o, with new biases b_1 and b_2, make the two networks equal: for every input, every
length, every mask and scale, and with any function of the scores in the place of softmax. All W_1, and all W_2 but the
last, stay frozen. It holds if all matrices of both networks are invertible, and whenever the equations below can be
solved.

Proof. Aim for z = z̄, for the ReLU fixes these coordinates. Then h̄ = C h after the block with C = W̄_2 W_2⁻¹, and C = I
before the first. All that a block does between x̄ = C x and z̄ is done by products of two matrices, and a bias:

    scores    W'_Kᵀ W'_Q = Cᵀ W̄_Kᵀ W̄_Q C
    values    W'_O W'_V  = F W̄_O W̄_V C,      F = W_1⁻¹ W̄_1 so that W_1 F = W̄_1, and b'_1 = b̄_1
    biases    C b'_2 = b̄_2;  in the last block W'_o b'_2 = W̄_o b̄_2
    output    W'_o W'_2  = W̄_o W̄_2           with the W_2 of the last block

A product of two D × D matrices reaches any target once its adapters have rank D together: `adapt_product`. ∎

Where it stops, and why. C and F must pass through all that stands between two matrices of a pair.
- A residual path carries h itself, so that C = I: W_1, W_2 and W_o have to be replaced in full (`residual_adapters`).
- LayerNorm: norm(C h) = C norm(h) for all h only if C maps (1, …, 1) to a multiple of itself and is orthogonal on the
  vectors of mean zero, such as a permutation. W̄_2 W_2⁻¹ is not like that.
- RoPE turns W_Kᵀ W_Q into W_Kᵀ R W_Q with another rotation R for each distance: many products, but two matrices.
- A gated feed-forward part has two matrices in the place of W_1, and each asks for an F of its own.
- Stacked heads: one D × D matrix whose rows are divided among H heads, with one adapter. Adapters of rank R on W_Q and
  W_K have 2R(2D − R) degrees of freedom, but the scores of all heads have D(2D − D/H). Hence almost no target can be
  reached below R = D − D/√(2H), which is above D/2 from three heads on. This is a count, not a construction: it does
  not prove that this R is enough, nor does it speak of any one target.

The theorem is from Zeng & Lee, 2023, arXiv 2310.17513. Departures: they invert matrices where `adapt_product` and least
squares solve equations here, which some singular matrices pass. The residual variant and the reasons above are ours.
"""

import autograd.numpy as np

from minilora.linalg import linear
from minilora.models.mlp import relu
from minilora.models.transformer import allowed_by, everything, softmax
from minilora.theorems.linear import Unsolvable, adapt_product


def plain_transformer(weights, X, mask=everything, scale=1.0, residual=False):
    """y for tokens X: (…, N, D) -> (…, N, D).

    weights: matrices (D, D) "blocks.0.heads.0.q.W", …k.W, …v.W, …o.W, "blocks.0.ffn.1.W", …2.W and "head.W" = W_o, or
    adapted ones, and biases (D,) "blocks.0.ffn.1.b", …2.b. mask: N -> (N, N), True where a query (row) may see a key
    (column). scale: s. residual: whether x ← x + a and x ← x + h stand in the place of x ← a and x ← h.

    Raises ValueError when X is not (…, N, D), or when mask(N) is not boolean, (N, N), with a key for every query.
    """
    if np.ndim(X) < 2:
        raise ValueError(f"X must be (…, N, D), one row for each token, got shape {np.shape(X)}")
    allowed = allowed_by(mask, np.shape(X)[-2])
    for block in parts(weights, "blocks"):
        a = sum(attention(weights, head, X, allowed, scale) for head in parts(weights, f"{block}.heads"))
        X = X + a if residual else a
        z = relu(linear(weights[f"{block}.ffn.1.W"], X) + weights[f"{block}.ffn.1.b"])
        h = linear(weights[f"{block}.ffn.2.W"], z) + weights[f"{block}.ffn.2.b"]
        X = X + h if residual else h
    return linear(weights["head.W"], X)


def attention(weights, head, X, allowed, scale):
    """One head: W_O Σ_j p_ij W_V x_j for every token i."""
    q, k, v = (linear(weights[f"{head}.{part}.W"], X) for part in "qkv")
    scores = float(scale) * (q @ np.swapaxes(k, -1, -2))
    mixed = softmax(scores, allowed) @ v
    return linear(weights[f"{head}.o.W"], mixed)


def parts(weights, prefix):
    """The numbered parts below a prefix, in order: "blocks" -> ["blocks.0", "blocks.1", …]."""
    numbers = {name[len(prefix) + 1 :].split(".")[0] for name in weights if name.startswith(f"{prefix}.")}
    return [f"{prefix}.{number}" for number in sorted(numbers, key=int)]


def transformer_adapters(weights, target, rng=None):
    """Params that turn a plain Transformer into another: "A", "B" of rank ⌈D/2⌉ for matrices, "W" for biases.

        half = LoRA((D + 1) // 2)
        adapters = {"*.heads.*": half, f"blocks.{last}.ffn.2.W": half, "head.W": half, "*.b": Full()}
        attached = attach(weights, adapters, rng)
        plain_transformer(attached.bind(transformer_adapters(weights, target)), X)  # = plain_transformer(target, X)

    rng: lets `adapt_product` try again where its first split of the work between two matrices fails.
    Digits are lost where a W_2 below the last block is close to singular: the scores lose them with cond(W_2)².

    Raises ValueError when names or shapes differ, and Unsolvable, naming the layer, when an equation has no solution.
    """
    half = half_rank(weights, target)
    params, C = {}, np.eye(len(weights["head.W"]))
    blocks = parts(weights, "blocks")
    for block in blocks:
        w1, b1, w2, b2 = (f"{block}.ffn.{name}" for name in ("1.W", "1.b", "2.W", "2.b"))
        F = solve(weights[w1], target[w1], f"{block}: W_1 F = W̄_1")
        params |= adapt_heads(weights, target, block, C, F, half, rng)
        params[b1] = {"W": target[b1].astype(weights[b1].dtype)}
        if block != blocks[-1]:
            C = solve(weights[w2].T, target[w2].T, f"{block}: C W_2 = W̄_2").T
            b = solve(C, target[b2], f"{block}: C b_2 = b̄_2")
        else:
            output = target["head.W"] @ target[w2]
            params[w2], params["head.W"] = pair(weights[w2], weights["head.W"], output, half, rng, f"{w2} and head.W")
            adapted_head = weights["head.W"] + params["head.W"]["B"] @ params["head.W"]["A"]
            b = solve(adapted_head, target["head.W"] @ target[b2], f"{block}: W'_o b_2 = W̄_o b̄_2")
        params[b2] = {"W": b.astype(weights[b2].dtype)}
    return params


def residual_adapters(weights, target, rng=None):
    """Params that turn one plain Transformer with a residual path into another: ⌈D/2⌉ on heads, all else in full.

        adapters = {"*.heads.*": LoRA((D + 1) // 2), "*.ffn.*": Full(), "head.W": Full()}

    Each head computes the target's scores and values as they are, C = F = I. Raises as `transformer_adapters` does.
    """
    half, identity = half_rank(weights, target), np.eye(len(weights["head.W"]))
    params = {name: {"W": target[name].astype(W.dtype)} for name, W in weights.items() if ".heads." not in name}
    for block in parts(weights, "blocks"):
        params |= adapt_heads(weights, target, block, identity, identity, half, rng)
    return params


def adapt_heads(weights, target, block, C, F, rank, rng):
    """Params for all heads of a block: W'_Kᵀ W'_Q = Cᵀ W̄_Kᵀ W̄_Q C and W'_O W'_V = F W̄_O W̄_V C."""
    params = {}
    for head in parts(weights, f"{block}.heads"):
        q, k, v, o = (f"{head}.{part}.W" for part in "qkvo")
        scores = C.T @ target[k].T @ target[q] @ C
        values = F @ target[o] @ target[v] @ C
        params[q], turned = pair(weights[q], weights[k].T, scores, rank, rng, f"{q} and {k}")
        params[k] = {"A": turned["B"].T, "B": turned["A"].T}  # W'_Kᵀ = W_Kᵀ + B A, so W'_K = W_K + Aᵀ Bᵀ
        params[v], params[o] = pair(weights[v], weights[o], values, rank, rng, f"{v} and {o}")
    return params


def pair(lower, upper, goal, rank, rng, names):
    """Params of the given rank for both with upper' lower' = goal."""
    try:
        return adapt_product([lower, upper], goal, [rank, rank], rng=rng)
    except Unsolvable as error:
        raise Unsolvable(f"weights: rank {rank} on {names} misses the target's product: {error}") from error


def solve(M, Y, equation):
    """X with M X = Y. Raises Unsolvable when there is none."""
    M, Y = np.asarray(M, float), np.asarray(Y, float)
    X = np.linalg.lstsq(M, Y, rcond=1e-10)[0]
    if np.linalg.norm(M @ X - Y) > 1e-6 * np.linalg.norm(Y):
        raise Unsolvable(f"weights, target: {equation} has no solution: the matrix beside the unknown is singular")
    return X


def half_rank(weights, target):
    """⌈D/2⌉. Raises ValueError unless both networks have the same names, all finite, (D, D) or, for biases, (D,)."""
    names = {**target, **weights}
    D = len(names["head.W"])
    for argument, network in (("weights", weights), ("target", target)):
        for name in names:
            array, shape = network.get(name), (D,) if name.endswith(".b") else (D, D)
            if np.shape(array) != shape or array.dtype.kind != "f" or not np.all(np.isfinite(array)):
                given = "none" if array is None else f"{array.dtype} of shape {array.shape}"
                raise ValueError(f"{argument} must have finite floats of shape {shape} at {name!r}, got {given}")
    return (D + 1) // 2
