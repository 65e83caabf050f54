"""The bridge to Hugging Face PEFT: read the adapters that it saves, and write adapters that it loads.

A checkpoint is a folder with two files. adapter_config.json says what kind of adapter it is; adapter_model.safetensors
holds the numbers, for every adapted layer

    base_model.model.<layer>.lora_A.weight   A (r, d_in)     W' = W + s B A,  s = lora_alpha / r, with use_rslora / √r
    base_model.model.<layer>.lora_B.weight   B (d_out, r)
    base_model.model.<layer>.hra_u           U (d_in, r)     W' = W H₁ … H_r, with apply_GS W' = W (I − 2P)

Letters and orientation are this package's own, so nothing is transposed; not even for a layer that keeps Wᵀ, as GPT-2
does and PEFT's flag fan_in_fan_out says, as long as `weights` holds W. Layers may have a rank and an alpha of their own
in rank_pattern and alpha_pattern, under regular expressions for the end of the layer's name.

SBoRA is written as LoRA with an A or B of zeros and ones, CondLoRA as what it amounts to in each layer, and the scale
of each as lora_alpha = s r; all come back as LoRA.

PEFT fills in what a file lacks and passes over what it does not know, with a warning at most, and computes another
model. Here both are errors. What cannot be represented is refused by name: biases, DoRA's magnitudes, modules_to_save …

A safetensors file is 8 bytes for the length n of the header, little-endian; n bytes of JSON, {name: {"dtype": "F32",
"shape": [3, 4], "data_offsets": [0, 48]}, …}; and the numbers, row by row. It holds nothing that can run, but a
stranger may have written anything. So `unpack` compares the header with the one that `pack` would write for the arrays
that were found: they must fill the rest of the file, one after the other, and no memory is taken for more than that.

Mangrulkar et al., 2022, github.com/huggingface/peft; github.com/huggingface/safetensors.
"""

import json
import os
import re
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from minilora.adapters import HRA, CondLoRA, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.attach import attach, describe, shapes
from minilora.linalg import check_rank
from minilora.scaling import alpha_over_rank, alpha_over_sqrt_rank

CONFIG, NUMBERS = "adapter_config.json", "adapter_model.safetensors"
ENDINGS = {"A": "lora_A.weight", "B": "lora_B.weight", "U": "hra_u"}
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # a bfloat16 is the upper half of a float32
# The first seven are read below; the others have no part in the map that a trained adapter is.
KNOWN = {"peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "apply_GS",
         "auto_mapping", "base_model_name_or_path", "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode",
         "init_weights", "layers_pattern", "layers_to_transform", "lora_dropout", "megatron_core", "peft_version",
         "qalora_group_size", "revision", "target_modules", "task_type"}  # fmt: skip
HARMLESS = {"bias": ("none",), "init_lora_weights": (True, "gaussian", "eva", "orthogonal")}


def layer_of(name):
    """PEFT's name of the layer with this weight: "layers.0.W" -> "layers.0"."""
    return name.removesuffix(".W").removesuffix(".weight")


def read_peft(folder, weights, layer_of=layer_of):
    """The adapters of a PEFT checkpoint on these weights: an `Attached` whose params are the numbers of the file.

    weights: dict from names to arrays, as for `attach`. layer_of: name of a weight -> name of its layer in PEFT's
    model. The numbers take the dtype of the weight that they adapt.

    Raises ValueError when a file is missing or broken, or asks for anything but LoRA or HRA on these weights.
    """
    adapters, params = {}, {}
    try:
        config = json.loads(Path(folder, CONFIG).read_text("utf-8"), object_pairs_hook=unique)
        arrays = unpack(Path(folder, NUMBERS).read_bytes())
        for word, value in config.items():
            if value and word not in KNOWN and value not in HARMLESS.get(word, ()):
                raise ValueError(f"{CONFIG} has {word} = {value!r:.200}, which no adapter here can represent")
        for name, W in weights.items():
            keys = {letter: f"base_model.model.{layer_of(name)}.{ending}" for letter, ending in ENDINGS.items()}
            own = {letter: arrays.pop(key) for letter, key in keys.items() if key in arrays}
            if own:
                adapters[name] = adapter_of(config, layer_of(name))
                params[name] = fitted(layer_of(name), own, adapters[name], W)
        if arrays or not adapters:
            raise ValueError(f"{NUMBERS} has {list(arrays)!r:.500}, but the layers are {list(map(layer_of, weights))}")
    except Exception as error:  # a stranger may have written anything, and it may go wrong anywhere
        raise ValueError(f"folder {folder} is no checkpoint of LoRA or HRA for these weights: {error}") from error
    return replace(attach(weights, adapters, np.random.default_rng(0)), params=params)


def adapter_of(config, layer):
    """The adapter that a configuration gives to a layer. Raises ValueError for anything but LoRA and HRA."""
    rank = chosen(config.get("rank_pattern"), layer, config.get("r"))
    alpha = chosen(config.get("alpha_pattern"), layer, config.get("lora_alpha"))
    check_rank(rank)
    if config.get("peft_type") == "LORA" and alpha is not None:
        return LoRA(rank, alpha, alpha_over_sqrt_rank if config.get("use_rslora") else alpha_over_rank)
    if config.get("peft_type") == "HRA":
        return HRAStrict(rank) if config.get("apply_GS") else HRA(rank, odd=rank % 2 == 1)
    raise ValueError(f"{CONFIG} must have peft_type HRA, or LORA and lora_alpha, got {config!r:.200}")


def chosen(patterns, layer, common):
    """The value of the first pattern that matches the layer's name, or the end of it from a dot on; else the common."""
    return next((value for end, value in (patterns or {}).items() if re.match(rf"(.*\.)?({end})$", layer)), common)


def fitted(layer, arrays, adapter, W):
    """The arrays of one layer in the dtype of its W. Raises ValueError when the adapter on W needs others."""
    d_out, d_in, r = *W.shape, adapter.rank
    needed = {"A": (r, d_in), "B": (d_out, r)} if isinstance(adapter, LoRA) else {"U": (d_in, r)}
    with np.errstate(all="ignore"):
        params = {letter: array.astype(W.dtype) for letter, array in arrays.items()}
    if shapes(params) != needed or not all(np.all(np.isfinite(array)) for array in params.values()):
        raise ValueError(f"{layer}: {describe(adapter)} needs {needed} of finite numbers, not {shapes(params)} or NaN")
    return params


def unpack(content):
    """The arrays in the bytes of a safetensors file, {name: array}; bfloat16 as float32.

    When the bytes are anything else, this raises what `read_peft` makes a ValueError of.
    """
    end, arrays = 8 + int.from_bytes(content[:8], "little"), {}
    header, rest = json.loads(content[8:end].decode(), object_pairs_hook=unique), memoryview(content)[end:]
    header.pop("__metadata__", None)
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        numbers = np.frombuffer(rest[slice(*entry["data_offsets"])], DTYPES[entry["dtype"]])
        arrays[name] = numbers.reshape(entry["shape"])
    given, found = (json.dumps(each, sort_keys=True) for each in (header, header_of(arrays)))
    if given != found or end + sum(array.nbytes for array in arrays.values()) != len(content):
        raise ValueError(f"{NUMBERS} has a header that does not say what each byte is for, once")
    return {name: (a.astype("<u4") << 16).view("<f4") if a.dtype == "<u2" else a for name, a in arrays.items()}


def unique(pairs):
    """A dict of these pairs; raises ValueError when two have the same name."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"a name stands twice among {[name for name, _ in pairs]!r:.200}")
    return dict(pairs)


def header_of(arrays):
    """The header of a safetensors file in which these arrays follow each other."""
    header, end = {}, 0
    for name, array in arrays.items():
        code = next(code for code, dtype in DTYPES.items() if dtype == array.dtype)
        header[name] = {"dtype": code, "shape": array.shape, "data_offsets": (end, end + array.nbytes)}
        end += array.nbytes
    return header


def pack(arrays):
    """The bytes of a safetensors file with these arrays of floats, {name: array}."""
    text = json.dumps({"__metadata__": {"format": "pt"}, **header_of(arrays)}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in arrays.values())


def write_peft(folder, attached, params, layer_of=layer_of):
    """Write the adapters of an `Attached`, with these params, as a checkpoint that PEFT loads.

    When this fails, the files that were there stay as they were.

    Raises ValueError when PEFT has no form of an adapter, or no folder for this mixture: it keeps LoRA of any ranks, or
    HRA of one rank, strict everywhere or nowhere.
    """
    attached.bind(params)  # raises for the params of something else
    arrays, settings = {}, {}
    for name, adapter in attached.adapters.items():
        own, settings[layer_of(name)] = as_peft(adapter, params[attached.keys[name]], attached.frozen[name])
        arrays |= {f"base_model.model.{layer_of(name)}.{ENDINGS[letter]}": own[letter] for letter in own}
    common, *_ = settings.values()
    if any(own != common and "HRA" in (own["peft_type"], common["peft_type"]) for own in settings.values()):
        raise ValueError(f"attached must hold LoRA alone, or HRA of one rank and one kind, got {settings}")
    config = {**common, "target_modules": "|".join(map(re.escape, settings))}
    for word, patterns in (("r", "rank_pattern"), ("lora_alpha", "alpha_pattern")):
        unlike = {f"^{re.escape(layer)}": own[word] for layer, own in settings.items() if own != common}
        config |= {patterns: unlike} if unlike else {}
    write_together(Path(folder), {NUMBERS: pack(arrays), CONFIG: json.dumps(config, indent=2, default=int).encode()})


def as_peft(adapter, params, frozen):
    """What PEFT keeps of an adapter on one layer: its arrays, by letter, and its part of the configuration."""
    strict = isinstance(adapter, HRAStrict)
    if strict or isinstance(adapter, HRA):
        return params, {"peft_type": "HRA", "r": adapter.rank, "apply_GS": strict, "init_weights": False}
    A, B, W = params.get("A"), params.get("B"), frozen.get("W")
    if isinstance(adapter, SBoRAFA):
        A = np.eye(W.shape[1], dtype=B.dtype)[frozen["cols"]]
    elif isinstance(adapter, SBoRAFB):
        B = np.eye(W.shape[0], dtype=A.dtype)[:, frozen["rows"]]
    elif isinstance(adapter, CondLoRA):
        A, B = params["Theta_A"] @ np.asarray(W), np.asarray(W) @ params["Theta_B"].T
    elif not isinstance(adapter, LoRA):
        raise ValueError(f"attached has {describe(adapter)}, of which PEFT has no form")
    return {"A": A, "B": B}, {"peft_type": "LORA", "r": adapter.rank, "lora_alpha": adapter.scale * adapter.rank}


def write_together(folder, files):
    """Put files {name: bytes} into a folder, all of them or none."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as aside, ExitStack() as undo:
        for name, content in files.items():
            Path(aside, name).write_bytes(content)
        for name in files:
            if (folder / name).exists():
                Path(aside, f"{name}.old").write_bytes((folder / name).read_bytes())
                undo.callback(os.replace, Path(aside, f"{name}.old"), folder / name)
            os.replace(Path(aside, name), folder / name)
        undo.pop_all()
