"""Make one Transformer equal to another of the same size with adapters of half the rank.

The network is plain: no residual path, no LayerNorm, every head with D × D matrices
of its own. For the tokens x_i of a sequence, each block computes

    a_i = Σ_heads W_O W_V Σ_j p_ij x_j,      p_i = softmax over j of s · x_jᵀ (W_Kᵀ W_Q) x_i
    z_i = relu(W_1 a_i + b_1)
    h_i = W_2 z_i + b_2

and h_i is the next block's x_i; at the end y_i = W_o h_i.

Theorem. Let a target have the same shape; its arrays have a bar. Adapters of rank ⌈D/2⌉ on W_Q,
W_K, W_V and W_O of every head, on the last W_2 and on W_o, with new biases b_1 and b_2, make the
two networks equal: for every input, every length, every mask and scale, and with any function of
the scores instead of softmax. All W_1, and all W_2 but the last, stay frozen. It holds if all
matrices of both networks are invertible, and whenever the equations below can be solved.

Proof. Aim for z = z̄, because the ReLU fixes these coordinates. Then h̄ = C h after the block with
C = W̄_2 W_2⁻¹, and C = I before the first. All that a block does between x̄ = C x and z̄ is done by
products of two matrices, and a bias:

    scores    W'_Kᵀ W'_Q = Cᵀ W̄_Kᵀ W̄_Q C
    values    W'_O W'_V  = F W̄_O W̄_V C,      F = W_1⁻¹ W̄_1 so that W_1 F = W̄_1, and b'_1 = b̄_1
    biases    C b'_2 = b̄_2;  in the last block W'_o b'_2 = W̄_o b̄_2
    output    W'_o W'_2  = W̄_o W̄_2           with the W_2 of the last block

A product of two D × D matrices reaches any target once its adapters have rank D together:
`adapt_product`. ∎

Less rank. ⌈D/2⌉ is for the worst gap between a frozen product and its goal; a pair whose gap has
rank g takes ⌈g/2⌉ (`sufficient_ranks`), so for some targets less suffices. Below that, every
pair gets the best approximation of its goal. In the first block C = I, and to make the scores of a
generic target ⌈D/2⌉ is necessary too, as W̄_Kᵀ W̄_Q − W_Kᵀ W_Q has rank D. Values and outputs are
freer: z may be z̄ scaled by positive numbers or permuted, since the ReLU lets both through. That is
a target with other W̄_1, b̄_1 and W̄_2 and the same function, whose gaps may have less rank; we do
not look for it.

Where the construction fails: C and F pass from one pair of matrices to the next, and what stands
between two pairs must let them pass. Other adapters of that rank may exist, unless we say so.
- A residual path carries h itself, so that C = I: W_1, W_2 and W_o have to be replaced in full
  (`residual_adapters`). With W_1 ≠ W̄_1 frozen, no adapters of the heads give z = z̄ for all inputs
  of two tokens or more that see each other.
- LayerNorm needs norm(C h) = C' norm(h) for all h with some C', which then replaces C. With ε = 0
  that is so if and only if C = c Q + 1 mᵀ with c ≠ 0, any m, and a Q that is orthogonal on the
  vectors of mean zero and maps 1 = (1, …, 1) to 0; then C' = ±Q. In general W̄_2 W_2⁻¹ is not of
  this kind.
- A gated feed-forward part has two matrices in place of W_1, and each requires an F of its own.

Where, for almost every target, no adapters of rank D/2 exist, because they have fewer degrees of
freedom than what they must equal. Such a count does not prove that the rank it leaves is enough,
nor does it say anything about one given target.
- RoPE, from D = 4 on, replaces W_Kᵀ W_Q by W_Kᵀ R W_Q, with another rotation R for each distance:
  many products, but two matrices. (For D = 2 the count excludes nothing: some targets are reached.)
- Stacked heads: one D × D matrix whose rows are divided among H heads, with one adapter. Adapters
  of rank R on W_Q and W_K have 2R(2D − R) degrees of freedom, but the scores of all heads have
  D(2D − D/H). Hence almost no target can be reached below R = D − D/√(2H), which is above D/2 from
  three heads on.

The theorem is from Zeng & Lee, 2023, arXiv 2310.17513. Departures: they invert matrices where
`adapt_product` and least squares solve equations here, which some singular matrices pass. The
residual variant, and the reasons why the construction fails elsewhere, are ours.
"""

from numbers import Real
from typing import NamedTuple

import autograd.numpy as np

from minilora.checks import check_count, check_floats, check_matrix, check_weights
from minilora.models.transformer import check_mask, no_mask
from minilora.ops import relu, softmax
from minilora.theorems.chain import (
    Unsolvable,
    add_adapters,
    check_array,
    check_network,
    gap_rank,
)
from minilora.theorems.linear import adapt_product
from minilora.weight import dense, linear


def plain_transformer(weights, X, mask=no_mask, scale=1.0, residual=False):
    """y for tokens X: (…, N, D) -> (…, N, D).

    weights: matrices (D, D) "blocks.0.heads.0.q.W", …k.W, …v.W, …o.W, "blocks.0.ffn.1.W", …2.W and
    "head.W" = W_o, or any other weights, and biases (D,) "blocks.0.ffn.1.b", …2.b.
    mask: N -> (N, N), True where a query (row) may see a key (column). scale: s. residual: whether
    x ← x + a and x ← x + h replace x ← a and x ← h.

    Raises ValueError when weights does not have these names, when X is not finite and (…, N, D)
    with N ≥ 1, when scale is not a finite number, or when mask(N) is not boolean, (N, N), with a
    key for every query.
    """
    check_weights(weights)
    check_network("weights", weights, _names)
    check_floats("X", X)
    width = np.shape(weights["head.W"])[-1:]
    if np.ndim(X) < 2 or np.shape(X)[-2] == 0 or np.shape(X)[-1:] != width:
        raise ValueError(f"X must be (…, N, D), a row for each token, got shape {np.shape(X)}")
    if not isinstance(scale, Real) or not np.isfinite(scale):
        raise ValueError(f"scale must be a finite number, got {scale!r}")
    allowed = check_mask(mask, np.shape(X)[-2])
    for block in _numbered(weights, "blocks"):
        heads = _numbered(weights, f"{block}.heads")
        a = sum(_head_output(weights, head, X, allowed, float(scale)) for head in heads)
        X = X + a if residual else a
        z = relu(linear(weights[f"{block}.ffn.1.W"], X) + weights[f"{block}.ffn.1.b"])
        h = linear(weights[f"{block}.ffn.2.W"], z) + weights[f"{block}.ffn.2.b"]
        X = X + h if residual else h
    return linear(weights["head.W"], X)


def _head_output(weights, head, X, allowed, scale):
    """W_O Σ_j p_ij W_V x_j for every token i, of one head."""
    q = linear(weights[f"{head}.q.W"], X)
    k = linear(weights[f"{head}.k.W"], X)
    v = linear(weights[f"{head}.v.W"], X)
    scores = scale * (q @ np.swapaxes(k, -1, -2))
    mixed = softmax(scores, allowed) @ v
    return linear(weights[f"{head}.o.W"], mixed)


def transformer_adapters(weights, target, rank=None, *, rng=None):
    """Params that turn a plain Transformer into another: rank ⌈D/2⌉ for matrices, full biases.

        half = LoRA((D + 1) // 2)
        last = f"blocks.{depth - 1}.ffn.2.W"
        adapters = {"*.heads.*": half, last: half, "head.W": half, "*.b": Full()}
        attached = attach(weights, adapters, rng=rng)
        params = transformer_adapters(weights, target)
        plain_transformer(attached.bind(params), X)  # = plain_transformer(target, X)

    rank: another rank for all these matrices, or a dict from their names to ranks, such as
    `sufficient_ranks` returns; 0 means no adapter. Where it is too small for a pair of matrices,
    their product is the best approximation of its goal, and the network is near the target only.
    rng: lets `adapt_product` try again where its first split of the work between two matrices
    fails. Digits are lost where a W_2 before the last block is close to singular: the scores lose
    them with cond(W_2)².

    Raises ValueError when names or shapes differ, or a rank is not an integer from 0 to D;
    Unsolvable, naming the layer, when an equation has no solution or this construction finds none.
    """
    weights, target, D = _dense_networks(weights, target)
    pairs = list(_pairs(weights, target))
    names = [name for pair in pairs for name in (pair.first, pair.second)]
    ranks = _rank_of_each(names, (D + 1) // 2 if rank is None else rank, D)
    params = {}
    for pair in pairs:
        params |= _adapt_pair(pair, ranks, rng=rng)
    for block, C in _changes_of_basis(weights, target):
        b1 = f"{block}.ffn.1.b"
        b2 = f"{block}.ffn.2.b"
        if C is None:
            own = params.get("head.W", {"A": np.zeros((0, D)), "B": np.zeros((D, 0))})
            [adapted_head] = add_adapters([weights["head.W"]], [own])
            wanted = target["head.W"] @ target[b2]
            b = _solve(adapted_head, wanted, f"{block}: W'_o b_2 = W̄_o b̄_2")
        else:
            b = _solve(C, target[b2], f"{block}: C b_2 = b̄_2")
        params[b1] = {"W": target[b1].astype(weights[b1].dtype)}
        params[b2] = {"W": b.astype(weights[b2].dtype)}
    return params


def sufficient_ranks(weights, target):
    """{name: ⌈rank(gap) / 2⌉} for each matrix that is adapted, by the gap of its pair.

    The gap is what the pair's frozen product misses of its goal, such as Cᵀ W̄_Kᵀ W̄_Q C − W_Kᵀ W_Q
    for W_Q and W_K. With these ranks `transformer_adapters` is exact where it succeeds.

    Raises ValueError and Unsolvable as `transformer_adapters` does.
    """
    weights, target, _ = _dense_networks(weights, target)
    ranks = {}
    for pair in _pairs(weights, target):
        ranks[pair.first] = ranks[pair.second] = (gap_rank(pair.Ws, pair.goal) + 1) // 2
    return ranks


class _Pair(NamedTuple):
    """Two matrices of which only the product counts, and what it has to become."""

    first: str  # their names
    second: str
    Ws: list  # the second one transposed if it is a W_K
    goal: np.ndarray


def _pairs(weights, target):
    """Every `_Pair` of two networks, the earliest first."""
    C = np.eye(len(weights["head.W"]))
    for block, C_next in _changes_of_basis(weights, target):
        w1 = f"{block}.ffn.1.W"
        w2 = f"{block}.ffn.2.W"
        F = _solve(weights[w1], target[w1], f"{block}: W_1 F = W̄_1")
        yield from _head_pairs(weights, target, block, C, F)
        if C_next is None:
            pair = [weights[w2], weights["head.W"]]
            yield _Pair(w2, "head.W", pair, target["head.W"] @ target[w2])
        C = C_next


def _head_pairs(weights, target, block, C, F):
    """The two pairs of every head of a block."""
    for head in _numbered(weights, f"{block}.heads"):
        q, k, v, o = (f"{head}.{part}.W" for part in "qkvo")
        scores = C.T @ target[k].T @ target[q] @ C
        yield _Pair(q, k, [weights[q], weights[k].T], scores)
        yield _Pair(v, o, [weights[v], weights[o]], F @ target[o] @ target[v] @ C)


def _changes_of_basis(weights, target):
    """(block, C) with C W_2 = W̄_2, so that h̄ = C h after this block; C is None after the last."""
    *blocks, last = _numbered(weights, "blocks")
    for block in blocks:
        w2 = f"{block}.ffn.2.W"
        yield block, _solve(weights[w2].T, target[w2].T, f"{block}: C W_2 = W̄_2").T
    yield last, None


def residual_adapters(weights, target, *, rng=None):
    """Params that turn one plain Transformer with a residual path into another.

    Rank ⌈D/2⌉ on heads, all else in full:

        adapters = {"*.heads.*": LoRA((D + 1) // 2), "*.ffn.*": Full(), "head.W": Full()}

    Each head computes the target's scores and values as they are, C = F = I. Raises ValueError and
    Unsolvable as `transformer_adapters` does.
    """
    weights, target, D = _dense_networks(weights, target)
    half = (D + 1) // 2
    identity = np.eye(D)
    params = {}
    for name, W in weights.items():
        if ".heads." not in name:
            params[name] = {"W": target[name].astype(W.dtype)}
    for block in _numbered(weights, "blocks"):
        params |= adapt_heads(weights, target, block, identity, identity, half, rng=rng)
    return params


def adapt_heads(weights, target, block, C, F, rank, *, rng=None):
    """Params for all heads of a block, such as "blocks.0", with adapters of this rank.

        W'_Kᵀ W'_Q = Cᵀ W̄_Kᵀ W̄_Q C   and   W'_O W'_V = F W̄_O W̄_V C

    Where the rank is too small, the products are the best approximations of the right sides.

    Raises ValueError when names or shapes differ, or block, C, F or rank does not fit them, and
    Unsolvable, naming the pair of matrices, when no such product is found.
    """
    weights, target, D = _dense_networks(weights, target)
    if block not in _numbered(weights, "blocks"):
        raise ValueError(f"block must be one of weights, such as 'blocks.0', got {block!r}")
    check_array("C", C, (D, D))
    check_array("F", F, (D, D))
    check_count("rank", rank, most=D, least=0)
    params = {}
    for pair in _head_pairs(weights, target, block, C, F):
        params |= _adapt_pair(pair, {pair.first: rank, pair.second: rank}, rng=rng)
    return params


def _adapt_pair(pair, ranks, *, rng):
    """Params for the matrices of a pair that have a rank."""
    own = [ranks[pair.first], ranks[pair.second]]
    try:
        first, second = adapt_product(pair.Ws, pair.goal, own, rng=rng)
    except Unsolvable as error:
        missed = f"ranks {own} on {pair.first} and {pair.second} miss the target's product"
        raise Unsolvable(f"weights: {missed}: {error}") from error
    if pair.second.endswith(".k.W"):
        # W'_Kᵀ = W_Kᵀ + B A, so W'_K = W_K + Aᵀ Bᵀ.
        second = {"A": second["B"].T, "B": second["A"].T}
    params = {pair.first: first, pair.second: second}
    return {name: params[name] for name in params if ranks[name]}


def _rank_of_each(names, rank, D):
    """{name: rank}. Raises ValueError unless every rank is an integer from 0 to D."""
    if not isinstance(rank, dict):
        check_count("rank", rank, most=D, least=0)
        return dict.fromkeys(names, rank)
    if set(rank) != set(names):
        different = sorted(set(rank) ^ set(names), key=str)
        raise ValueError(
            f"rank must have the names of the adapted matrices, but differs in {different}"
        )
    for name in names:
        check_count(f"rank[{name!r}]", rank[name], most=D, least=0)
    return rank


def _solve(M, Y, equation):
    """X with M X = Y. Raises Unsolvable when there is none."""
    M = M.astype(np.float64)
    Y = Y.astype(np.float64)
    X = np.linalg.lstsq(M, Y, rcond=1e-10)[0]
    if np.linalg.norm(M @ X - Y) > 1e-6 * np.linalg.norm(Y):
        reason = (
            "the matrix beside the unknown is singular; this construction fails, others might not"
        )
        raise Unsolvable(f"weights, target: {equation} has no solution: {reason}")
    return X


def _numbered(names, prefix):
    """The numbered parts with a prefix, in order: "blocks" -> ["blocks.0", "blocks.1", …].

    There are as many as there are different parts among the names, and at least one.
    """
    below = [name for name in map(str, names) if name.startswith(f"{prefix}.")]
    parts = {name.removeprefix(f"{prefix}.").split(".")[0] for name in below}
    return [f"{prefix}.{number}" for number in range(max(1, len(parts)))]


def _names(network):
    """The names of a plain Transformer with as many blocks and heads as network has."""
    names = {"head.W"}
    for block in _numbered(network, "blocks"):
        names |= {f"{block}.ffn.{part}" for part in ("1.W", "1.b", "2.W", "2.b")}
        for head in _numbered(network, f"{block}.heads"):
            names |= {f"{head}.{part}.W" for part in "qkvo"}
    return names


def _dense_networks(weights, target):
    """Both networks with all weights as arrays, and D.

    Raises ValueError unless both have the same names, and finite arrays of shape (D, D) or, for
    biases, (D,).
    """
    check_network("weights", weights, _names)
    check_network("target", target, _names)
    if set(target) != set(weights):
        different = sorted(set(target) ^ set(weights))
        raise ValueError(f"target must have the names of weights, but differs in {different}")
    D, _ = check_matrix("weights['head.W']", weights["head.W"])
    for name in weights:
        shape = (D,) if name.endswith(".b") else (D, D)
        check_array(f"weights[{name!r}]", weights[name], shape)
        check_array(f"target[{name!r}]", target[name], shape)
    weights = {name: dense(W) for name, W in weights.items()}
    target = {name: dense(W) for name, W in target.items()}
    return weights, target, D
