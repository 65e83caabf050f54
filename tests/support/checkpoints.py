"""The checkpoints in tutorials/checkpoints, and a reader with none of the package's code."""

import json
import struct

import numpy as np

from minilora.peft.checkpoint import ARRAYS
from minilora.peft.settings import CONFIG
from support.golden import DATA

OUTPUTS = {
    name: np.array(rows) for name, rows in json.loads((DATA / "outputs.json").read_text()).items()
}
WHOLE = {
    name: {file: (DATA / name / file).read_bytes() for file in (CONFIG, ARRAYS)} for name in OUTPUTS
}
FORMATS = {"F64": "d", "F32": "f", "F16": "e", "BF16": "f"}
FORMATS |= {"I64": "q", "I32": "i", "I16": "h", "I8": "b"}
FORMATS |= {"U64": "Q", "U32": "I", "U16": "H", "U8": "B", "BOOL": "?"}


def decoded(content):
    """The arrays of a safetensors file, read by the letter of the format."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    used = 8 + length
    arrays = {}
    for name, entry in header.items():
        start, stop = (8 + length + offset for offset in entry["data_offsets"])
        raw = content[start:stop]
        used += stop - start
        if entry["dtype"] == "BF16":
            raw = b"".join(b"\0\0" + raw[i : i + 2] for i in range(0, len(raw), 2))
        letter = FORMATS[entry["dtype"]]
        values = struct.unpack(f"<{len(raw) // struct.calcsize(letter)}{letter}", raw)
        arrays[name] = np.array(values).reshape(entry["shape"])
    assert used == len(content)
    return arrays


def taken(arrays, weight):
    """Take out of these arrays of a file what it has of a weight that was trained whole."""
    layer, _, letter = weight.rpartition(".")
    kind = {"W": "weight", "b": "bias"}[letter]
    arrays.pop(f"base_model.model.{layer}.original_module.{kind}", None)
    wrappers = ("", "base_layer.", "modules_to_save.", "modules_to_save.default.")
    keys = [f"base_model.model.{layer}.{wrapper}{kind}" for wrapper in wrappers]
    return [arrays.pop(key) for key in keys if key in arrays]


def assembled(header, data):
    """The bytes of a safetensors file with this header, right or wrong: a dict, or bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def relative(y, reference):
    return np.max(np.abs(y - reference)) / np.max(np.abs(reference))
