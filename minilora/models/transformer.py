"""A decoder-style Transformer: every token looks at those before it and tells which one comes next.

    h ← E[token] + P[place]                                        E (V, d), P (context, d)
    h ← h + attention(norm1(h)),   then   h ← h + ffn(norm2(h))    in each block
    logits = U norm(h)                                             U (V, d); U = E when tied

Vaswani et al., 2017, arXiv 1706.03762: its decoder, without the encoder, and with these changes: a norm stands before
each part instead of after it (Xiong et al., 2020, arXiv 2002.04745), places are learnt instead of being sines, E is not
scaled by √d, and there is no dropout.

The weights are a flat dict: "embedding" = E, "positions" = P, "blocks.0.norm1.gain", "blocks.0.attention.q.W", …,
"norm.gain", "norm.bias", and "head.W" = U unless tied. Every name that ends in ".W" is used through `linear` alone, so
each may be a matrix or an adapted one. The number of heads and who may see whom are arguments.

Inside, h is (n, d): the n = batch · T tokens of all sequences, one below the other, for linear maps are fastest on
matrices. Only attention takes them apart.
"""

import autograd.numpy as np
from autograd.extend import defvjp, primitive

from minilora.linalg import linear, normal
from minilora.models.mlp import relu


def causal(length):
    """Every query sees the keys up to its own place: (T, T), True where key ≤ query."""
    return np.tri(length, dtype=bool)


def everything(length):
    """Every query sees all keys: (T, T), True throughout."""
    return np.ones((length, length), dtype=bool)


def init_transformer(rng, vocabulary, context, width, depth, tied=True, dtype=np.float32):
    """Weights of `depth` blocks: every W from N(0, 1/d_in), E and P from N(0, 1/d), biases 0, gains 1; d = width.

    The two W of a block that write to h, attention.o and ffn.down, are smaller by √(2 depth), the number of writes, so
    that h does not grow with depth: Radford et al., 2019, "Language Models are Unsupervised Multitask Learners".

    Raises ValueError when vocabulary, context, width or depth is below 1.
    """
    for name, size in (("vocabulary", vocabulary), ("context", context), ("width", width), ("depth", depth)):
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
    wide, scale, damped = 4 * width, width**-0.5, (2 * depth * width) ** -0.5
    weights = {"embedding": normal(rng, (vocabulary, width), scale, dtype)}
    weights["positions"] = normal(rng, (context, width), scale, dtype)
    for layer in range(depth):
        name = f"blocks.{layer}"
        for part in "qkv":
            weights[f"{name}.attention.{part}.W"] = normal(rng, (width, width), scale, dtype)
        weights[f"{name}.attention.o.W"] = normal(rng, (width, width), damped, dtype)
        weights[f"{name}.ffn.up.W"] = normal(rng, (wide, width), scale, dtype)
        weights[f"{name}.ffn.up.b"] = np.zeros(wide, dtype)
        weights[f"{name}.ffn.down.W"] = normal(rng, (width, wide), damped / 2, dtype)
        weights[f"{name}.ffn.down.b"] = np.zeros(width, dtype)
    for name in ["norm", *(f"blocks.{layer}.norm{which}" for layer in range(depth) for which in (1, 2))]:
        weights[f"{name}.gain"] = np.ones(width, dtype)
        weights[f"{name}.bias"] = np.zeros(width, dtype)
    if not tied:
        weights["head.W"] = normal(rng, (vocabulary, width), scale, dtype)
    return weights


def transformer(weights, tokens, heads, mask=causal):
    """Logits (..., T, V) for tokens (..., T): row t scores what may come after tokens 0 … t.

    heads: how many attention heads share the width d. mask: T -> which keys (columns) each query (row) may see.

    Raises ValueError when tokens are not whole numbers from 0 to V − 1 or T is not 1 … context, when heads does not
    divide d, or when mask(T) is not boolean, (T, T), with a key for every query.
    """
    tokens = np.asarray(tokens)
    embedding, positions = weights["embedding"], weights["positions"]
    check_tokens(tokens, len(embedding), len(positions))
    length, width = tokens.shape[-1], embedding.shape[1]
    if heads not in range(1, width + 1) or width % heads:
        raise ValueError(f"heads must divide the width {width}, got {heads!r}")
    allowed = allowed_by(mask, length)
    h = (embedding[tokens] + positions[:length]).reshape(-1, width)
    layer = 0
    while f"blocks.{layer}.ffn.up.W" in weights:
        h = block(weights, f"blocks.{layer}", h, int(heads), allowed)
        layer += 1
    h = layer_norm(weights, "norm", h)
    return linear(weights.get("head.W", embedding), h).reshape(*tokens.shape, len(embedding))


def allowed_by(mask, length):
    """mask(length), True where a query (row) may see a key (column).

    Raises ValueError unless it is boolean, (length, length), with a key for every query.
    """
    allowed = np.asarray(mask(length))
    if allowed.shape != (length, length) or allowed.dtype != bool or not allowed.any(axis=1).all():
        raise ValueError(f"mask must give booleans ({length}, {length}), one True in each row or more, got {allowed!r}")
    return allowed


def check_tokens(tokens, vocabulary, context):
    """Raise ValueError unless tokens are whole numbers from 0 to vocabulary − 1, from 1 to context in a row."""
    if tokens.dtype.kind not in "iu":
        raise ValueError(f"tokens must be whole numbers, got {tokens.dtype}")
    if tokens.ndim < 1 or not 1 <= tokens.shape[-1] <= context:
        raise ValueError(f"tokens must be 1 to {context} in a row, on the last axis, got shape {tokens.shape}")
    if tokens.size and (tokens.min() < 0 or tokens.max() >= vocabulary):
        raise ValueError(f"tokens must lie in 0 … {vocabulary - 1}, got {tokens.min()} … {tokens.max()}")


def block(weights, name, h, heads, allowed):
    """h + attention(norm1(h)), and to this the feed-forward network of its norm2: (n, d) -> (n, d)."""
    h = h + attention(weights, f"{name}.attention", layer_norm(weights, f"{name}.norm1", h), heads, allowed)
    return h + feed_forward(weights, f"{name}.ffn", layer_norm(weights, f"{name}.norm2", h))


def layer_norm(weights, name, x, eps=1e-5):
    """gain · standardised(x) + bias for each vector of x (..., d)."""
    return weights[f"{name}.gain"] * standardised(x, eps) + weights[f"{name}.bias"]


@primitive
def standardised(x, eps):
    """(x − mean) / √(variance + eps), with the mean and the variance of each vector of x (..., d)."""
    centred = x - mean(x)
    return centred / np.sqrt(mean(centred * centred) + eps)


def standardised_slope(y, x, eps):
    """A gradient g for y becomes (g − mean(g) − y · mean(g · y)) / √(variance + eps) for x."""
    deviation = np.sqrt(mean((x - mean(x)) ** 2) + eps)
    return lambda g: (g - mean(g) - y * mean(g * y)) / deviation


defvjp(standardised, standardised_slope)


def mean(x):
    """The mean of each vector: (..., d) -> (..., 1)."""
    return total(x) / x.shape[-1]


def total(x):
    """The sum of each vector: (..., d) -> (..., 1). On short vectors np.sum takes several times as long."""
    return x @ np.ones((x.shape[-1], 1), x.dtype)


def attention(weights, name, x, heads, allowed):
    """W_o [y₁; …; y_heads], where y = softmax(q kᵀ / √d_h) v for each head: (n, d) -> (n, d).

    A head has d_h = d / heads rows of each of W_q, W_k, W_v, and with them its q, k and v (batch, heads, T, d_h).
    """
    n, width = x.shape
    size = width // heads
    apart = (-1, len(allowed), heads, size)
    q, k, v = (linear(weights[f"{name}.{part}.W"], x).reshape(apart).swapaxes(1, 2) for part in "qkv")
    scores = (size**-0.5 * q) @ k.swapaxes(2, 3)
    y = softmax(scores, allowed) @ v
    return linear(weights[f"{name}.o.W"], y.swapaxes(1, 2).reshape(n, width))


@primitive
def softmax(scores, allowed):
    """exp(score) / the sum of exp(score) over the keys that are allowed; 0 for all others. scores (..., T, T)."""
    seen = scores + np.where(allowed, 0.0, -np.inf).astype(scores.dtype)
    powers = np.exp(seen - np.max(seen, axis=-1, keepdims=True))  # the largest is 1, so that exp does not overflow
    return powers / total(powers)


# A gradient g for the shares p becomes p · (g − Σ p g) for the scores, the sum over all keys.
defvjp(softmax, lambda p, scores, allowed: lambda g: p * (g - total(p * g)))


def feed_forward(weights, name, x):
    """W_down relu(W_up x + b_up) + b_down: d -> 4 d -> d."""
    hidden = relu(linear(weights[f"{name}.up.W"], x) + weights[f"{name}.up.b"])
    return linear(weights[f"{name}.down.W"], hidden) + weights[f"{name}.down.b"]


def sample(weights, tokens, count, heads, rng, temperature=1.0):
    """tokens (..., T) and `count` more, each drawn from softmax(logits / temperature) after the last `context` tokens.

    Add to each logit temperature · g, with g from the standard Gumbel distribution: the largest sum is such a draw.

    Raises ValueError when temperature is not a positive number, and whenever `transformer` does.
    """
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature must be a positive number, got {temperature}: 1e-6 all but takes the likeliest")
    tokens = np.asarray(tokens)
    for _ in range(count):
        seen = tokens[..., -len(weights["positions"]) :]
        logits = transformer(weights, seen, heads)[..., -1, :]
        drawn = np.argmax(logits + temperature * rng.gumbel(size=logits.shape), axis=-1)
        tokens = np.concatenate([tokens, drawn[..., None]], axis=-1)
    return tokens
