"""Read and write the folder of a PEFT checkpoint: its configuration and its arrays.

What is about to be written is read first, as it would come back, so a checkpoint that cannot be
read never replaces one that can. Both files are written aside and then moved; when that fails, the
folder holds the files that it held before. The old configuration is removed first, and the new one
comes last. So while a process writes, or after it was killed, the folder may have no configuration,
but never an old file beside a new one. What it lacks is then in the folder unfinished-… inside it.
A process that reads one file before the change and the other after it would still mix them. So the
configuration is read a second time after the arrays, and must be the same. The next write removes
what killed processes left, once it is an hour old.
"""

import glob
import json
import os
import shutil
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from minilora.attachment import Attached, attach
from minilora.checks import check_named_weights
from minilora.peft.advice import UNFINISHED, instead_of_arrays, instead_of_config
from minilora.peft.checkpoint import ARRAYS
from minilora.peft.names import layer_of, parameter_names
from minilora.peft.orientation import check_orientation, turned_names
from minilora.peft.reading import from_peft
from minilora.peft.safetensors import check_no_pointer, pack, parse_json, unpack
from minilora.peft.settings import CONFIG, description
from minilora.peft.writing import to_peft
from minilora.weight import dense

_PATIENCE = 3600.0  # seconds after which a process that writes must have been killed


def open_checkpoint(folder):
    """The two files of a PEFT checkpoint, (config, arrays): {setting: value} and {key: array}.

    `adapters_of` in checkpoint.py says what they mean. No base model is needed for either.

    Raises ValueError, with what to do, when a file is missing or broken, or is not PEFT's.
    """
    try:
        return _open(Path(folder))
    except Exception as error:  # the files are untrusted input, which can go wrong anywhere
        raise ValueError(f"folder {folder} is not a checkpoint of PEFT: {error}") from error


def _open(folder):
    """As `open_checkpoint`, with an error of any kind."""
    text = _bytes(folder, CONFIG, instead_of_config)
    content = _bytes(folder, ARRAYS, instead_of_arrays)
    if _bytes(folder, CONFIG, instead_of_config) != text:
        raise ValueError(f"{CONFIG} changed while {ARRAYS} was read: try again")
    check_no_pointer(CONFIG, text)
    try:
        config = parse_json(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{CONFIG} is not JSON that can be read: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{CONFIG} must hold an object, got {config!r:.80}")
    return config, unpack(content, ARRAYS)


def _bytes(folder, name, instead):
    """What is in a file of a folder. Raises ValueError, with advice, when there is no such file."""
    with suppress(FileNotFoundError):  # a process that writes may take it away just now
        if (folder / name).is_file():
            return (folder / name).read_bytes()
    raise ValueError(f"there is no {name}{instead(folder)}")


def read_peft(folder, weights, layer_of=layer_of, fan_in_fan_out=None):
    """The adapters of a PEFT checkpoint on these weights: an `Attached` with the file's parameters.

    weights: dict from names to weights, as for `attach`. layer_of: name of a weight -> name of its
    layer in PEFT's model, or None. The parameters take the dtype of the weight that they adapt.
    Heads and biases that were trained whole are `Full`.

    fan_in_fan_out: name -> whether `weights` has Wᵀ there, as GPT-2's files do; those are
    transposed, and the `Attached` has W. False: none has. It is required if the checkpoint is for a
    model that keeps Wᵀ and its layers are square, so that both would fit.

    Raises ValueError when a file is missing or broken, or asks for anything but LoRA, HRA or Full
    on these weights.
    """
    _check_numpy(weights)
    names = parameter_names(weights, layer_of)
    turned = turned_names(weights, fan_in_fan_out)
    weights = {name: dense(W).T if name in turned else W for name, W in weights.items()}
    try:
        config, arrays = _open(Path(folder))
        adapters, params = from_peft(config, arrays, weights, names, turned)
        check_orientation(config, adapters, weights, fan_in_fan_out)
        patterns = {glob.escape(name): adapter for name, adapter in adapters.items()}
        attached = attach(weights, patterns, rng=np.random.default_rng(0))
    except Exception as error:  # the files are untrusted input, which can go wrong anywhere
        problem = f"folder {folder} is not a checkpoint of LoRA or HRA for these weights"
        raise ValueError(f"{problem}: {error}") from error
    return replace(attached, params=params)


def write_peft(folder, attached, params=None, layer_of=layer_of, fan_in_fan_out=None, about=None):
    """Write the adapters of an `Attached`, with these params, as a checkpoint that PEFT loads.

    params: default the initial ones. layer_of: as for `read_peft`; no two matrices may have the
    same layer. fan_in_fan_out: name -> whether PEFT's model keeps Wᵀ there, as GPT-2 does. about:
    what the configuration is to say of the base model, of which base_model_name_or_path, task_type,
    revision and auto_mapping are kept; for an adapter that was read, the configuration that
    `open_checkpoint` gives. The weights below the adapters are not written. When this fails, both
    files are unchanged.

    Raises ValueError when params are not those of `attached` or not finite, or when PEFT has no
    form of an adapter, or no folder for this mixture: it keeps LoRA of any ranks, or HRA of one
    rank, strict everywhere or nowhere, and Full beside them. Raises TypeError when folder is not a
    path, or attached is not an `Attached`.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"folder must be a path, got {folder!r:.80}")
    if not isinstance(attached, Attached):
        raise TypeError(f"attached must be what attach returns, got {type(attached).__name__}")
    if not attached.adapters:
        raise ValueError("attached must have an adapter: PEFT has no checkpoint without one")
    params = attached.params if params is None else params
    attached.bind(params)  # raises for params of something else
    names = parameter_names(attached.weights, layer_of)
    turned = turned_names(attached.weights, fan_in_fan_out)
    config, arrays = to_peft(attached, params, names, turned)
    text = json.dumps({**config, **description(about or {})}, indent=2)
    try:
        content = pack(arrays)
        from_peft(parse_json(text), unpack(content), attached.weights, names, turned)
    except ValueError as error:
        problem = "attached with these params makes no checkpoint that can be read"
        raise ValueError(f"{problem}: {error}") from error
    _write_together(Path(folder), {ARRAYS: content, CONFIG: text.encode()})


def _check_numpy(weights):
    """Raise ValueError unless weights is a dict from names to weights with dtypes of NumPy."""
    check_named_weights(weights)
    for name, W in weights.items():
        if not isinstance(getattr(W, "dtype", None), np.dtype):
            given = f"{type(W).__module__}.{type(W).__name__}"
            raise ValueError(f"weights[{name!r}] must be of NumPy, got {given}: try np.asarray(W)")


def _write_together(folder, files):
    """Put both files, {name: bytes}, into a folder, or none of them; then clear it up."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=UNFINISHED) as aside, ExitStack() as undo:
        for name, content in files.items():
            Path(aside, name).write_bytes(content)
        for name in (CONFIG, ARRAYS):  # what comes first is undone last
            target = folder / name
            if target.exists():
                old = Path(aside, f"{name}.old")
                old.write_bytes(target.read_bytes())
                undo.callback(os.replace, old, target)
            else:
                undo.callback(target.unlink, missing_ok=True)
        (folder / CONFIG).unlink(missing_ok=True)
        for name in (ARRAYS, CONFIG):
            os.replace(Path(aside, name), folder / name)
        undo.pop_all()
    for aside in folder.glob(f"{UNFINISHED}*"):
        if aside.is_dir() and not aside.is_symlink() and _abandoned(aside):
            shutil.rmtree(aside, ignore_errors=True)


def _abandoned(aside):
    """Whether a folder holds our files alone, and is too old for a process that still writes."""
    ours = {f"{name}{end}" for name in (CONFIG, ARRAYS) for end in ("", ".old")}
    with suppress(OSError):  # another process may remove it just now
        old = time.time() - aside.stat().st_mtime > _PATIENCE
        return old and all(path.name in ours and path.is_file() for path in aside.iterdir())
    return False
