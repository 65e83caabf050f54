"""Give adapters to the weights of a model: named weights in, adapted weights out.

A model is a function of (weights, x), and weights are a flat dict from dotted names to weights.
`attach` picks names by glob patterns and gives each an adapter. What comes back holds the frozen
part, and the trainable parameters at their start:

    attached = attach(weights, {"layers.*.W": LoRA(rank=4)}, rng=rng)
    mlp(attached.bind(params), x)     # the same model on adapted weights
    attached.merge(params)            # plain arrays to deploy: no adapters, the same function

Sharing is a choice of key: weights whose keys are equal train the same arrays. The default key is
the weight's own name; `key=kind` shares across layers.
"""

import math
from dataclasses import dataclass

import numpy as np
from autograd.tracer import getval, isbox

from minilora.checks import check_floats, check_form, check_named_weights, check_rng
from minilora.matching import adapter_of_each
from minilora.tables import aligned
from minilora.weight import Adapted, dense, describe


def own_name(name):
    """The key under which every weight trains parameters of its own."""
    return name


def kind(name):
    """The key that all layers of a kind share: "blocks.3.ffn.up.W" -> "blocks.*.ffn.up.W"."""
    return ".".join("*" if part.isdigit() else part for part in name.split("."))


def attach(weights, adapters, *misplaced, rng=None, key=own_name):
    """Give adapters to named weights; returns an `Attached`.

    weights: dict from names to weights. adapters: dict from glob patterns ("layers.*.W",
    "*.attention.[qv].W") to adapters. rng: a np.random.Generator for the start of the adapters.
    key: name -> key; weights with equal keys share their parameters, which start as the first
    weight's.

    Raises ValueError when a pattern matches no name, a name is matched twice, an adapter cannot
    take a weight, or weights that share a key need parameters of different shapes; TypeError when
    rng is not passed by name.
    """
    if misplaced:
        raise TypeError(
            "attach takes rng by name: attach(weights, adapters, rng=np.random.default_rng(0))"
        )
    check_named_weights(weights)
    check_rng(rng)
    adapter_of = adapter_of_each(weights, adapters)
    key_of = {name: _key_of(name, key) for name in adapter_of}
    params = {}
    frozen = {}
    first = {}
    for name, adapter in adapter_of.items():
        start, frozen[name] = _init(rng, adapter, name, weights[name])
        owner = first.setdefault(key_of[name], name)
        existing = params.setdefault(key_of[name], start)
        if adapter_of[owner] != adapter or _shapes(existing) != _shapes(start):
            one = f"{describe(adapter_of[owner])} {_shapes(existing)}"
            other = f"{describe(adapter)} {_shapes(start)}"
            shared = f"{owner!r} and {name!r} share {key_of[name]!r}"
            raise ValueError(f"key: {shared}, but need {one} and {other}")
    return Attached(dict(weights), adapter_of, key_of, params, frozen)


def _key_of(name, key):
    """key(name). Raises ValueError unless key is a function that gives a string."""
    found = key(name) if callable(key) else key
    if not callable(key) or not isinstance(found, str):
        advice = "own_name and kind are such functions"
        raise ValueError(
            f"key must be a function from a name to a string, got {found!r:.80}: {advice}"
        )
    return found


def _init(rng, adapter, name, W):
    """(params, frozen) of an adapter on one weight. Raises ValueError, with the weight's name."""
    where = f"{describe(adapter)} on {name!r}"
    try:
        started = adapter.init(rng, W)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if not isinstance(started, tuple) or [type(part) for part in started] != [dict, dict]:
        raise ValueError(
            f"{where}: init must return two dicts, params and frozen, got {started!r:.80}"
        )
    start, frozen = started
    for letter, array in start.items():
        try:
            check_floats(f"params[{letter!r}]", array)
        except ValueError as error:
            raise ValueError(f"{where}: init gives impossible params: {error}") from error
    if W.ndim != 2:
        merged = adapter.merge(start, frozen)
        if np.shape(merged) != W.shape:
            reason = f"its shape is {W.shape}, not a matrix, and merge gives {np.shape(merged)}"
            raise ValueError(f"{where}: {reason}; Full() trains an array of any shape")
    return start, frozen


def _shapes(params):
    """The shape of every array of one adapter."""
    return {letter: array.shape for letter, array in params.items()}


@dataclass(frozen=True, repr=False, eq=False)
class Attached:
    """What `attach` returns; print it to see what is trained.

    `params` are the initial trainable parameters.
    """

    weights: dict  # name -> weight, as given
    adapters: dict  # name -> adapter, for the adapted ones
    keys: dict  # name -> key into params
    params: dict  # key -> {letter: array}
    frozen: dict  # name -> what the adapter keeps

    def bind(self, params=None):
        """The weights of the model with these params (default: the initial ones).

        An adapted matrix is an `Adapted`; where the adapter has `array`, or the weight is not
        a matrix, an array. All other weights are as given.

        Raises ValueError when keys, letters, shapes or dtypes of params are not those of
        `self.params`, or, outside a gradient, when they are not finite.
        """
        params = self._checked(params)
        bound = dict(self.weights)
        for name, adapter in self.adapters.items():
            W = bound[name]
            own = params[self.keys[name]]
            frozen = self.frozen[name]
            if hasattr(adapter, "array"):
                bound[name] = adapter.array(own, frozen)
            elif W.ndim != 2:
                bound[name] = adapter.merge(own, frozen)
            else:
                bound[name] = Adapted(adapter, own, frozen, W, name)
        return bound

    def merge(self, params=None):
        """Plain weights that compute what `bind(params)` computes; the others are not copied.

        Raises ValueError as `bind` does.
        """
        params = self._checked(params)
        merged = {
            name: dense(W) if isinstance(W, Adapted) else W for name, W in self.weights.items()
        }
        for name, adapter in self.adapters.items():
            merged[name] = adapter.merge(params[self.keys[name]], self.frozen[name])
        return merged

    def _checked(self, params):
        """params, or the initial ones. Raises ValueError unless they are like the initial ones."""
        if params is None:
            return self.params
        check_form("params", params, self.params)
        for key, start in self.params.items():
            own = params[key]
            for letter, array in start.items():
                given = getval(own[letter])
                # On the tape only the loss is checked, by training: checking every array would be
                # slow.
                if given.dtype != array.dtype or not (isbox(own[letter]) or _finite(given)):
                    where = f"params[{key!r}][{letter!r}]"
                    found = given.dtype if given.dtype != array.dtype else "NaN or inf"
                    raise ValueError(f"{where} must be finite {array.dtype}, got {found}")
        return params

    @property
    def trainable(self):
        """The number of trainable parameters; shared ones count once."""
        return sum(array.size for own in self.params.values() for array in own.values())

    @property
    def total(self):
        """The number of parameters of the model without adapters."""
        return sum(math.prod(W.shape) for W in self.weights.values())

    @property
    def fraction(self):
        """Trainable parameters as a fraction of the model's own."""
        return self.trainable / self.total

    def __call__(self, *arguments):
        """Refused, with a TypeError: an `Attached` holds weights, and is not a model."""
        raise TypeError(
            "an Attached holds weights and is not a model: call model(attached.bind(params), x)"
        )

    def __repr__(self):
        kinds = ", ".join(dict.fromkeys(describe(adapter) for adapter in self.adapters.values()))
        counts = f"{self.trainable:,} trainable parameters of {self.total:,}"
        return f"Attached({kinds or 'no adapter'} on {len(self.adapters)} weights, {counts})"

    def __str__(self):
        rows = [("weight", "shape", "adapter", "trainable")]
        first = {}
        for name, adapter in self.adapters.items():
            owner = first.setdefault(self.keys[name], name)
            count = sum(array.size for array in self.params[self.keys[name]].values())
            shape = " × ".join(str(n) for n in self.weights[name].shape)
            cell = f"{count:,}" if owner == name else f"shared with {owner}"
            rows.append((name, shape, describe(adapter), cell))
        others = f"Frozen: {len(self.weights) - len(self.adapters)} other arrays."
        trainable = (
            f"Trainable: {self.trainable:,} of {self.total:,} parameters, {self.fraction:.2%}."
        )
        return f"{aligned(rows)}\n{others}\n{trainable}"


def _finite(array):
    """Whether all entries of an array are finite."""
    return bool(np.all(np.isfinite(array)))


def merge_all(parts, overlap=False):
    """One matrix from several SBoRA adapters of the same W, parts = [(adapter, params, frozen), …].

    When no entry is in two regions, the result is bitwise identical for every order of the parts.

    Raises ValueError when regions overlap (SBoRA-FA and SBoRA-FB always do), unless overlap is
    allowed, when the parts hold different W, and when there is no part or an adapter has no region.
    """
    if not parts:
        raise ValueError("parts must hold at least one (adapter, params, frozen), got none")
    without = [describe(adapter) for adapter, _, _ in parts if not hasattr(adapter, "region")]
    if without:
        raise ValueError(
            f"parts must be adapters of a region of W, as SBoRA's are, got {', '.join(without)}"
        )
    _, _, first_frozen = parts[0]
    merged = np.array(dense(first_frozen["W"]))
    for _, _, frozen in parts:
        if not np.array_equal(dense(frozen["W"]), merged):
            raise ValueError("parts must be adapters of the same W, but they hold different ones")
    taken = np.zeros(merged.shape, int)
    for adapter, params, frozen in parts:
        merged = adapter.merge(params, {**frozen, "W": merged})
        taken[adapter.region(frozen)] += 1
    if taken.max() > 1 and not overlap:
        shared = np.sum(taken > 1)
        raise ValueError(
            f"parts overlap in {shared} entries of W: pass overlap=True to add them up there"
        )
    return merged
