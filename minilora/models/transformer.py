"""A decoder-style Transformer: every token sees those before it, and predicts the next one.

    h ← E[token] + P[position]                                     E (V, d), P (context, d)
    h ← h + attention(norm1(h)),   then   h ← h + ffn(norm2(h))    in each block
    logits = U norm(h)                                             U (V, d); U = E when tied

Vaswani et al., 2017, arXiv 1706.03762: its decoder, without the encoder, and with these changes: a
norm stands before each part instead of after it (Xiong et al., 2020, arXiv 2002.04745), positions
are learned embeddings, not sinusoids, E is not scaled by √d, and there is no dropout.

The weights are a flat dict: "embedding" = E, "positions" = P, "blocks.0.norm1.gain",
"blocks.0.attention.q.W", …, "norm.gain", "norm.bias", and "head.W" = U unless tied. Every name that
ends in ".W" is used through `linear` alone, so each may be any weight; all others are arrays that
the model adds, multiplies or indexes. The number of heads and the mask are arguments.

Inside, h is (n, d): the n = batch · T tokens of all sequences, stacked, because linear maps are
fastest on matrices; only attention needs the sequences separate.
"""

from functools import cache
from numbers import Real

import autograd.numpy as np

from minilora.checks import (
    check_count,
    check_float_type,
    check_heads,
    check_names,
    check_rng,
    check_tokens,
    check_weights,
)
from minilora.ops import relu, softmax, standardise
from minilora.weight import linear, normal


def causal(length):
    """Every query sees the keys up to its own position: (T, T), True where key ≤ query."""
    return np.tri(length, dtype=bool)


def no_mask(length):
    """Every query sees all keys: (T, T), True throughout."""
    return np.ones((length, length), dtype=bool)


def init_transformer(rng, vocabulary, context, width, depth, tied=True, dtype=np.float32):
    """Weights of `depth` blocks; d is the width.

    Every W is drawn from N(0, 1/d_in), E and P from N(0, 1/d); biases are 0, gains 1.
    The two W of a block that write to h, attention.o and ffn.down, are smaller by √(2 depth), the
    number of writes, so that h does not grow with depth: Radford et al., 2019, "Language Models are
    Unsupervised Multitask Learners".

    Raises ValueError when vocabulary, context, width or depth is not an integer of at least 1, or
    dtype is neither float32 nor float64.
    """
    check_rng(rng)
    check_float_type("dtype", dtype)
    sizes = {"vocabulary": vocabulary, "context": context, "width": width, "depth": depth}
    for name, size in sizes.items():
        check_count(name, size)
    hidden = 4 * width
    scale = width**-0.5
    damped = (2 * depth * width) ** -0.5
    weights = {"embedding": normal(rng, (vocabulary, width), scale, dtype)}
    weights["positions"] = normal(rng, (context, width), scale, dtype)
    for layer in range(depth):
        block = f"blocks.{layer}"
        for part in "qkv":
            weights[f"{block}.attention.{part}.W"] = normal(rng, (width, width), scale, dtype)
        weights[f"{block}.attention.o.W"] = normal(rng, (width, width), damped, dtype)
        weights[f"{block}.ffn.up.W"] = normal(rng, (hidden, width), scale, dtype)
        weights[f"{block}.ffn.up.b"] = np.zeros(hidden, dtype)
        weights[f"{block}.ffn.down.W"] = normal(rng, (width, hidden), damped / 2, dtype)
        weights[f"{block}.ffn.down.b"] = np.zeros(width, dtype)
        weights |= _init_norm(f"{block}.norm1", width, dtype)
        weights |= _init_norm(f"{block}.norm2", width, dtype)
    weights |= _init_norm("norm", width, dtype)
    if not tied:
        weights["head.W"] = normal(rng, (vocabulary, width), scale, dtype)
    return weights


def _init_norm(name, width, dtype):
    """Gain 1 and bias 0."""
    return {f"{name}.gain": np.ones(width, dtype), f"{name}.bias": np.zeros(width, dtype)}


def transformer(weights, tokens, heads, mask=causal):
    """Logits (..., T, V) for tokens (..., T): row t scores what may follow tokens 0 … t.

    heads: how many attention heads share the width d. mask: T -> which keys (columns) each query
    (row) may see.

    Raises ValueError when weights does not have the names of a Transformer, when tokens are not
    integers from 0 to V − 1 or T is not 1 … context, when heads does not divide d, or when mask(T)
    is not boolean, (T, T), with a key for every query.
    """
    depth = _depth(weights)
    tokens = np.asarray(tokens)
    embedding = weights["embedding"]
    positions = weights["positions"]
    vocabulary, width = embedding.shape
    check_tokens(tokens, vocabulary, positions.shape[0])
    check_heads(heads, width)
    length = tokens.shape[-1]
    allowed = check_mask(mask, length)
    h = (embedding[tokens] + positions[:length]).reshape(-1, width)
    for layer in range(depth):
        h = _block(weights, f"blocks.{layer}", h, int(heads), allowed)
    h = layer_norm(weights, "norm", h)
    logits = linear(weights.get("head.W", embedding), h)
    return logits.reshape(*tokens.shape, vocabulary)


def _depth(weights):
    """The number of blocks. Raises ValueError unless weights has the names of a Transformer."""
    check_weights(weights)
    depth = max(1, len(weights) // len(_BLOCK))
    check_names(weights, _names(depth, "head.W" in weights))
    return depth


_BLOCK = (
    *(f"attention.{part}.W" for part in "qkvo"),
    *(f"ffn.{part}.{letter}" for part in ("up", "down") for letter in "Wb"),
    *(f"norm{which}.{part}" for which in "12" for part in ("gain", "bias")),
)


@cache
def _names(depth, with_head):
    """The names of the weights of a Transformer of this depth."""
    blocks = {f"blocks.{layer}.{part}" for layer in range(depth) for part in _BLOCK}
    head = {"head.W"} if with_head else set()
    return {"embedding", "positions", "norm.gain", "norm.bias"} | blocks | head


def check_mask(mask, length):
    """mask(length), True where a query (row) may see a key (column).

    Raises ValueError unless it is boolean, (length, length), with a key for every query.
    """
    if not callable(mask):
        raise ValueError(
            f"mask must be a function of the length T, such as causal, got {mask!r:.80}"
        )
    allowed = np.asarray(mask(length))
    boolean = allowed.shape == (length, length) and allowed.dtype == bool
    if not boolean or not allowed.any(axis=1).all():
        wanted = f"booleans ({length}, {length}), one True in each row or more"
        raise ValueError(f"mask must give {wanted}, got {allowed!r}")
    return allowed


def _block(weights, name, h, heads, allowed):
    """h ← h + attention(norm1(h)), then h + ffn(norm2(h)): (n, d) -> (n, d)."""
    h = h + _attention(
        weights, f"{name}.attention", layer_norm(weights, f"{name}.norm1", h), heads, allowed
    )
    return h + _feed_forward(weights, f"{name}.ffn", layer_norm(weights, f"{name}.norm2", h))


def layer_norm(weights, name, x, eps=1e-5):
    """gain · (x − mean) / √(variance + eps) + bias for each vector of x (..., d)."""
    return weights[f"{name}.gain"] * standardise(x, eps) + weights[f"{name}.bias"]


def _attention(weights, name, x, heads, allowed):
    """W_o [y₁; …; y_heads], where y = softmax(q kᵀ / √d_h) v for each head: (n, d) -> (n, d).

    A head has d_h = d / heads rows of each of W_q, W_k, W_v, and with them its q, k and v (B,
    heads, T, d_h).
    """
    n, d = x.shape
    T = len(allowed)
    d_h = d // heads
    q = _per_head(linear(weights[f"{name}.q.W"], x), T, heads)
    k = _per_head(linear(weights[f"{name}.k.W"], x), T, heads)
    v = _per_head(linear(weights[f"{name}.v.W"], x), T, heads)
    scores = (d_h**-0.5 * q) @ k.swapaxes(2, 3)  # (B, heads, T, T)
    y = softmax(scores, allowed) @ v  # (B, heads, T, d_h)
    return linear(weights[f"{name}.o.W"], y.swapaxes(1, 2).reshape(n, d))


def _per_head(x, T, heads):
    """(B · T, d) -> (B, heads, T, d_h)."""
    d_h = x.shape[1] // heads
    return x.reshape(-1, T, heads, d_h).swapaxes(1, 2)


def _feed_forward(weights, name, x):
    """W_down relu(W_up x + b_up) + b_down: d -> 4 d -> d."""
    hidden = relu(linear(weights[f"{name}.up.W"], x) + weights[f"{name}.up.b"])
    return linear(weights[f"{name}.down.W"], hidden) + weights[f"{name}.down.b"]


def sample(weights, tokens, count, heads, *, rng, temperature=1.0):
    """tokens (..., T) and `count` more, each drawn from softmax(logits / temperature).

    The model sees the last `context` tokens. Each draw is the token with the largest logit +
    temperature · g, with g from the standard Gumbel distribution: it is distributed as that
    softmax.

    Raises ValueError when count is not an integer of at least 0, when temperature is not a positive
    number, and whenever `transformer` does.
    """
    check_rng(rng)
    check_count("count", count, least=0)
    if (
        isinstance(temperature, bool)
        or not isinstance(temperature, Real)
        or not 0 < temperature < np.inf
    ):
        advice = "use 1e-6 for near-greedy sampling"
        raise ValueError(f"temperature must be a positive number, got {temperature!r}: {advice}")
    _depth(weights)
    tokens = np.asarray(tokens)
    context = weights["positions"].shape[0]
    for _ in range(count):
        seen = tokens[..., -context:]
        logits = transformer(weights, seen, heads)[..., -1, :]
        drawn = np.argmax(logits + temperature * rng.gumbel(size=logits.shape), axis=-1)
        tokens = np.concatenate([tokens, drawn[..., None]], axis=-1)
    return tokens
