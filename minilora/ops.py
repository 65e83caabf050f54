"""Every function whose derivative is written by hand, each beside its formula.

A function marked `@_primitive` is one node on autograd's tape, and `defvjp` says how a gradient
goes back through it: from g, the gradient of the loss for the function's value, to the gradient of
the loss for its argument. (`defjvp` says how a small change g of the argument changes the value,
for autograd's forward mode, which nothing here uses.) Autograd derives the same from single
operations, with more nodes, in more time: see `minilora.train.value_and_grad`. Adapters are built
from single operations and from these.

Inside a primitive all arrays are plain, so `np` is NumPy here. `anp` is autograd's, for what may
meet a box again: a gradient whose own gradient is taken.
"""

import math

import autograd.numpy as anp
import numpy as np
from autograd.extend import defjvp, defvjp, defvjp_argnums, primitive

from minilora.checks import check_labels, check_logits


def _primitive(function):
    """autograd's `primitive`, for which help() still shows the function's signature and source."""
    op = primitive(function)
    op.__wrapped__ = function
    op.__module__ = function.__module__
    return op


@_primitive
def matvec(W, x):
    """y = W x for a matrix W (d_out, d_in) and every vector of x (..., d_in)."""
    if np.ndim(x) == 2 and 4 * len(x) <= min(W.shape):
        # The same product; for few vectors up to 1.5 times as fast in BLAS.
        return np.ascontiguousarray((W @ x.T).T)
    return x @ W.T


def _matvec_to_W(y, W, x):
    """Σ g xᵀ over all vectors."""
    return lambda g: _vectors(g).T @ _vectors(x)


def _matvec_to_x(y, W, x):
    """Wᵀ g."""
    return lambda g: g @ W


defvjp(matvec, _matvec_to_W, _matvec_to_x)
defjvp(matvec, lambda g, y, W, x: matvec(g, x), lambda g, y, W, x: matvec(W, g))


def _vectors(x):
    """All vectors of x, one below the other: (..., d) -> (n, d)."""
    return x.reshape(-1, x.shape[-1])


@_primitive
def gather(x, index):
    """S x: the entries of each vector at distinct indices, (..., d) -> (..., r)."""
    return x[..., index]


@_primitive
def scatter(z, index, width):
    """Sᵀ z: each vector's entries at these indices of a zero vector, (..., r) -> (..., width)."""
    scattered = np.zeros((*z.shape[:-1], width), z.dtype)
    scattered[..., index] = z
    return scattered


def _gather_back(index, width):
    return lambda g: scatter(g, index, width)


# Each is the other's transpose, so each is the other's gradient.
# Autograd's own gradient of x[..., index] adds entries one by one, in case an index repeats.
defvjp(gather, lambda y, x, index: _gather_back(index, x.shape[-1]))  # the tape need not keep x
defvjp(scatter, lambda y, z, index, width: lambda g: gather(g, index))
defjvp(gather, lambda g, y, x, index: gather(g, index))
defjvp(scatter, lambda g, y, z, index, width: scatter(g, index, width))


@_primitive
def pad(rows, mask):
    """These rows (n, …) where mask (B, T) is True, in order, and zeros elsewhere: (B, T, …)."""
    padded = np.zeros((*mask.shape, *rows.shape[1:]), rows.dtype)
    padded[mask] = rows
    return padded


# A gradient g for y becomes for each row the g of its place.
defvjp(pad, lambda y, rows, mask: lambda g: g[mask])
defjvp(pad, lambda g, y, rows, mask: pad(g, mask))


@_primitive
def add_at(W, region, z):
    """A copy of W with z added to W[region]; all other entries are bitwise those of W.

    region selects each entry at most once.
    """
    changed = np.array(W)
    changed[region] += z
    return changed


# z is added to entries of W: the gradient for W is g, and for z it is g at these entries.
defvjp(
    add_at,
    lambda y, W, region, z: lambda g: g,
    lambda y, W, region, z: lambda g: g[region],
    argnums=(0, 2),
)
defjvp(
    add_at,
    lambda g, y, W, region, z: g,
    lambda g, y, W, region, z: add_at(0 * y, region, g),
    argnums=(0, 2),
)


@_primitive
def relu(x):
    """max(x, 0) for every entry, with slope 0 at 0."""
    return np.maximum(x, 0)


# A gradient g for y becomes g for x where y > 0, and 0 elsewhere.
defvjp(relu, lambda y, x: lambda g: g * (y > 0))
defjvp(relu, lambda g, y, x: g * (y > 0))


@_primitive
def gelu(x):
    """x Φ(x) for every entry, Φ the distribution function of N(0, 1): Φ(x) = (1 + erf(x/√2)) / 2.

    In float64 by math.erf, entry by entry, which is exact and slow. In float32 by Abramowitz &
    Stegun, 1964, 7.1.26, which errs by 4e-7 at most, rounding included.
    """
    if x.dtype == np.float32:
        return _in_blocks(_gelu_float32, x)
    erf = np.frompyfunc(math.erf, 1, 1)
    return x * (1 + erf(x * 0.5**0.5).astype(x.dtype)) / 2


def _gelu_float32(x):
    """max(x, 0) − |x| Φ(−|x|), with Φ(−a) = exp(−a²/2) · (a polynomial in t = 1 / (1 + c a)) / 2.

    Written in place: most of the time goes into reading and writing arrays.
    """
    a = np.abs(x)
    t = a * np.float32(0.3275911 * 0.5**0.5)
    t += 1
    np.reciprocal(t, out=t)
    tail = t * np.float32(1.061405429 / 2)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        tail += np.float32(coefficient / 2)
        tail *= t
    tail *= _bell(x)
    tail *= a
    np.maximum(x, 0, out=a)
    a -= tail
    return a


@_primitive
def _gelu_slope(y, x):
    """Φ(x) + x φ(x), φ the density of N(0, 1), for y = gelu(x), which gives Φ(x) as y/x."""
    return _in_blocks(_slope_of_a_block, y, x)


def _slope_of_a_block(y, x):
    slope = np.full_like(x, 0.5)
    np.divide(y, x, out=slope, where=x != 0)
    density = _bell(x)
    density *= x.dtype.type((2 * np.pi) ** -0.5)
    density *= x
    slope += density
    return slope


def _bell(x):
    """exp(−x²/2)."""
    powers = x * x
    powers *= x.dtype.type(-0.5)
    return np.exp(powers, out=powers)


def _in_blocks(function, *arrays, size=1 << 15):
    """function(*arrays), entry by entry, on parts that fit into the processor's cache."""
    flat = [array.reshape(-1) for array in arrays]
    values = np.empty(flat[0].shape, flat[0].dtype)
    for start in range(0, len(values), size):
        part = slice(start, start + size)
        values[part] = function(*(array[part] for array in flat))
    return values.reshape(arrays[0].shape)


def _gelu_curvature(x):
    """The derivative of the slope for x, φ(x) (2 − x²)."""
    return (2 * np.pi) ** -0.5 * anp.exp(-0.5 * x * x) * (2 - x * x)


defvjp(gelu, lambda y, x: lambda g: g * _gelu_slope(y, x))
defjvp(gelu, lambda g, y, x: g * _gelu_slope(y, x))
defvjp(_gelu_slope, None, lambda s, y, x: lambda g: g * _gelu_curvature(x))  # y is x's
defjvp(_gelu_slope, None, lambda g, s, y, x: g * _gelu_curvature(x))


@_primitive
def standardise(x, eps):
    """(x − mean) / √(variance + eps), over the entries of each vector of x (..., d)."""
    centred = x - _mean(x)
    return centred / np.sqrt(_mean(centred * centred) + eps)


def _standardise_to_x(y, x, eps):
    """(g − mean(g) − y · mean(g · y)) / √(variance + eps)."""
    deviation = anp.sqrt(_mean((x - _mean(x)) ** 2) + eps)
    return lambda g: (g - _mean(g) - y * _mean(g * y)) / deviation


defvjp(standardise, _standardise_to_x)
defjvp(standardise, lambda g, y, x, eps: _standardise_to_x(y, x, eps)(g))  # it is symmetric


def _mean(x):
    """The mean of each vector: (..., d) -> (..., 1)."""
    return _row_sum(x) / x.shape[-1]


def _row_sum(x):
    """The sum of each vector: (..., d) -> (..., 1). On short vectors np.sum is far slower."""
    return x @ np.ones((x.shape[-1], 1), x.dtype)


@_primitive
def softmax(scores, allowed):
    """exp(score) / Σ exp(score) over the allowed keys, 0 for all others.

    scores (..., T, T); allowed (T, T), True where a query (row) may see a key (column), or True.
    """
    if allowed is not True:
        scores = scores + np.where(allowed, 0.0, -np.inf).astype(scores.dtype)
    powers = np.exp(
        scores - np.max(scores, axis=-1, keepdims=True)
    )  # at most 1: exp does not overflow
    return powers / _row_sum(powers)


# A gradient g for the probabilities p becomes p · (g − Σ p g) for the scores, Σ over all keys.
defvjp(softmax, lambda p, scores, allowed: lambda g: p * (g - _row_sum(p * g)))
defjvp(softmax, lambda g, p, scores, allowed: p * (g - _row_sum(p * g)))  # it is symmetric


@_primitive
def attention(q, k, v, ends, heads):
    """softmax(q kᵀ / √d_h) v for each sentence and head: q, k, v (n, d) -> (n, d).

    The n rows are the tokens of all sentences, one sentence after the other; ends: the row after
    the last of each. A head has d_h = d / heads columns. Sentence by sentence nothing is padded,
    and the arrays stay in the processor's cache.
    """
    y = np.empty_like(v)
    for rows in _between(ends):
        p, _, _, V = _attend(q[rows], k[rows], v[rows], heads)
        y[rows] = _joined(p @ V)
    return y


def _attention_to_qkv(argnums, y, arguments, options):
    """With p = softmax(q kᵀ / √d_h) and S = p · (g vᵀ − Σ p · g vᵀ) / √d_h, Σ over the keys:

        S k for q,   Sᵀ q for k,   pᵀ g for v

    p is computed once more: that takes little time, and keeping it would take the most memory.
    """
    q, k, v, ends, heads = arguments

    def gradients(g):
        found = []
        for rows in _between(ends):
            p, Q, K, V = _attend(q[rows], k[rows], v[rows], heads)
            G = _per_head(g[rows], heads)
            for_p = G @ V.swapaxes(1, 2)
            S = p * (for_p - _row_sum(p * for_p)) * Q.shape[2] ** -0.5
            found.append((S @ K, S.swapaxes(1, 2) @ Q, p.swapaxes(1, 2) @ G))
        return [anp.concatenate([_joined(own[i]) for own in found]) for i in argnums]

    return gradients


def _between(ends):
    """The rows of each sentence, as slices."""
    return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends)]


def _attend(q, k, v, heads):
    """p (heads, T, T) of one sentence, and its q, k and v (heads, T, d_h)."""
    Q, K, V = (_per_head(part, heads) for part in (q, k, v))
    scores = Q @ K.swapaxes(1, 2) * Q.shape[2] ** -0.5
    return softmax(scores, True), Q, K, V


def _per_head(rows, heads):
    """(T, d) -> (heads, T, d_h)."""
    T, d = rows.shape
    return rows.reshape(T, heads, d // heads).swapaxes(0, 1)


def _joined(rows):
    """(heads, T, d_h) -> (T, d)."""
    heads, T, d_h = rows.shape
    return rows.swapaxes(0, 1).reshape(T, heads * d_h)


defvjp_argnums(attention, _attention_to_qkv)  # and no forward mode


@_primitive
def log_softmax(logits):
    """log(exp(logit) / Σ exp(logit)) over the classes of each row, (n, classes)."""
    shifted = logits - np.max(logits, axis=1, keepdims=True)  # cancels out; exp does not overflow
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))


# A gradient g for y becomes g − softmax(logits) · Σ g, the sum over the classes of each row.
defvjp(log_softmax, lambda y, logits: lambda g: g - anp.exp(y) * _row_sum(g))
defjvp(log_softmax, lambda g, y, logits: g - _row_sum(anp.exp(y) * g))


@_primitive
def cross_entropy(logits, labels):
    """The mean of −log softmax(logits)[label], in nats. logits (n, classes), labels (n,) integers.

    Raises ValueError when logits is no array (n, classes) with n ≥ 1, or labels are not integers
    from 0 to classes − 1, one for each row.
    """
    n, classes = check_logits(logits)
    check_labels(labels, n, classes)
    return -np.sum(log_softmax(logits)[np.arange(n), labels]) / n


def _cross_entropy_to_logits(value, logits, labels):
    """(softmax(logits) − 1 at the label) / n."""
    n, classes = logits.shape

    def gradient(g):
        one_hot = np.equal.outer(labels, np.arange(classes))
        return g / n * (anp.exp(log_softmax(logits)) - one_hot)

    return gradient


defvjp(cross_entropy, _cross_entropy_to_logits)
defjvp(
    cross_entropy,
    lambda g, value, logits, labels: anp.sum(
        g * _cross_entropy_to_logits(value, logits, labels)(1.0)
    ),
)
