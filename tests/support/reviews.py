"""A folder with a tiny BERT, and a package of ratings, in the form of the real ones."""

import hashlib
import io
import json
import tarfile
import zipfile

import numpy as np

from minilora.data.packages import Package
from minilora.models.encoder import init_encoder
from minilora.peft.safetensors import pack

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "good", "bad", "film", "##s", "un", "##fat"]
PIECES += ["##hom", "##able", "fat", "!", "'", "ß"]
SIZES = {"vocabulary": len(PIECES), "context": 12, "width": 8, "depth": 2, "hidden": 16}
CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 16,
    "vocab_size": len(PIECES),
    "max_position_embeddings": 12,
}


def bert_files(rng, width=8, **changes):
    """{file name: bytes} of a tiny BERT; changes replace entries of its configuration."""
    weights = init_encoder(rng, **{**SIZES, "width": width, "hidden": 2 * width})
    config = {**CONFIG, "hidden_size": width, "intermediate_size": 2 * width, **changes}
    return {
        "config.json": json.dumps(config).encode(),
        "vocab.txt": "\n".join(PIECES).encode(),
        "model.safetensors": pack(weights),
    }


def write_files(folder, files):
    """Write {name: bytes} into a folder; returns the folder."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_wheel(path, files):
    """The same files deep in a zip archive, beside others of their names; returns the path."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny/model/1_Pooling/config.json", "{}")
        for name, content in files.items():
            archive.writestr(f"tiny/model/{name}", content)
    return path


def film_lines(count=120):
    """Lines of a corpus: id, rating, text; good films and bad ones, one review after the other."""
    rows = []
    for i in range(count):
        mood, sign = ("good", 1) if i < count // 2 else ("bad", -1)
        rating = sign * (0.2, 0.7, 1.2, 3.2)[i % 4]
        rows.append(f"{i + 1}\t{rating}\ta {mood} film! {i}")
    return "\r\n".join(rows)


def write_ratings(folder, text, corpus):
    """A package of ratings with one corpus; returns its Package."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        _add(archive, f"hutto_ICWSM_2014/{corpus}", text.encode())
    name = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    folder.mkdir(exist_ok=True)
    file = folder / "ratings.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        _add(archive, name, inner.getvalue())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Package(file.name, digest, "ratings==2.0")


def _add(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def tokens_of(words):
    """The numbers of some pieces."""
    return np.array([PIECES.index(word) for word in words.split()])
