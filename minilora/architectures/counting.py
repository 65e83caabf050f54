"""Count the parameters that an adapter trains on weights of given shapes, without the weights.

An adapter counts itself: its own `init` runs on a placeholder of each shape, a weight without
entries in memory. So no second formula can disagree with the code, and layers of one shape are
counted once.
"""

import math
from dataclasses import dataclass

import numpy as np

from minilora.attachment import attach, own_name
from minilora.checks import check_count, check_width
from minilora.weight import describe


def count_trainable(adapter, shapes, key=own_name):
    """The number of trainable parameters of an adapter on weights {name: (d_out, d_in)}.

    key: name -> key, as for `attach`; weights with equal keys share their parameters, which count
    once.

    Raises ValueError, with the weight's name, when the adapter cannot take one of the shapes, and
    when weights that share a key need parameters of different shapes.
    """
    _check_shapes(shapes)
    if not callable(key):
        raise ValueError(f"key must be a function of a name, such as kind, got {key!r:.80}")
    key_of = {name: key(name) for name in shapes}
    needed_for = {}  # shape of a weight -> {letter: shape}
    needed = {}  # key -> {letter: shape}
    for name, shape in shapes.items():
        if shape not in needed_for:
            needed_for[shape] = _needed(adapter, name, shape)
        if not isinstance(key_of[name], str):
            raise ValueError(f"key must give a string for {name!r}, got {key_of[name]!r:.80}")
        first = needed.setdefault(key_of[name], needed_for[shape])
        if first != needed_for[shape]:
            both = f"{first} and {needed_for[shape]}"
            raise ValueError(f"key: {name!r} shares {key_of[name]!r}, which would need both {both}")
    return sum(math.prod(size) for sizes in needed.values() for size in sizes.values())


def _needed(adapter, name, shape):
    """The shapes of an adapter's params on one weight, {letter: shape}."""
    rng = np.random.default_rng(0)
    try:
        attached = attach({name: _Placeholder(shape)}, {"*": adapter}, rng=rng)
    except MemoryError:
        where = f"{describe(adapter)} on {name!r} {shape}"
        why = "its parameters do not fit in memory, try a lower rank"
        raise ValueError(f"{where}: {why}") from None
    return {letter: array.shape for letter, array in attached.params[name].items()}


def _check_shapes(shapes):
    """Raise ValueError unless shapes is a dict from names to tuples of integers of at least 1."""
    if not isinstance(shapes, dict):
        example = 'MODELS["llama3-8b"].shapes()'
        raise ValueError(f"shapes must be a dict {{name: (d_out, d_in)}}, such as {example}")
    for name, shape in shapes.items():
        if not isinstance(name, str) or not isinstance(shape, tuple):
            raise ValueError(f"shapes[{name!r}] must be a tuple (d_out, d_in), got {shape!r:.80}")
        for size in shape:
            check_count(f"shapes[{name!r}]", size)


@dataclass(frozen=True)
class _Placeholder:
    """A weight of zeros that takes no memory: its matrix has one entry, repeated."""

    shape: tuple
    dtype = np.dtype(np.float32)

    @property
    def ndim(self):
        return len(self.shape)

    def __call__(self, x):
        check_width(x, self)
        return np.zeros((*np.shape(x)[:-1], self.shape[0]), self.dtype)

    def __array__(self, dtype=None, copy=None):
        zeros = np.broadcast_to(np.zeros((), self.dtype), self.shape)
        return np.array(zeros, dtype, copy=copy)
