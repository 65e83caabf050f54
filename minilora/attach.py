"""Give adapters to the weights of a model: named weights in, adapted weights out.

A model is a function of (weights, x), and weights are a flat dict from dotted names to arrays. `attach` picks names by
glob patterns and gives each an adapter; what comes back holds the frozen part and the numbers to train at the start:

    attached = attach(weights, {"layers.*.W": LoRA(rank=4)}, rng)
    mlp(attached.bind(params), x)     # the same model on adapted weights: each is a map that `linear` calls
    attached.merge(params)            # plain arrays to deploy: the adapters are gone, the function is the same

Sharing is a choice of key: weights whose keys are equal train the same arrays. The default key is the weight's own
name; `key=kind` shares across layers.
"""

import math
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase

from minilora.adapters import Full
from minilora.tables import aligned


@dataclass(frozen=True)
class Adapted:
    """A weight with its adapter, to be called as x -> W' x."""

    adapter: object
    params: dict
    frozen: dict

    def __call__(self, x):
        """W' x for every vector on the last axis of x."""
        return self.adapter.forward(self.params, self.frozen, x)


def own_name(name):
    """The key under which every weight trains numbers of its own."""
    return name


def kind(name):
    """The key that all layers of a kind share: "blocks.3.attention.q.W" -> "blocks.*.attention.q.W"."""
    return ".".join("*" if part.isdigit() else part for part in name.split("."))


def describe(adapter):
    """The adapter as one would write it, without the choices left at their defaults: "LoRA(rank=4)"."""
    chosen = {f.name: getattr(adapter, f.name) for f in fields(adapter) if getattr(adapter, f.name) != f.default}
    words = [f"{name}={getattr(value, '__name__', value)}" for name, value in chosen.items()]
    return f"{type(adapter).__name__}({', '.join(words)})"


def attach(weights, adapters, rng, key=own_name):
    """Give adapters to named weights; returns an `Attached`.

    weights: dict from names to arrays. adapters: dict from glob patterns ("layers.*.W", "*.attention.[qv].W") to
    adapters. rng: a np.random.Generator for the start of the adapters. key: name -> key; equal keys share params.

    Raises ValueError when a pattern matches no name, a name is matched twice, an adapter cannot take a weight, or
    weights that share a key need params of different shapes.
    """
    chosen = {}
    for pattern, adapter in adapters.items():
        names = [name for name in weights if fnmatchcase(name, pattern)]
        if not names:
            raise ValueError(f"adapters: the pattern {pattern!r} matches no weight; the names are {', '.join(weights)}")
        if twice := chosen.keys() & names:
            raise ValueError(f"adapters: {min(twice)!r} is matched by more than one pattern, the second is {pattern!r}")
        chosen |= dict.fromkeys(names, adapter)
    keys, params, frozen, first = {name: key(name) for name in chosen}, {}, {}, {}
    for name, adapter in chosen.items():
        try:
            start, frozen[name] = adapter.init(rng, weights[name])
        except ValueError as error:
            raise ValueError(f"{describe(adapter)} on {name!r}: {error}") from error
        shared, own = first.setdefault(keys[name], name), params.setdefault(keys[name], start)
        if chosen[shared] != adapter or shapes(own) != shapes(start):
            wanted = f"{describe(chosen[shared])} {shapes(own)} and {describe(adapter)} {shapes(start)}"
            raise ValueError(f"key: {shared!r} and {name!r} share {keys[name]!r}, but need {wanted}")
    return Attached(dict(weights), chosen, keys, params, frozen)


def shapes(params):
    """The shape of every array of one adapter."""
    return {name: array.shape for name, array in params.items()}


@dataclass(frozen=True)
class Attached:
    """What `attach` returns. `params` holds the numbers to train at their start; print it to see what is trained."""

    weights: dict  # name -> array, as given
    adapters: dict  # name -> adapter, for the adapted ones
    keys: dict  # name -> key into params
    params: dict  # key -> {letter: array}
    frozen: dict  # name -> what the adapter keeps

    def bind(self, params):
        """The weights of the model with these params: adapted ones are callable, all others as they were.

        Raises ValueError when params has other keys than `self.params`.
        """
        if params.keys() != self.params.keys():
            raise ValueError(f"params has the keys {sorted(params)}, but these are attached: {sorted(self.params)}")
        bound = dict(self.weights)
        for name, adapter in self.adapters.items():
            own = params[self.keys[name]]
            # Full's array is the weight itself, which a model may also add (a bias) or index (an embedding).
            bound[name] = own["W"] if isinstance(adapter, Full) else Adapted(adapter, own, self.frozen[name])
        return bound

    def merge(self, params):
        """Plain weights that compute what `bind(params)` computes. Arrays without an adapter are not copied.

        Raises ValueError as `bind` does.
        """
        merged = self.bind(params)
        for name, adapter in self.adapters.items():
            merged[name] = adapter.merge(params[self.keys[name]], self.frozen[name])
        return merged

    @property
    def trained(self):
        """How many numbers are trained; shared ones count once."""
        return sum(array.size for own in self.params.values() for array in own.values())

    @property
    def total(self):
        """How many numbers the model has without adapters."""
        return sum(math.prod(W.shape) for W in self.weights.values())

    @property
    def share(self):
        """Trained numbers as a share of the model's own."""
        return self.trained / self.total

    def __str__(self):
        rows, first = [("weight", "shape", "adapter", "trained")], {}
        for name, adapter in self.adapters.items():
            sharing = first.setdefault(self.keys[name], name)
            count = f"{sum(array.size for array in self.params[self.keys[name]].values()):,}"
            shape = " × ".join(str(n) for n in self.weights[name].shape)
            rows.append((name, shape, describe(adapter), count if sharing == name else f"shared with {sharing}"))
        trained = f"Trained: {self.trained:,} numbers, {self.share:.2%} of the model's {self.total:,}."
        return f"{aligned(rows)}\nFrozen: {len(self.weights) - len(self.adapters)} other arrays.\n{trained}"
