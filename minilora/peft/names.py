"""Which weight here is which parameter of PEFT's model, and messages for when none is.

PEFT's model is made of layers, each with a name, and layer "encoder.dense" has the parameters
"encoder.dense.weight" and "encoder.dense.bias". `layer_of` says which layer a weight belongs to.
"""

import re
from itertools import takewhile

import numpy as np

COUNTER = "num_batches_tracked"  # an integer of a batch norm, which its output does not depend on
_OTHERS = re.compile(rf".*_(weight|bias)|running_(mean|var)|{COUNTER}")


def layer_of(name):
    """PEFT's name of the layer with this weight or bias: "layers.0.W" -> "layers.0"."""
    layer, _, last = name.rpartition(".")
    return layer if layer and last in ("W", "weight", "b", "bias") else name


def parameter_names(weights, layer_of):
    """{name of a parameter in PEFT's model: name of the weight}.

    A weight is the ".weight" of the layer that layer_of gives for its name, or the ".bias" if it is
    not a matrix and its own name ends in "b" or "bias". What PyTorch calls neither, such as
    "in_proj_weight" and "running_mean", has its own name if layer_of keeps it. A weight is left
    out if layer_of gives no string for it, or if it is not a matrix and another one would be the
    same parameter.

    Raises ValueError when layer_of is not a function, or gives two matrices one layer.
    """
    if not callable(layer_of):
        given = type(layer_of).__name__
        raise ValueError(f"layer_of must be a function, got {given}: try the .get of a dict")
    names = {}
    others = {}
    for name, W in weights.items():
        layer = layer_of(name)
        if not isinstance(layer, str):
            continue
        last = name.rpartition(".")[2]
        if _OTHERS.fullmatch(last) and layer.rpartition(".")[2] == last:
            names[layer] = name
            continue
        if np.ndim(W) != 2:
            kind = "bias" if last in ("b", "bias") else "weight"
            others.setdefault(f"{layer.removesuffix('.' + kind)}.{kind}", []).append(name)
            continue
        layer = layer.removesuffix(".weight")
        if names.setdefault(f"{layer}.weight", name) != name:
            both = f"{names[f'{layer}.weight']!r} and {name!r}"
            raise ValueError(f"layer_of must give one matrix the layer {layer!r}, got {both}")
    alone = {parameter: name for parameter, (name, *more) in others.items() if not more}
    return {**alone, **names}


def paths(layer):
    """The names of a layer and of all that it is part of: "a.b.c" -> ["a", "a.b", "a.b.c"]."""
    parts = layer.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts) + 1)]


def few(names):
    """The first three of some names, and how many there are."""
    names = list(names)
    first = ", ".join(f"{name!r:.80}" for name in names[:3])
    return first if len(names) <= 3 else f"{first}, … ({len(names)} in all)"


def nearest(name, candidates):
    """A sentence about the candidate whose end is most like that of a name; "" if none is."""
    reversed_name = name.split(".")[::-1]
    best = ""
    length = 0
    for candidate in candidates:
        pairs = zip(reversed_name, candidate.split(".")[::-1])
        alike = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
        if alike > length:
            best = candidate
            length = alike
    tail = ".".join(reversed_name[:length][::-1])
    if tail in (name, best) and best:
        return f": layer_of must give {name!r:.80} for {best!r:.80}"
    return f": {name!r:.80} and {best!r:.80} have the end {tail!r:.80} in common" if best else ""
