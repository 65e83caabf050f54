"""What a weight is: the one interface between models and adapters.

A weight W (d_out, d_in) is a matrix, or an object that maps x as a matrix would:

    W.shape, W.ndim, W.dtype      as of the matrix
    W(x)                          W x for every vector x, (..., d_in) -> (..., d_out)
    W.__array__()                 the matrix itself, dense

Float arrays, four-bit weights (`Quantized`) and adapted weights (`Adapted`) are weights, so
adapters stack: LoRA over HRA over four bits is a weight again. Models use every weight through
`linear`; adapters use the weight below them through `linear` in `forward` and through `dense` in
`merge`.

One convention holds in the whole package: y = W x for every vector x on the last axis of an array
with any number of leading axes. Where a product is written with a transpose, x @ W.T, it means
this.
"""

import dataclasses

import autograd.numpy as np

from minilora.checks import check_width
from minilora.ops import matvec


def linear(W, x):
    """y = W x for every vector on the last axis of x: (..., d_in) -> (..., d_out).

    W is any weight. Models call nothing else to use one, so they run unchanged however it was
    adapted or quantised.

    Raises ValueError when the last axis of x is not d_in.
    """
    if callable(W):
        return W(x)
    check_width(x, W)
    return matvec(W, x)


def dense(W):
    """The matrix (d_out, d_in) of any weight, to be read and not changed.

    For an adapted weight whose params are on autograd's tape, so is the matrix.
    """
    return W.__array__() if callable(W) else W


@dataclasses.dataclass(eq=False, repr=False)
class Adapted:
    """A weight with its adapter: itself a weight, W' in place of W.

    W: the weight below. name: of the weight in its model, for messages.
    """

    adapter: object
    params: dict
    frozen: dict
    W: object
    name: str = "W"
    ndim = 2

    @property
    def shape(self):
        """(d_out, d_in)."""
        return self.W.shape

    @property
    def dtype(self):
        """The dtype of W' and of its params."""
        return self.W.dtype

    def __call__(self, x):
        """W' x for every vector on the last axis of x."""
        return self.adapter.forward(self.params, self.frozen, x)

    def __array__(self, dtype=None, copy=None):
        """W' (d_out, d_in), always a new array."""
        merged = self.adapter.merge(self.params, self.frozen)
        return merged if dtype is None else merged.astype(dtype)

    def __getitem__(self, index):
        """Refused, with a ValueError: a model that indexes a weight needs an array."""
        raise ValueError(self._no_array("indexes"))

    def __array_ufunc__(self, *arguments, **options):
        """Refused, with a ValueError: a model that adds or multiplies a weight needs an array."""
        raise ValueError(self._no_array("computes with"))

    def _no_array(self, does):
        why = (
            f"the model {does} this weight as an array, but {describe(self.adapter)} makes it a map"
        )
        advice = "use linear(W, x), or adapt it with Full(), which trains the array itself"
        return f"{self.name}: {why}; {advice}"

    def __repr__(self):
        d_out, d_in = self.shape
        return f"Adapted({self.name}: {d_out} × {d_in} {self.dtype} with {describe(self.adapter)})"


def describe(adapter):
    """The adapter as one would write it, without arguments left at their defaults: "LoRA(rank=4)".

    For a class that is not a dataclass, its own repr; if it has none, its name alone.
    """
    kind = type(adapter)
    if not dataclasses.is_dataclass(adapter):
        silent = kind.__repr__ in (object.__repr__, describe)
        return f"{kind.__name__}()" if silent else repr(adapter)
    words = []
    for field in dataclasses.fields(adapter):
        value = getattr(adapter, field.name)
        if not _equal(value, field.default):
            words.append(f"{field.name}={getattr(value, '__name__', value)}")
    return f"{kind.__name__}({', '.join(words)})"


def _equal(value, default):
    """Whether a choice is its default; an array never is."""
    return not hasattr(value, "shape") and value == default


def reflect(W, u):
    """W (I − 2 u uᵀ / uᵀu): each row of W (n, d) reflected in the plane orthogonal to u (d,)."""
    return W - np.outer(W @ u, (2 / np.sum(u * u)) * u)


def normal(rng, shape, scale, dtype):
    """Draws from N(0, scale²) in the given dtype."""
    return (rng.standard_normal(shape) * scale).astype(dtype)
