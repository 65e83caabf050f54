"""The linear layers of five released models as tables of sizes: count parameters without a weight.

An adapter counts itself: its own `init` runs on a placeholder of each shape, a weight without
entries in memory. So no second formula can disagree with the code, and layers of one shape are
counted once.

    llama = MODELS["llama3-8b"]
    count_trainable(LoRA(rank=32), llama.shapes("qkv"))                # q, k and v of all 32 layers
    count_trainable(CondLoRA(rank=32), llama.shapes("qkv"), key=kind)  # layers of a kind share

Liu et al., 2019, arXiv 1907.11692 (RoBERTa); He et al., 2021, arXiv 2111.09543 (DeBERTaV3); Touvron
et al., 2023, arXiv 2302.13971 (LLaMA); Grattafiori et al., 2024, arXiv 2407.21783 (LLaMA 3). The
names are those of the released weights.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minilora.attachment import attach, own_name
from minilora.checks import check_count, check_width
from minilora.weight import describe

_LLAMA = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
_ROBERTA = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "o": "attention.output.dense",
    "up": "intermediate.dense",
    "down": "output.dense",
}
_DEBERTA = {
    **_ROBERTA,
    "q": "attention.self.query_proj",
    "k": "attention.self.key_proj",
    "v": "attention.self.value_proj",
}


class Architecture(NamedTuple):
    """A Transformer as a table of sizes: layers that are alike, each with the same few linear maps.

    stack      where the layers are, "model.layers" for "model.layers.31.mlp.up_proj.weight"
    names      part -> name within a layer, "up" -> "mlp.up_proj"
    layers     how many there are
    width      of the vectors between the layers
    kv_width   of keys and values, less than width where several heads share them
    hidden     width inside the MLP
    total      all parameters of the released model, also embeddings, norms and biases
    """

    stack: str
    names: dict
    layers: int
    width: int
    kv_width: int
    hidden: int
    total: int

    def shapes(self, targets=None):
        """{name: (d_out, d_in)} of the linear maps of every layer, all of them or some.

        targets: any of q k v o (attention) and gate up down (MLP; BERTs have no gate), as a list,
        or as a string if all have one letter: ["q", "up"], "qkv". None means all.

        Raises ValueError for any other.
        """
        parts = list(self.names) if targets is None else self._parts(targets)
        shape_of = {
            "q": (self.width, self.width),
            "k": (self.kv_width, self.width),
            "v": (self.kv_width, self.width),
            "o": (self.width, self.width),
            "gate": (self.hidden, self.width),
            "up": (self.hidden, self.width),
            "down": (self.width, self.hidden),
        }
        found = {}
        for layer in range(self.layers):
            for part in parts:
                found[f"{self.stack}.{layer}.{self.names[part]}.weight"] = shape_of[part]
        return found

    def _parts(self, targets):
        """The targets as a list. Raises ValueError unless there are some and the model has all."""
        known = f"targets must be any of {', '.join(self.names)}"
        try:
            parts = list(targets)
        except TypeError:
            raise ValueError(f"{known}, got {targets!r}") from None
        if parts and all(part in list(self.names) for part in parts):
            return parts
        given = ", ".join(map(str, parts)) or "none"
        words = targets.replace(",", " ").split() if isinstance(targets, str) else []
        if words and all(word in self.names for word in words):
            given = f"the letters of {targets!r}: try {words}"
        raise ValueError(f"{known}, got {given}")


MODELS = {  # stack, names, layers, width, kv_width, hidden, total
    "roberta-base": Architecture("encoder.layer", _ROBERTA, 12, 768, 768, 3072, total=124_645_632),
    "deberta-v3-base": Architecture(
        "encoder.layer", _DEBERTA, 12, 768, 768, 3072, total=183_831_552
    ),
    "llama-7b": Architecture("model.layers", _LLAMA, 32, 4096, 4096, 11_008, total=6_738_415_616),
    "llama-13b": Architecture("model.layers", _LLAMA, 40, 5120, 5120, 13_824, total=13_015_864_320),
    "llama3-8b": Architecture("model.layers", _LLAMA, 32, 4096, 1024, 14_336, total=8_030_261_248),
}


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
