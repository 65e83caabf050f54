"""Several hundred wrong arguments: each is a ValueError or TypeError that names the argument.

A row of `CALLS` is a call that works and, for each of its arguments, the kind of value that it
takes. Every wrong value of that kind in `WRONG` then replaces the right one, one at a time. Neither
the wrong value nor any right one may be changed by the call, and nothing may be written.
"""

import copy
import re

import autograd.numpy as anp
import numpy as np
import pytest

from minilora import analysis
from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.architectures import MODELS, architecture_of, count_trainable
from minilora.architectures.released import CONFIGS
from minilora.attachment import attach, merge_all
from minilora.data import teacher, text
from minilora.data.glyphs import SOURCE, draw_letters
from minilora.data.reviews import split_by_sentiment
from minilora.data.wordpiece import tokenize
from minilora.family import (
    BOFT,
    IA3,
    OFT,
    SVF,
    DoRA,
    LoHa,
    LoKr,
    LoRAFA,
    LoRAXS,
    PiSSA,
    RandLoRA,
    SHiRA,
    VeRA,
)
from minilora.models.encoder import (
    encoder,
    init_encoder,
    sentence_logits,
    sentence_vectors,
    with_head,
)
from minilora.models.mlp import init_mlp, mlp
from minilora.models.transformer import causal, init_transformer, sample, transformer
from minilora.ops import cross_entropy
from minilora.peft import adapters_of, open_checkpoint, read_peft, read_safetensors, write_peft
from minilora.quantization import quantize
from minilora.testing import check_adapter
from minilora.theorems import linear as linear_theorem
from minilora.theorems import reachable
from minilora.theorems import relu as relu_theorem
from minilora.theorems import transformer as transformer_theorem
from minilora.theorems.witness import witness
from minilora.train import accuracy, adam, adam_start, fit, learning_rate, value_and_grad
from minilora.weight import linear


class Unchangeable:
    """Any object that is none of the things that functions here take."""

    def __repr__(self):
        return "an object"


OTHER = Unchangeable()
NAN_MATRIX = np.full((4, 4), np.nan)
COUNTS = {
    "minus one": -1,
    "a fraction": 2.5,
    "a float": 2.0,
    "text": "2",
    "None": None,
    "a list": [2],
    "True": True,
    "NaN": np.nan,
    "an array": np.array([1, 2]),
}
NUMBERS = {
    "zero": 0,
    "minus one": -1.0,
    "NaN": np.nan,
    "infinity": np.inf,
    "text": "1",
    "None": None,
    "a list": [1.0],
    "a complex number": 1j,
}
MATRICES = {
    "None": None,
    "a number": 1.0,
    "a list": [[1.0, 2.0], [3.0, 4.0]],
    "text": "matrix",
    "a vector": np.ones(4),
    "three axes": np.ones((2, 4, 4)),
    "empty": np.ones((0, 4)),
    "integers": np.ones((4, 4), int),
    "booleans": np.ones((4, 4), bool),
    "complex": np.ones((4, 4), complex),
    "objects": np.full((4, 4), None),
    "float16": np.ones((4, 4), np.float16),
    "NaN": NAN_MATRIX,
    "infinity": np.full((4, 4), np.inf),
}
WRONG = {
    "count": COUNTS,
    "positive count": {"zero": 0, **COUNTS},
    "optional count": {"zero": 0} | {name: COUNTS[name] for name in COUNTS if name != "None"},
    "number": NUMBERS,
    "optional number": {name: NUMBERS[name] for name in NUMBERS if name != "None"},
    "matrix": MATRICES,
    "optional matrix": {name: MATRICES[name] for name in MATRICES if name != "None"},
    "matrix of any float": {name: MATRICES[name] for name in MATRICES if name != "float16"},
    "square matrix": {**MATRICES, "not square": np.ones((4, 3))},
    "optional matrix of any float": {
        name: MATRICES[name] for name in MATRICES if name not in ("None", "float16")
    },
    "square matrix of any float": {
        "not square": np.ones((4, 3)),
        **{name: MATRICES[name] for name in MATRICES if name != "float16"},
    },
    "matrices": {
        "none": (),
        "one": (np.eye(4),),
        "None": (None, np.eye(4)),
        "a list of lists": ([[1.0]], [[1.0]]),
        "other rows": (np.eye(4), np.eye(3)),
        "NaN": (NAN_MATRIX, np.eye(4)),
        "of integers": (np.eye(4, dtype=int), np.eye(4)),
    },
    "values": {
        "None": None,
        "a number": 1.0,
        "a list": [1.0, 2.0],
        "a matrix": np.eye(3),
        "nothing": np.ones(0),
        "zeros": np.zeros(3),
        "a negative one": np.array([1.0, -1.0]),
        "integers": np.array([2, 1]),
        "NaN": np.array([1.0, np.nan]),
    },
    "LoRA or HRA": {"None": None, "a class": HRA, "text": "hra", "Full": Full()},
    "rng": {
        "None": None,
        "a seed": 0,
        "minus one": -1,
        "the old generator": np.random.RandomState(0),
        "the module": np.random,
        "text": "rng",
    },
    "optional rng": {"a seed": 0, "the old generator": np.random.RandomState(0), "text": "rng"},
    "weights": {
        "None": None,
        "a list": [np.ones((4, 4))],
        "an array": np.ones((4, 4)),
        "no weights": {},
        "a misspelt name": {"layer.0.W": np.ones((4, 4)), "layer.0.b": np.ones(4)},
        "a gap": {"layers.0.W": np.eye(4), "layers.2.W": np.eye(4), "layers.0.b": np.ones(4)},
    },
    "named arrays": {
        "None": None,
        "a list": [np.ones((4, 4))],
        "an array": np.ones((4, 4)),
        "no weights": {},
        "a list under a name": {"layers.0.W": [[1.0]]},
        "a number for a name": {0: np.ones((4, 4))},
    },
    "adapters": {
        "None": None,
        "an adapter": LoRA(2),
        "a list": [LoRA(2)],
        "a class": {"*.W": LoRA},
        "None for an adapter": {"*.W": None},
        "no match": {"hidden.*": LoRA(2)},
        "two matches": {"*.W": LoRA(2), "layers.*.W": LoRA(2)},
        "a number for a pattern": {1: LoRA(2)},
    },
    "params": {
        "a list": [1.0],
        "no keys": {},
        "another key": {"layers.1.W": {}},
        "a missing letter": {"layers.0.W": {"A": np.ones((2, 4))}},
        "None": {"layers.0.W": None},
        "another rank": {"layers.0.W": {"A": np.ones((3, 4)), "B": np.ones((4, 3))}},
        "a broadcast": {"layers.0.W": {"A": np.ones((2, 4)), "B": np.ones((1, 2))}},
        "float32": {
            "layers.0.W": {"A": np.ones((2, 4), np.float32), "B": np.ones((4, 2), np.float32)}
        },
        "integers": {"layers.0.W": {"A": np.ones((2, 4), int), "B": np.ones((4, 2), int)}},
        "NaN": {"layers.0.W": {"A": np.full((2, 4), np.nan), "B": np.ones((4, 2))}},
    },
    "trainable arrays": {
        "None": None,
        "nothing": {},
        "a list": [1.0],
        "a number": 1.0,
        "integers": {"w": np.array([1, 2, 3])},
        "booleans": {"w": np.array([True])},
        "float16": {"w": np.ones(3, np.float16)},
        "text": {"w": "three"},
    },
    "grads": {
        "None": None,
        "another name": {"v": np.ones(3)},
        "another shape": {"w": np.ones((3, 1))},
        "a list": {"w": [1.0, 1.0, 1.0]},
    },
    "state": {"None": None, "of other params": adam_start({"w": np.ones(5)}), "text": "start"},
    "data": {
        "None": None,
        "an array": np.ones((6, 3)),
        "no arrays": (),
        "lists": ([1.0, 2.0],),
        "unequal lengths": (np.ones((6, 3)), np.ones(5)),
        "no rows": (np.ones((0, 3)),),
    },
    "one number": {
        "a vector": lambda params, *rows: params["w"] * 2,
        "a constant": lambda params, *rows: 1.0,
        "None": lambda params, *rows: None,
    },
    "logits": {
        "None": None,
        "a list": [[1.0, 2.0]],
        "a vector": np.ones(3),
        "three axes": np.ones((2, 3, 1)),
        "no rows": np.ones((0, 3)),
    },
    "labels": {
        "None": None,
        "floats": np.array([0.0, 1.0]),
        "booleans": np.array([True, False]),
        "one too large": np.array([0, 3]),
        "one negative": np.array([-1, 0]),
        "too many": np.array([0, 1, 2]),
        "one-hot": np.eye(2, 3, dtype=int),
        "text": np.array(["a", "b"]),
    },
    "tokens": {
        "floats": np.array([[0.0, 1.0]]),
        "negative": np.array([[-1, 1]]),
        "too large": np.array([[0, 7]]),
        "too long": np.zeros((1, 6), int),
        "none": np.zeros((1, 0), int),
        "a number": np.int64(1),
        "text": "ab",
        "booleans": np.array([[True]]),
    },
    "sentences of tokens": {
        "None": None,
        "floats": np.ones((2, 3)),
        "beyond the vocabulary": np.full((2, 3), 99),
        "below zero": np.full((2, 3), -1),
        "one sentence": np.ones(3, int),
        "too long": np.ones((2, 99), int),
        "text": "tokens",
    },
    "mask of sentences": {
        "None": None,
        "integers": np.ones((2, 3), int),
        "another shape": np.ones((2, 4), bool),
        "a function": causal,
        "a sentence without a token": np.array([[True] * 3, [False] * 3]),
    },
    "classes": {"one": 1, "zero": 0, **COUNTS},
    "sentences": {"None": None, "text": "a film", "bytes": [b"a"], "numbers": [1, 2]},
    "vocabulary": {"None": None, "a list": ["[CLS]"], "without [UNK]": {"[CLS]": 0, "[SEP]": 1}},
    "ratings": {"None": None, "another length": [1.0], "text": "good"},
    "path": {"None": None, "a number": 3, "no such file": "none"},
    "heads": {
        "True": True,
        "zero": 0,
        "no divisor": 3,
        "text": "2",
        "None": None,
        "a fraction": 2.5,
    },
    "mask": {
        "None": None,
        "an array": np.ones((2, 2), bool),
        "text": "causal",
        "of integers": lambda length: np.ones((length, length), int),
        "that hides all": lambda length: np.zeros((length, length), bool),
        "of another shape": lambda length: np.ones((length, 1), bool),
        "that returns None": lambda length: None,
    },
    "x": {
        "too wide": np.ones((2, 5)),
        "a number": np.float64(1.0),
        "a transposed one": np.ones((4, 2)),
        "None": None,
    },
    "widths": {
        "None": None,
        "one": (4,),
        "with zero": (4, 0, 2),
        "with a fraction": (4, 2.5),
        "text": "44",
        "with text": (4, "4"),
        "a number": 4,
        "with None": (4, None),
    },
    "dtype": {"integers": int, "booleans": bool, "float16": np.float16, "text": "words"},
    "scaling": {
        "None": None,
        "text": "rslora",
        "NaN": lambda alpha, rank: np.nan,
        "negative": lambda alpha, rank: -1.0,
        "zero": lambda alpha, rank: 0.0,
        "that returns None": lambda alpha, rank: None,
        "that returns an array": lambda alpha, rank: np.ones(2),
    },
    "indices": {
        "a repetition": (1, 1),
        "one negative": (-1, 0),
        "too few": (1,),
        "floats": (0.0, 1.0),
        "booleans": (True, False),
        "text": "01",
        "a number": 3,
        "ragged": ((0,), (1, 2)),
    },
    "index for a matrix": {"one beyond": (0, 4)},
    "alpha": {name: NUMBERS[name] for name in NUMBERS if name != "None"} | {"True": True},
    "record": {"a number": 3, "a list": []},
    "parts": {
        "none": [],
        "overlapping": [
            (SBoRAFA(2), {"B": np.ones((4, 2))}, {"W": np.eye(4), "cols": np.array([0, 1])}),
            (SBoRAFB(2), {"A": np.ones((2, 4))}, {"W": np.eye(4), "rows": np.array([0, 1])}),
        ],
        "LoRA": [(LoRA(2), {}, {"W": np.eye(4)})],
    },
    "key": {"None": None, "text": "kind", "a list for a key": lambda name: [name]},
    "temperature": {"True": True, **NUMBERS},
    "targets": {"unknown": ["z"], "none": [], "words": "q,v", "a number": 3},
    "shapes": {"None": None, "a list": [(4, 4)]},
    "config": {
        "None": None,
        "a list": [],
        "text": "gpt2",
        "nothing": {},
        "an unknown type": {"model_type": "t5"},
        "a number for a type": {"model_type": 3},
    },
    "adapter": {"None": None, "a class": LoRA, "text": "lora"},
    "Ws": {
        "none": [],
        "None": None,
        "a list of lists": [[[1.0]]],
        "a broken chain": [np.eye(4), np.eye(3)],
        "integers": [np.eye(4, dtype=int), np.eye(4)],
        "NaN": [np.eye(4), NAN_MATRIX],
    },
    "rank of pairs": {
        "negative": -1,
        "too large": 5,
        "a fraction": 1.5,
        "text": "1",
        "a list": [1],
        "one name": {"head.W": 1},
    },
    "ranks": {
        "negative": -1,
        "too large": 5,
        "a fraction": 1.5,
        "one too few": [1],
        "text": "1",
        "None": None,
    },
    "target": {
        "None": None,
        "another shape": np.eye(3),
        "integers": np.eye(4, dtype=int),
        "NaN": NAN_MATRIX,
        "a list": [[1.0]],
    },
    "like W": {
        "None": None,
        "another shape": np.eye(3),
        "another dtype": np.eye(4, dtype=np.float32),
        "NaN": NAN_MATRIX,
        "a list": [[1.0]],
    },
    "partition": {
        "too long": (1, 1, 1),
        "a wrong sum": (1, 2),
        "with zero": (0, 2),
        "a number": 2,
        "fractions": (1.5, 0.5),
        "None": None,
        "text": "11",
    },
    "network": {
        "None": None,
        "nothing": {},
        "a misspelt name": {"layer.0.W": np.eye(4), "layer.0.b": np.ones(4)},
        "no biases": {"layers.0.W": np.eye(4), "layers.1.W": np.eye(4)},
        "integers": {"layers.0.W": np.eye(4, dtype=int), "layers.0.b": np.ones(4)},
        "a broken chain": {
            "layers.0.W": np.eye(4),
            "layers.0.b": np.ones(4),
            "layers.1.W": np.eye(3),
            "layers.1.b": np.ones(3),
        },
    },
    "plain network": {"None": None, "nothing": {}, "one name": {"head.W": np.eye(4)}},
    "character codes": {
        "floats": np.array([1.0]),
        "too large": np.array([96]),
        "negative": np.array([-1]),
        "booleans": np.array([True]),
    },
    "text": {"None": None, "bytes": b"a", "a number": 3},
    "change": {"None": None, "text": "low_rank"},
    "domain": {"None": None, "text": "sans"},
    "directory": {"None": None, "a number": 3, "a missing one": "no/such/folder"},
    "attached": {"None": None, "weights": {"layers.0.W": np.eye(4)}},
    "dict": {"None": None, "a list": [1], "text": "lora", "a number": 3},
    "transposed names": {"text": "c_attn", "a list": ["c_attn"], "a number": 2},
    "words": {"text": "SEQ_CLS", "a list": ["SEQ_CLS"], "an unknown one": {"task": "SEQ_CLS"}},
    "checked adapter": {"None": None, "text": "LoRA", "a number": 3},
}


def generator():
    return np.random.default_rng(0)


def square_loss(params, *rows):
    return anp.sum(params["w"] ** 2)


W = generator().standard_normal((4, 4))
T = generator().standard_normal((4, 4)) + np.eye(4)
MLP = init_mlp(generator(), (4, 4, 4), np.float64)
TARGET = {"layers.0.W": T, "layers.0.b": np.ones(4)}
DECODER = init_transformer(generator(), 7, 5, 8, 1)
ENCODER = init_encoder(generator(), 7, 5, 8, 1, 16)
SENTENCES = {
    "tokens": (np.array([[2, 5, 3], [2, 3, 0]]), "sentences of tokens"),
    "mask": (np.array([[True, True, True], [True, True, False]]), "mask of sentences"),
    "heads": (2, "heads"),
}
ATTACHED = attach({"layers.0.W": W, "layers.0.b": np.zeros(4)}, {"*.W": LoRA(2)}, rng=generator())
PLAIN = {
    name: generator().standard_normal((4,) if name.endswith(".b") else (4, 4))
    for name in (
        *(f"blocks.0.heads.0.{part}.W" for part in "qkvo"),
        *(f"blocks.0.ffn.{which}.{part}" for which in "12" for part in "Wb"),
        "head.W",
    )
}


def init_of(adapter):
    def init(rng, W):
        return adapter.init(rng, W)

    return init


def forward_of(adapter):
    params, frozen = adapter.init(generator(), W)

    def forward(x):
        return adapter.forward(params, frozen, x)

    return forward


def bind(params):
    return ATTACHED.bind(params)


def merge(params):
    return ATTACHED.merge(params)


def attach_by_name(weights, adapters, rng, key):
    return attach(weights, adapters, rng=rng, key=key)


def shapes_of(targets):
    return MODELS["llama3-8b"].shapes(targets)


FIT = {
    "loss": (square_loss, "one number"),
    "params": ({"w": np.ones(3)}, "trainable arrays"),
    "data": ((np.ones((6, 3)),), "data"),
    "rng": (generator(), "rng"),
    "steps": (2, "count"),
    "batch": (2, "positive count"),
    "lr": (0.1, "number"),
    "record": (None, "record"),
}
ADAM = {
    "params": ({"w": np.ones(3)}, None),
    "grads": ({"w": np.ones(3)}, "grads"),
    "state": (adam_start({"w": np.ones(3)}), "state"),
    "lr": (0.1, "number"),
}
RNG = (generator(), "rng")
RANK = (2, "positive count")
SCALED = {"rank": RANK, "alpha": (1.0, "alpha"), "scaling": (lambda a, r: a / r, "scaling")}
ON_MATRIX = {"rng": (generator(), None), "W": (W, "matrix")}
CHAIN = {"Ws": ([W, T], "Ws"), "target": (T @ T, "target"), "ranks": (2, "ranks")}
NEAR = {"W": (W, "matrix"), "T": (T, "like W"), "rank": RANK}
RELU = {
    "weights": (MLP, "network"),
    "target": (TARGET, "network"),
    "rank": RANK,
    "partition": ((2,), "partition"),
    "radius": (1.0, "number"),
}
FAMILY = [cls(2) for cls in (LoRAFA, LoRAXS, RandLoRA, PiSSA, DoRA, LoHa, LoKr, VeRA, SHiRA)]
FAMILY += [IA3(), SVF(), OFT(2), BOFT(2)]
MATRICES_OF_LORA = {"A": np.ones((2, 3)), "B": np.ones((4, 2))}
CHECKPOINT = (
    {"peft_type": "LORA", "r": 2, "lora_alpha": 2},
    {f"base_model.model.q.lora_{letter}.weight": M for letter, M in MATRICES_OF_LORA.items()},
)
# function -> {argument: (a right value, the kind of wrong ones)}
CALLS = {
    LoRA: SCALED,
    CondLoRA: SCALED,
    SBoRAFA: {**SCALED, "cols": ((0, 1), "indices")},
    SBoRAFB: {**SCALED, "rows": ((0, 1), "indices")},
    HRA: {"rank": RANK},
    HRAStrict: {"rank": RANK},
    **{cls: SCALED for cls in (LoRAFA, LoRAXS, RandLoRA, PiSSA, DoRA, LoHa, LoKr)},
    VeRA: {"rank": RANK},
    SHiRA: {"rank": RANK},
    OFT: {"block": (2, "classes")},
    BOFT: {"block": (2, "classes"), "factors": (2, "positive count")},
    **{init_of(adapter): ON_MATRIX for adapter in FAMILY},
    **{forward_of(adapter): {"x": (np.ones((2, 4)), "x")} for adapter in FAMILY},
    **{
        init_of(adapter): ON_MATRIX
        for adapter in (LoRA(2), CondLoRA(2), SBoRAFA(2), SBoRAFB(2), HRA(2), HRAStrict(2))
    },
    **{
        forward_of(adapter): {"x": (np.ones((2, 4)), "x")}
        for adapter in (Full(), LoRA(2), CondLoRA(2), SBoRAFA(2), SBoRAFB(2), HRA(2), HRAStrict(2))
    },
    attach_by_name: {
        "weights": (MLP, "named arrays"),
        "adapters": ({"*.W": LoRA(2)}, "adapters"),
        "rng": RNG,
        "key": (str, "key"),
    },
    bind: {"params": (ATTACHED.params, "params")},
    merge: {"params": (ATTACHED.params, "params")},
    merge_all: {"parts": ([(SBoRAFA(1), *SBoRAFA(1).init(generator(), W))], "parts")},
    quantize: {"W": (W, "matrix of any float"), "block": (64, "positive count")},
    linear: {"W": (W, None), "x": (np.ones((2, 4)), "x")},
    init_mlp: {"rng": RNG, "widths": ((4, 4), "widths"), "dtype": (np.float32, "dtype")},
    mlp: {"weights": (MLP, "weights"), "x": (np.ones((2, 4)), "x")},
    init_transformer: {
        "rng": RNG,
        "vocabulary": (7, "positive count"),
        "context": (5, "positive count"),
        "width": (8, "positive count"),
        "depth": (1, "positive count"),
        "dtype": (np.float32, "dtype"),
    },
    transformer: {
        "weights": (DECODER, "weights"),
        "tokens": (np.array([[1, 2]]), "tokens"),
        "heads": (2, "heads"),
        "mask": (causal, "mask"),
    },
    init_encoder: {
        "rng": RNG,
        "vocabulary": (7, "positive count"),
        "context": (5, "positive count"),
        "width": (8, "positive count"),
        "depth": (1, "positive count"),
        "hidden": (16, "positive count"),
        "dtype": (np.float32, "dtype"),
    },
    with_head: {"rng": RNG, "weights": (ENCODER, "weights"), "classes": (2, "classes")},
    encoder: {"weights": (ENCODER, "weights"), **SENTENCES},
    sentence_vectors: {"weights": (ENCODER, "weights"), **SENTENCES},
    sentence_logits: {
        "weights": (with_head(generator(), ENCODER, 2), "weights"),
        **SENTENCES,
    },
    tokenize: {
        "sentences": (["a film"], "sentences"),
        "vocabulary": ({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}, "vocabulary"),
        "length": (8, "classes"),
    },
    split_by_sentiment: {
        "texts": (["a", "b"], "sentences"),
        "ratings": ([1.0, -2.0], "ratings"),
        "least": (0.5, "number"),
    },
    sample: {
        "weights": (DECODER, "weights"),
        "tokens": (np.array([[1, 2]]), None),
        "count": (2, "count"),
        "heads": (2, "heads"),
        "rng": RNG,
        "temperature": (1.0, "temperature"),
    },
    cross_entropy: {"logits": (np.ones((2, 3)), "logits"), "labels": (np.array([0, 2]), "labels")},
    accuracy: {"logits": (np.ones((2, 3)), "logits"), "labels": (np.array([0, 2]), "labels")},
    value_and_grad: {
        "loss": (square_loss, "one number"),
        "params": ({"w": np.ones(3)}, "trainable arrays"),
    },
    adam_start: {"params": ({"w": np.ones(3)}, "trainable arrays")},
    adam: ADAM,
    fit: FIT,
    learning_rate: {
        "step": (0, "count"),
        "steps": (3, "positive count"),
        "peak": (0.1, "number"),
    },
    analysis.effective_rank: {"values": (np.ones(3), "values")},
    analysis.stable_rank: {"values": (np.ones(3), "values")},
    analysis.narrow_product: {
        "B": (np.ones((4, 2)), "matrix of any float"),
        "A": (np.ones((2, 4)), "matrix of any float"),
    },
    analysis.product_spectrum: {
        "B": (np.ones((4, 2)), "matrix of any float"),
        "A": (np.ones((2, 4)), "matrix of any float"),
        "scale": (1.0, "number"),
    },
    analysis.product_factors: {
        "adapter": (HRA(2), "LoRA or HRA"),
        "params": ({"U": np.ones((4, 2))}, None),
        "W": (W, "optional matrix of any float"),
    },
    analysis.mean_similarity: {
        "matrices": ((W, T), "matrices"),
        "i": (1, "positive count"),
    },
    analysis.singular_spectrum: {"delta": (W, "matrix of any float")},
    analysis.energy_captured: {"delta": (W, "matrix of any float")},
    analysis.hyperspherical_energy: {"W": (W, "matrix of any float")},
    analysis.subspace_similarity: {
        "M1": (W, "matrix of any float"),
        "M2": (T, "matrix of any float"),
        "i": (1, "positive count"),
        "j": (1, "positive count"),
    },
    analysis.random_similarity: {
        "d": (4, "positive count"),
        "i": (1, "positive count"),
        "j": (1, "positive count"),
    },
    analysis.conversion_matrices: {
        "W": (W, "matrix of any float"),
        "A": (np.ones((2, 4)), "matrix of any float"),
        "B": (np.ones((4, 2)), "matrix of any float"),
        "A_0": (np.zeros((2, 4)), "optional matrix of any float"),
    },
    analysis.published_conversion_matrices: {
        "W": (W, "square matrix of any float"),
        "A": (np.ones((2, 4)), "matrix of any float"),
        "B": (np.ones((4, 2)), "matrix of any float"),
        "A_0": (np.zeros((2, 4)), "optional matrix of any float"),
    },
    analysis.intruder_dimensions: {
        "W": (W, "matrix of any float"),
        "W_adapted": (T, "matrix of any float"),
        "k": (1, "positive count"),
        "threshold": (0.5, "number"),
    },
    count_trainable: {
        "adapter": (LoRA(2), "adapter"),
        "shapes": ({"W": (4, 4)}, "shapes"),
    },
    architecture_of: {"config": (CONFIGS["gpt2"], "config")},
    shapes_of: {"targets": ("qv", "targets")},
    draw_letters: {
        "rng": RNG,
        "domain": (SOURCE, "domain"),
        "per_letter": (1, "positive count"),
        "size": (12, "positive count"),
    },
    text.encode: {"text": ("abc", "text")},
    text.decode: {"tokens": (np.array([0]), "character codes")},
    text.windows: {
        "rng": RNG,
        "tokens": (np.arange(9), None),
        "count": (2, "positive count"),
        "length": (3, "positive count"),
    },
    teacher.teacher_task: {
        "rng": RNG,
        "change": (teacher.low_rank, "change"),
        "rank": RANK,
        "widths": ((4, 4, 4), "widths"),
        "count": (3, "positive count"),
        "dtype": (np.float64, "dtype"),
    },
    **{
        change: {"rng": RNG, "W": (W, None), "rank": RANK}
        for change in (
            teacher.low_rank,
            teacher.few_columns,
            teacher.few_rows,
            teacher.scaled_columns,
            teacher.scaled_rows,
            teacher.reflected,
            teacher.rotated,
            teacher.shared_conversion,
        )
    },
    linear_theorem.adapt_product: {**CHAIN, "rng": (None, "optional rng")},
    linear_theorem.predicted_error: CHAIN,
    linear_theorem.best_change: CHAIN,
    linear_theorem.obstacle: CHAIN,
    reachable.best_lora: NEAR,
    reachable.best_condlora: NEAR,
    reachable.best_sbora_fa: NEAR,
    reachable.best_sbora_fb: NEAR,
    reachable.best_hra_strict: NEAR,
    reachable.best_hra: {**NEAR, "rng": RNG},
    reachable.factor: {"Q": (np.eye(4), "square matrix")},
    relu_theorem.relu_adapters: RELU,
    relu_theorem.error_bounds: RELU,
    relu_theorem.sufficient_rank: {name: RELU[name] for name in ("weights", "target", "partition")},
    relu_theorem.align_units: {name: RELU[name] for name in ("weights", "target", "partition")},
    relu_theorem.best_partition: {name: RELU[name] for name in ("weights", "target")},
    witness: {
        "weights": (MLP, "network"),
        "target": (TARGET, "network"),
        "radius": (10.0, "number"),
        "rng": RNG,
        "draws": (50, "positive count"),
    },
    transformer_theorem.plain_transformer: {"weights": (PLAIN, "plain network"), "X": (W, None)},
    transformer_theorem.transformer_adapters: {
        "weights": (PLAIN, "plain network"),
        "target": ({name: a + 1.0 for name, a in PLAIN.items()}, "plain network"),
        "rank": (2, "rank of pairs"),
        "rng": (None, "optional rng"),
    },
    transformer_theorem.sufficient_ranks: {
        "weights": (PLAIN, "plain network"),
        "target": ({name: a + 1.0 for name, a in PLAIN.items()}, "plain network"),
    },
    read_safetensors: {"path": ("tutorials/checkpoints/lora", "directory")},
    open_checkpoint: {"folder": ("tutorials/checkpoints/lora", "directory")},
    adapters_of: {"config": (CHECKPOINT[0], "dict"), "arrays": (CHECKPOINT[1], "dict")},
    read_peft: {
        "folder": ("tutorials/checkpoints/lora", "directory"),
        "weights": (MLP, "named arrays"),
        "fan_in_fan_out": (None, "transposed names"),
    },
    write_peft: {
        "folder": ("no/such/folder", None),
        "attached": (ATTACHED, "attached"),
        "params": (ATTACHED.params, "params"),
        "fan_in_fan_out": (None, "transposed names"),
        "about": (None, "words"),
    },
    check_adapter: {"adapter": (LoRA, "checked adapter")},
}
# Calls whose right form is not tried here: it would write files, needs a checkpoint, or takes long.
NOT_TRIED = {read_safetensors, open_checkpoint, read_peft, write_peft, check_adapter}


def name_of(function):
    return function.__qualname__.replace("<locals>.", "")


def wrong_arguments():
    for position, (function, arguments) in enumerate(CALLS.items()):
        for argument, (_, kind) in arguments.items():
            for words, wrong in WRONG.get(kind, {}).items():
                case = f"{position}-{name_of(function)}-{argument}-{words}"
                yield pytest.param(function, argument, wrong, id=case)


def right_arguments(function):
    """Fresh copies, so that no call sees what another has done."""
    return {argument: copy.deepcopy(value) for argument, (value, _) in CALLS[function].items()}


def same(one, other):
    """Whether two values are alike, down to the bits of arrays."""
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        alike = (one.shape, one.dtype) == (other.shape, other.dtype)
        return alike and (one.dtype == object or one.tobytes() == other.tobytes())
    return True


@pytest.mark.parametrize("function", [f for f in CALLS if f not in NOT_TRIED], ids=name_of)
def test_the_right_arguments_are_right(function):
    arguments = right_arguments(function)
    before = copy.deepcopy(arguments)
    function(**arguments)
    assert same(arguments, before)


@pytest.mark.parametrize("function, argument, wrong", list(wrong_arguments()))
def test_a_wrong_argument_is_an_error_that_names_it(
    function, argument, wrong, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    arguments = {**right_arguments(function), argument: wrong}
    before = copy.deepcopy({name: arguments[name] for name in arguments if name != "rng"})
    with pytest.raises((ValueError, TypeError)) as caught:
        function(**arguments)
    message = str(caught.value)
    assert re.search(rf"(?<!\w){argument}(?!\w)", message), f"{argument!r} is not named: {message}"
    assert same({name: arguments[name] for name in before}, before), "an argument was changed"
    assert list(tmp_path.iterdir()) == [], "something was written"


def test_there_are_many():
    assert len(list(wrong_arguments())) >= 300
