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
from autograd.extend import defjvp, defvjp, notrace_primitive, primitive

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
    """All vectors of x, stacked as rows: (..., d) -> (n, d)."""
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


# The gradient for a row is that of y at the position of the row.
defvjp(pad, lambda y, rows, mask: lambda g: g[mask])
defjvp(pad, lambda g, y, rows, mask: pad(g, mask))


@_primitive
def add_at(W, region, z):
    """A copy of W with z added to W[region]; all other entries stay bitwise identical.

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


def gelu(x):
    """x Φ(x) for every entry, Φ the distribution function of N(0, 1), of a finite float array x.

    In float64 by math.erf, entry by entry, which is exact and slow. In float32 it errs by 3e-7 at
    most, or by 1.2e-7 of |x| where that is more, rounding included.
    """
    return _with_slope(x, *_gelu_and_slope(x))


@notrace_primitive  # x is a plain array here
@np.errstate(over="ignore")  # of x²: where it is infinite, Φ is 0 or 1 and its density 0
def _gelu_and_slope(x, block=1 << 15):
    """x Φ(x) and its slope Φ(x) + x φ(x), φ the density of N(0, 1).

    Both at once, because they share Φ(x). Block by block and in place, because most of the time
    goes into reading and writing: a block stays in the processor's cache.
    """
    entries = x.reshape(-1)
    y, slope = np.empty_like(entries), np.empty_like(entries)
    for start in range(0, len(entries), block):
        part = slice(start, start + block)
        own = entries[part]
        square = own * own
        Phi = _distribution_function(own, square)
        np.multiply(own, Phi, out=y[part])
        density = np.exp(-0.5 * square)
        density *= (2 * np.pi) ** -0.5
        density *= own
        np.add(Phi, density, out=slope[part])
    return y.reshape(x.shape), slope.reshape(x.shape)


# P's coefficients, the last one first: fitted so that the largest error of x Φ(x), 7e-8, is least.
_P = (1.8139241e-9, -1.3378306e-7, 3.9740685e-6, -5.527337e-5)
_P += (-3.3026756e-5, 3.6334149e-2, 0.79788427)


def _distribution_function(x, square):
    """Φ(x) = (1 + erf(x/√2)) / 2 in float64; in float32 (1 + tanh(x P(x²))) / 2.

    P is a polynomial of degree 6, where Hendrycks & Gimpel, 2016, arXiv 1606.08415, take one of
    degree 1.
    """
    if x.dtype != np.float32:
        erf = np.frompyfunc(math.erf, 1, 1)
        return (1 + erf(x * 0.5**0.5).astype(x.dtype)) / 2
    Phi = np.full_like(x, _P[0])
    for coefficient in _P[1:]:
        Phi *= square
        Phi += coefficient
    Phi *= x
    return 0.5 * np.tanh(Phi, out=Phi) + 0.5


@_primitive
def _with_slope(x, y, slope):
    """This y, which is gelu(x), with this slope."""
    return y


@_primitive
def _slope_of_gelu(x, slope):
    """This slope, which is that of gelu at x."""
    return slope


def _times(slope):
    """g · slope."""
    return lambda g: g * slope


def _gelu_curvature(x):
    """The derivative of the slope for x, φ(x) (2 − x²)."""
    return (2 * np.pi) ** -0.5 * anp.exp(-0.5 * x * x) * (2 - x * x)


# The tape keeps neither x nor y of gelu, only the slope.
defvjp(_with_slope, lambda _, x, y, slope: _times(_slope_of_gelu(x, slope)))
defjvp(_with_slope, lambda g, _, x, y, slope: g * _slope_of_gelu(x, slope))
defvjp(_slope_of_gelu, lambda _, x, slope: lambda g: g * _gelu_curvature(x))
defjvp(_slope_of_gelu, lambda g, _, x, slope: g * _gelu_curvature(x))


@_primitive
def standardise(x, eps):
    """(x − mean) / √(variance + eps), over the entries of each vector of x (..., d)."""
    centred = x - _mean(x)
    centred /= np.sqrt(_mean(centred * centred) + eps)
    return centred


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
    powers = scores - np.max(scores, axis=-1, keepdims=True)
    np.exp(powers, out=powers)  # at most 1: exp does not overflow
    powers /= _row_sum(powers)
    return powers


# A gradient g for the probabilities p becomes p · (g − Σ p g) for the scores, Σ over all keys.
defvjp(softmax, lambda p, scores, allowed: lambda g: p * (g - _row_sum(p * g)))
defjvp(softmax, lambda g, p, scores, allowed: p * (g - _row_sum(p * g)))  # it is symmetric


def attention(q, k, v, ends, heads):
    """softmax(q kᵀ / √d_h) v for each sentence and head: q, k, v (n, d) -> (n, d).

    The n rows are the tokens of all sentences, one sentence after the other; ends: the row after
    the last of each. A head has d_h = d / heads columns. Sentence by sentence nothing is padded,
    and the arrays stay in the processor's cache. The tape keeps the T × T probabilities of each
    sentence and head: as many numbers as q has, where T = d_h.
    """
    sizes = (ends, heads)
    scores = _products(q * (q.shape[1] // heads) ** -0.5, k, *sizes)
    return _averages(_softmax_each(scores, *sizes), v, False, *sizes)


@_primitive
def _products(q, k, ends, heads):
    """q kᵀ (heads, T, T) for each sentence, all entries in one vector."""
    return np.concatenate(
        [(Q @ K.swapaxes(1, 2)).ravel() for Q, K in _sentences(ends, heads, q, k)]
    )


@_primitive
def _averages(p, v, transposed, ends, heads):
    """p v, or pᵀ v, for each sentence and head: (n, d). p: as `_products` gives it."""
    y = np.empty_like(v)
    for P, V, Y in _sentences(ends, heads, p, v, y):
        Y[:] = (P.swapaxes(1, 2) if transposed else P) @ V
    return y


# The gradient for each argument is one of these two again.
defvjp(
    _products,
    lambda _, q, k, *sizes: lambda g: _averages(g, k, False, *sizes),
    lambda _, q, k, *sizes: lambda g: _averages(g, q, True, *sizes),
)
defvjp(
    _averages,
    lambda _, p, v, back, *sizes: lambda g: _products(*((v, g) if back else (g, v)), *sizes),
    lambda _, p, v, back, *sizes: lambda g: _averages(p, g, not back, *sizes),
)


@_primitive
def _softmax_each(scores, ends, heads):
    """softmax of the scores of each query, in one vector as they are."""
    return np.concatenate([softmax(S, True).ravel() for (S,) in _sentences(ends, heads, scores)])


def _softmax_each_to_scores(p, _, ends, heads):
    """p · (g − Σ p g), as for softmax."""
    return lambda g: anp.concatenate(
        [(G - P * _row_sum(G)).ravel() for P, G in _sentences(ends, heads, p, p * g)]
    )


defvjp(_softmax_each, _softmax_each_to_scores)  # and no forward mode


def _sentences(ends, heads, *arrays):
    """The parts of these arrays that belong to a sentence, for one sentence after the other.

    (n, d) -> (heads, T, d_h), and a vector of all T × T entries -> (heads, T, T).
    """
    lengths = np.diff(ends, prepend=0)
    for end, T, stop in zip(ends, lengths, np.cumsum(heads * lengths**2)):
        yield [
            array[end - T : end].reshape(T, heads, -1).swapaxes(0, 1)
            if array.ndim == 2
            else array[stop - heads * T * T : stop].reshape(heads, T, T)
            for array in arrays
        ]


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

    Raises ValueError when logits is not an array (n, classes) with n ≥ 1, or labels are not
    integers from 0 to classes − 1, one for each row.
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
