"""What a promise is tried on: a random weight and an adapter on it, with params as if trained."""

from typing import NamedTuple

import autograd.numpy as np
from autograd.core import VJPNode
from autograd.tracer import new_box, toposort, trace_stack

from minilora.adapters import LoRA
from minilora.weight import Adapted


class Trial(NamedTuple):
    """An adapter on a random W, before and after something like training."""

    rng: np.random.Generator
    adapter: object
    W: np.ndarray
    W_given: np.ndarray  # a copy of W, made before the adapter saw it
    start: dict  # params at the start
    params: dict  # params as if trained
    frozen: dict
    x: np.ndarray  # (4, d_in)

    def loss(self, params, x):
        """A loss in which every output counts, with its own weight."""
        y = self.adapter.forward(params, self.frozen, x)
        factors = np.cos(np.arange(y.size, dtype=x.dtype)).reshape(y.shape).astype(x.dtype)
        return np.sum(np.tanh(y) * factors)

    def snapshot(self):
        """All that an adapter is given, to be compared bit by bit later."""
        names = ("W", "start", "params", "frozen", "x")
        return {name: bits(getattr(self, name)) for name in names}

    def shapes_on_the_tape(self):
        """The shapes of all arrays that `forward` computes from the params, and of the params."""
        with trace_stack.new_trace() as trace:
            boxes = {}
            for name, array in self.params.items():
                boxes[name] = new_box(array, trace, _ShapeNode.root(array))
            end = self.adapter.forward(boxes, self.frozen, self.x)
        return {node.shape for node in toposort(end._node)}


class _ShapeNode(VJPNode):
    """A node of the tape that remembers the shape of its value."""

    __slots__ = ("shape",)

    def __init__(self, value, fun, args, kwargs, parent_argnums, parents):
        super().__init__(value, fun, args, kwargs, parent_argnums, parents)
        self.shape = np.shape(value)

    @classmethod
    def root(cls, array):
        node = cls.new_root()
        node.shape = array.shape
        return node


def bits(thing):
    """The arrays of a nested dict, bit by bit."""
    if isinstance(thing, dict):
        return {name: bits(part) for name, part in thing.items()}
    return (thing.shape, thing.tobytes()) if isinstance(thing, np.ndarray) else None


def weight(rng, shape, dtype=np.float64):
    """A random weight whose singular values are of size 1."""
    return (rng.standard_normal(shape) / np.sqrt(shape[1])).astype(dtype)


def moved(rng, params, size=0.5):
    """Params perturbed as if trained."""
    noise = {name: size * rng.standard_normal(array.shape) for name, array in params.items()}
    return {name: (array + noise[name]).astype(array.dtype) for name, array in params.items()}


def start(rng, adapter, W):
    """(params, frozen) from adapter.init; raises TypeError when they are not two dicts."""
    started = adapter.init(rng, W)
    if not isinstance(started, tuple) or [type(part) for part in started] != [dict, dict]:
        raise TypeError(f"init must return two dicts, params and frozen, got {started!r:.80}")
    return started


class _Watched(LoRA):
    """LoRA that notes its calls in a list in frozen."""

    def forward(self, params, frozen, x):
        frozen["calls"].append(x.shape)
        return super().forward(params, frozen, x)


def lora_on(rng, W, calls):
    """W with LoRA on it, as `attach` binds it."""
    adapter = _Watched(rank=1)
    params, frozen = adapter.init(rng, W)
    return Adapted(adapter, moved(rng, params), {**frozen, "calls": calls}, W)
