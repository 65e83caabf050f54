"""BERT's encoder: every token sees all others, before and after it; a sentence becomes a vector.

    h ← norm(E[token] + P[position] + S[0])         E (V, d), P (context, d), S (2, d)
    h ← norm(h + O attention(h) + b),   then   h ← norm(h + D gelu(U h + b) + b)     in each layer
    sentence = mean of h over its tokens            logits = C sentence + b, when there is a head

Devlin et al., 2018, arXiv 1810.04805; gelu: Hendrycks & Gimpel, 2016, arXiv 1606.08415. Departures:
no dropout, the second of BERT's two segments is not used, and the mean replaces BERT's pooler, as
in Reimers & Gurevych, 2019, arXiv 1908.10084.

The weights are a flat dict under the names of Hugging Face's `BertModel`: "embeddings.….weight",
"encoder.layer.0.attention.self.query.weight" and ".bias", …, and "classifier.weight" (classes, d)
and ".bias" for a head. So an adapter that is trained here fits the model there. Every matrix but
the three embeddings is used through `linear` alone, so it may be any weight.

Inside, h is (n, d): the n tokens of all sentences, without their padding, so that linear maps and
norms do no work on padding; only attention needs to know where a sentence ends.
"""

from functools import cache

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
from minilora.ops import attention, gelu, pad, standardise
from minilora.weight import linear, normal

_LINEAR = {  # in each layer, name -> (d_out, d_in): the width d, or the hidden width h inside
    "attention.self.query": "dd",
    "attention.self.key": "dd",
    "attention.self.value": "dd",
    "attention.output.dense": "dd",
    "intermediate.dense": "hd",
    "output.dense": "dh",
}
_NORMS = ("attention.output.LayerNorm", "output.LayerNorm")
_EMBEDDING = "embeddings.{}_embeddings.weight"
_HEAD = ("classifier.weight", "classifier.bias")
_DEPTH_SHOWS = ".intermediate.dense.weight"  # one name a layer ends in this


def encoder_shapes(vocabulary, context, width, depth, hidden):
    """{name: shape} of all weights without a head. hidden: the width inside, 4 · width in BERT."""
    rows = {"word": vocabulary, "position": context, "token_type": 2}
    shapes = {_EMBEDDING.format(kind): (count, width) for kind, count in rows.items()}
    vectors = {"embeddings.LayerNorm": width}
    for layer in range(depth):
        for part, sides in _LINEAR.items():
            d_out, d_in = (width if side == "d" else hidden for side in sides)
            shapes[f"encoder.layer.{layer}.{part}.weight"] = (d_out, d_in)
            shapes[f"encoder.layer.{layer}.{part}.bias"] = (d_out,)
        vectors |= {f"encoder.layer.{layer}.{part}": width for part in _NORMS}
    for name, size in vectors.items():
        shapes |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    return shapes


def init_encoder(rng, vocabulary, context, width, depth, hidden, dtype=np.float32):
    """Random weights without a head: matrices from N(0, 0.02²) as in BERT, biases 0, gains 1.

    Raises ValueError when a size is not an integer of at least 1, or dtype is neither float32 nor
    float64.
    """
    check_rng(rng)
    check_float_type("dtype", dtype)
    sizes = {"vocabulary": vocabulary, "context": context, "width": width, "depth": depth}
    sizes["hidden"] = hidden
    for name, size in sizes.items():
        check_count(name, size)
    weights = {}
    for name, shape in encoder_shapes(**sizes).items():
        if len(shape) == 2:
            weights[name] = normal(rng, shape, 0.02, dtype)
        else:
            weights[name] = np.full(shape, float(name.endswith("LayerNorm.weight")), dtype)
    return weights


def with_head(rng, weights, classes):
    """The weights of an encoder and of a new head: C (classes, d) from N(0, 0.02²), b = 0.

    Raises ValueError when weights does not have the names of an encoder, or classes is not an
    integer of at least 2.
    """
    check_rng(rng)
    _depth(weights)
    check_count("classes", classes, least=2)
    embedding = weights[_EMBEDDING.format("word")]
    C = normal(rng, (classes, embedding.shape[1]), 0.02, embedding.dtype)
    return {**weights, _HEAD[0]: C, _HEAD[1]: np.zeros(classes, embedding.dtype)}


def encoder(weights, tokens, mask, heads):
    """h (B, T, d) after the last layer, zero at padding.

    tokens (B, T): integers. mask (B, T): True for a token, False for padding; which
    valid token stands at padding does not matter. A token's position is its column, with padding
    before it counted. heads: how many attention heads share d.

    Raises ValueError when weights does not have the names of an encoder; when tokens are not
    integers from 0 to V − 1 or T is not 1 … context; when mask is not boolean, (B, T), with a token
    in every sentence; and when heads does not divide d.
    """
    depth = _depth(weights)
    embedding = weights[_EMBEDDING.format("word")]
    positions = weights[_EMBEDDING.format("position")]
    segments = weights[_EMBEDDING.format("token_type")]
    tokens, mask = _check_sentences(tokens, mask)
    check_tokens(tokens, embedding.shape[0], positions.shape[0])
    check_heads(heads, embedding.shape[1])
    _, position = np.nonzero(mask)
    h = embedding[tokens[mask]] + positions[position] + segments[0]
    h = _norm(weights, "embeddings.LayerNorm", h)
    ends = np.cumsum(np.sum(mask, axis=1))
    for layer in range(depth):
        h = _layer(weights, f"encoder.layer.{layer}", h, ends, int(heads))
    return pad(h, mask)


def sentence_vectors(weights, tokens, mask, heads):
    """The mean of h over the tokens of each sentence, (B, d). Raises ValueError as `encoder`."""
    h = encoder(weights, tokens, mask, heads)
    lengths = np.sum(mask, axis=1, keepdims=True).astype(h.dtype)
    return np.sum(h, axis=1) / lengths


def sentence_logits(weights, tokens, mask, heads):
    """Logits (B, classes) of the head "classifier" on each sentence's vector.

    Raises ValueError as `encoder`, and when weights has no head.
    """
    check_weights(weights)
    if _HEAD[0] not in weights:
        raise ValueError(f"weights must have a head, {' and '.join(_HEAD)}: see with_head")
    return _affine(weights, "classifier", sentence_vectors(weights, tokens, mask, heads))


def _depth(weights):
    """The number of layers. Raises ValueError unless weights has the names of an encoder."""
    check_weights(weights)
    depth = max(1, sum(name.endswith(_DEPTH_SHOWS) for name in weights))
    check_names(weights, _names(depth, _HEAD[0] in weights))
    return depth


@cache
def _names(depth, head):
    """The names of the weights of an encoder of this depth."""
    return {*encoder_shapes(1, 1, 1, depth, 1), *(_HEAD if head else ())}


def _check_sentences(tokens, mask):
    """Both as arrays (B, T). Raises ValueError unless they fit, with a token in every sentence."""
    tokens = np.asarray(tokens)
    mask = np.asarray(mask)
    fit = tokens.ndim == 2 and mask.shape == tokens.shape and mask.dtype == bool
    if not fit or len(tokens) == 0:
        given = f"{tokens.dtype} {tokens.shape} and {mask.dtype} {mask.shape}"
        raise ValueError(
            f"tokens (B, T) and mask (B, T), of booleans, B ≥ 1, must fit, got {given}"
        )
    if not np.all(np.any(mask, axis=1)):
        row = int(np.argmin(np.any(mask, axis=1)))
        raise ValueError(f"mask must have a token in every sentence, but sentence {row} has none")
    return tokens, mask


def _layer(weights, name, h, ends, heads):
    """h ← norm(h + O attention(h) + b), then norm(h + D gelu(U h + b) + b): (n, d) -> (n, d)."""
    q, k, v = (
        _affine(weights, f"{name}.attention.self.{part}", h) for part in ("query", "key", "value")
    )
    attended = attention(q, k, v, ends, heads)
    out = _affine(weights, f"{name}.attention.output.dense", attended)
    h = _norm(weights, f"{name}.attention.output.LayerNorm", h + out)
    hidden = gelu(_affine(weights, f"{name}.intermediate.dense", h))
    out = _affine(weights, f"{name}.output.dense", hidden)
    return _norm(weights, f"{name}.output.LayerNorm", h + out)


def _affine(weights, name, x):
    """W x + b."""
    return linear(weights[f"{name}.weight"], x) + weights[f"{name}.bias"]


def _norm(weights, name, x):
    """gain · (x − mean) / √(variance + 1e-12) + bias for each vector of x (n, d)."""
    return weights[f"{name}.weight"] * standardise(x, 1e-12) + weights[f"{name}.bias"]
