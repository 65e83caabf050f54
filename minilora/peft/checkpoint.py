"""What a PEFT checkpoint says, as adapters and parameters, and back.

A checkpoint is a configuration, adapter_config.json, and for every adapted layer these arrays:

    base_model.model.<layer>.lora_A.weight   A (r, d_in)     W' = W + s B A, s = lora_alpha / r
    base_model.model.<layer>.lora_B.weight   B (d_out, r)    with use_rslora s = lora_alpha / √r
    base_model.model.<layer>.hra_u           U (d_in, r)     W' = W H₁ … H_r
                                                             with apply_GS W' = W (I − 2P)

Letters and orientation are this package's own, so nothing is transposed. Not even for a layer that
keeps Wᵀ, as GPT-2 does and PEFT's flag fan_in_fan_out says, as long as `weights` holds W. Layers
may have a rank and an alpha of their own in rank_pattern and alpha_pattern, under regular
expressions for the end of the layer's name.

SBoRA is written as LoRA with an A or B of zeros and ones, CondLoRA as the A and B that it computes
for each layer, and the scale of each as lora_alpha = s r. All come back as LoRA.

Departures: PEFT fills in what a file lacks, ignores what it does not know, with a warning at most,
and computes another model. Here both are errors, and so is what no adapter can represent: biases,
DoRA's magnitudes, modules_to_save and others.

Mangrulkar et al., 2022, github.com/huggingface/peft.
"""

import re

import numpy as np

from minilora.adapters import HRA, CondLoRA, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.adapters.scaling import alpha_over_rank, alpha_over_sqrt_rank
from minilora.checks import check_rank
from minilora.peft.patterns import first_match
from minilora.weight import dense, describe

CONFIG = "adapter_config.json"
ARRAYS = "adapter_model.safetensors"
_ENDINGS = {"A": "lora_A.weight", "B": "lora_B.weight", "U": "hra_u"}
# The first seven are read below; the others have no part in the map that a trained adapter is.
_KNOWN = {
    "peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "apply_GS",
    "auto_mapping", "base_model_name_or_path", "eva_config", "exclude_modules", "fan_in_fan_out",
    "inference_mode", "init_weights", "layers_pattern", "layers_to_transform", "lora_dropout",
    "megatron_core", "peft_version", "qalora_group_size", "revision", "target_modules", "task_type",
}  # fmt: skip
_HARMLESS = {"bias": ("none",), "init_lora_weights": (True, "gaussian", "eva", "orthogonal")}


def layer_of(name):
    """PEFT's name of the layer with this weight: "layers.0.W" -> "layers.0"."""
    return name.removesuffix(".W").removesuffix(".weight")


def layer_names(weights, layer_of):
    """{name of a weight: name of its layer}, for the matrices to which layer_of gives a string.

    Raises ValueError when layer_of is not a function, or gives two matrices one layer.
    """
    if not callable(layer_of):
        given = type(layer_of).__name__
        raise ValueError(f"layer_of must be a function, got {given}: try the .get of a dict")
    name_of = {}
    for name, W in weights.items():
        layer = layer_of(name) if np.ndim(W) == 2 else None
        if isinstance(layer, str) and name_of.setdefault(layer, name) != name:
            both = f"{name_of[layer]!r} and {name!r}"
            raise ValueError(f"layer_of must give one matrix the layer {layer!r}, got {both}")
    return {name: layer for layer, name in name_of.items()}


def from_peft(config, arrays, weights, layers):
    """(adapters, params) of a checkpoint on these weights, both under the names of the weights.

    config: the parsed configuration. arrays: {key: array}. layers: {name of a weight: layer}. The
    parameters take the dtype of the weight that they adapt.

    Raises ValueError when the checkpoint asks for anything but LoRA or HRA on these weights.
    """
    for word, value in config.items():
        if value and word not in _KNOWN and value not in _HARMLESS.get(word, ()):
            raise ValueError(f"{CONFIG} has {word} = {value!r:.200}, which no adapter represents")
    rank_of = _per_layer(config, layers, "r", "rank_pattern")
    alpha_of = _per_layer(config, layers, "lora_alpha", "alpha_pattern")
    remaining = dict(arrays)
    adapters = {}
    params = {}
    for name, layer in layers.items():
        keys = {letter: _key(layer, letter) for letter in _ENDINGS}
        own = {letter: remaining.pop(key) for letter, key in keys.items() if key in remaining}
        if own:
            adapters[name] = _adapter(config, rank_of[layer], alpha_of[layer])
            params[name] = _cast_and_check(layer, own, adapters[name], weights[name])
    if remaining or not adapters:
        unused = f"{ARRAYS} has {list(remaining)!r:.500}"
        raise ValueError(f"{unused}, but the layers are {list(layers.values())!r:.500}")
    return adapters, params


def to_peft(attached, params, layers):
    """(config, arrays) of the adapters of an `Attached` with these params.

    layers: {name of a weight: layer}.

    Raises ValueError when PEFT has no form of an adapter, or no configuration for this mixture.
    """
    arrays = {}
    settings = {}
    for name, adapter in attached.adapters.items():
        if name not in layers:
            raise ValueError(
                f"attached has {describe(adapter)} on {name!r}, which is no layer of PEFT"
            )
        own_params = params[attached.keys[name]]
        own, settings[layers[name]] = _as_peft(adapter, own_params, attached.frozen[name])
        for letter, array in own.items():
            arrays[_key(layers[name], letter)] = array
    return _config(settings), arrays


def _key(layer, letter):
    return f"base_model.model.{layer}.{_ENDINGS[letter]}"


def _per_layer(config, layers, common, patterns):
    """{layer: value}: that of the first pattern that matches the layer, else the common one."""
    own = first_match(config.get(patterns) or {}, layers.values())
    return {layer: own.get(layer, config.get(common)) for layer in layers.values()}


def _adapter(config, rank, alpha):
    """The adapter of a configuration. Raises ValueError for anything but LoRA and HRA."""
    check_rank(rank)
    if config.get("peft_type") == "LORA" and alpha is not None:
        scaling = alpha_over_sqrt_rank if config.get("use_rslora") else alpha_over_rank
        return LoRA(rank, alpha, scaling)
    if config.get("peft_type") == "HRA":
        return HRAStrict(rank) if config.get("apply_GS") else HRA(rank, odd=rank % 2 == 1)
    wanted = "peft_type HRA, or LORA and lora_alpha"
    raise ValueError(f"{CONFIG} must have {wanted}, got {config!r:.200}")


def _cast_and_check(layer, arrays, adapter, W):
    """The arrays of one layer in the dtype of its W.

    Raises ValueError unless they have the letters and shapes of the adapter on W, and are finite.
    """
    d_out, d_in = W.shape
    r = adapter.rank
    needed = {"A": (r, d_in), "B": (d_out, r)} if isinstance(adapter, LoRA) else {"U": (d_in, r)}
    with np.errstate(all="ignore"):
        params = {letter: array.astype(W.dtype) for letter, array in arrays.items()}
    given = {letter: array.shape for letter, array in params.items()}
    finite = all(np.all(np.isfinite(array)) for array in params.values())
    if given != needed or not finite:
        wanted = f"{describe(adapter)} needs {needed} of finite numbers"
        raise ValueError(f"{layer}: {wanted}, not {given}{'' if finite else ' with NaN or inf'}")
    return params


def _as_peft(adapter, params, frozen):
    """What PEFT stores of an adapter on one layer: its arrays, by letter, and its settings."""
    if isinstance(adapter, (HRA, HRAStrict)):
        strict = isinstance(adapter, HRAStrict)
        kind = {"peft_type": "HRA", "apply_GS": strict, "init_weights": False}
        return params, {**kind, "r": int(adapter.rank)}
    arrays = dict(params)
    if isinstance(adapter, SBoRAFA):
        identity = np.eye(frozen["W"].shape[1], dtype=params["B"].dtype)
        arrays["A"] = identity[frozen["cols"]]
    elif isinstance(adapter, SBoRAFB):
        identity = np.eye(frozen["W"].shape[0], dtype=params["A"].dtype)
        arrays["B"] = identity[:, frozen["rows"]]
    elif isinstance(adapter, CondLoRA):
        W = dense(frozen["W"])
        arrays = {"A": params["Theta_A"] @ W, "B": W @ params["Theta_B"].T}
    elif not isinstance(adapter, LoRA):
        raise ValueError(f"attached has {describe(adapter)}, of which PEFT has no form")
    alpha = float(adapter.scale * adapter.rank)
    return arrays, {"peft_type": "LORA", "r": int(adapter.rank), "lora_alpha": alpha}


def _config(settings):
    """One configuration for all layers, from {layer: its settings}.

    The settings of the first layer are the common ones; layers with others are named in patterns.
    """
    common, *_ = settings.values()
    unlike = {f"^{re.escape(layer)}": own for layer, own in settings.items() if own != common}
    if unlike and any(own["peft_type"] == "HRA" for own in settings.values()):
        wanted = "LoRA alone, or HRA of one rank and one kind"
        raise ValueError(f"attached must hold {wanted}, got {settings!r:.500}")
    config = {**common, "target_modules": "|".join(map(re.escape, settings))}
    if unlike:
        config["rank_pattern"] = {pattern: own["r"] for pattern, own in unlike.items()}
        config["alpha_pattern"] = {pattern: own["lora_alpha"] for pattern, own in unlike.items()}
    return config
