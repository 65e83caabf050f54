"""Read and write the folder of a PEFT checkpoint: its configuration and its arrays.

What is about to be written is read first, as it would come back, so a checkpoint that cannot be
read never replaces one that can. Both files are written aside and then moved; when that fails, the
folder holds the files that it held before. Two files cannot be moved in one step: whoever reads
while another process writes may find one old file and one new.
"""

import glob
import json
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from minilora.attachment import Attached, attach
from minilora.checks import check_named_weights
from minilora.peft.checkpoint import ARRAYS, CONFIG, from_peft, layer_names, layer_of, to_peft
from minilora.peft.safetensors import pack, parse_json, unpack


def read_peft(folder, weights, layer_of=layer_of):
    """The adapters of a PEFT checkpoint on these weights: an `Attached` with the file's parameters.

    weights: dict from names to weights, as for `attach`. layer_of: name of a weight -> name of its
    layer in PEFT's model, or None. The parameters take the dtype of the weight that they adapt.

    Raises ValueError when a file is missing or broken, or asks for anything but LoRA or HRA on
    these weights.
    """
    check_named_weights(weights)
    layers = layer_names(weights, layer_of)
    try:
        config = parse_json(Path(folder, CONFIG).read_text("utf-8"))
        arrays = unpack(Path(folder, ARRAYS).read_bytes())
        adapters, params = from_peft(config, arrays, weights, layers)
    except Exception as error:  # the files are untrusted input, which can go wrong anywhere
        problem = f"folder {folder} is not a checkpoint of LoRA or HRA for these weights"
        raise ValueError(f"{problem}: {error}") from error
    patterns = {glob.escape(name): adapter for name, adapter in adapters.items()}
    attached = attach(weights, patterns, rng=np.random.default_rng(0))
    return replace(attached, params=params)


def write_peft(folder, attached, params=None, layer_of=layer_of):
    """Write the adapters of an `Attached`, with these params, as a checkpoint that PEFT loads.

    params: default the initial ones. layer_of: as for `read_peft`; no two matrices may have the
    same layer. The weights below the adapters are not written. When this fails, both files are as
    before.

    Raises ValueError when params are not those of `attached` or not finite, or when PEFT has no
    form of an adapter, or no folder for this mixture: it keeps LoRA of any ranks, or HRA of one
    rank, strict everywhere or nowhere. Raises TypeError for a call in another form.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"folder must be a path, got {folder!r:.80}")
    if not isinstance(attached, Attached):
        raise TypeError(f"attached must be what attach returns, got {type(attached).__name__}")
    if not attached.adapters:
        raise ValueError("attached must have an adapter: PEFT has no checkpoint of none")
    params = attached.params if params is None else params
    attached.bind(params)  # raises for params of something else
    layers = layer_names(attached.weights, layer_of)
    config, arrays = to_peft(attached, params, layers)
    text = json.dumps(config, indent=2)
    try:
        content = pack(arrays)
        from_peft(parse_json(text), unpack(content), attached.weights, layers)
    except ValueError as error:
        problem = "attached with these params makes no checkpoint that can be read"
        raise ValueError(f"{problem}: {error}") from error
    _write_together(Path(folder), {ARRAYS: content, CONFIG: text.encode()})


def _write_together(folder, files):
    """Put files {name: bytes} into a folder, all of them or none."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as aside, ExitStack() as undo:
        for name, content in files.items():
            Path(aside, name).write_bytes(content)
        for name in files:
            target = folder / name
            if target.exists():
                old = Path(aside, f"{name}.old")
                old.write_bytes(target.read_bytes())
                undo.callback(os.replace, old, target)
            else:
                undo.callback(target.unlink, missing_ok=True)
            os.replace(Path(aside, name), target)
        undo.pop_all()
