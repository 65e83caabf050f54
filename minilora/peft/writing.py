"""The adapters of an `Attached` as a checkpoint: what PEFT stores of each, under which key.

LoRA and HRA are stored as they are. SBoRA is written as LoRA with an A or B of zeros and ones,
CondLoRA as the A and B that it computes for each layer, and the scale of each as lora_alpha = s r.
All come back as LoRA.

`Full` on a bias is written as bias = "lora_only", "hra_only" or "all", and on anything else as one
of modules_to_save. PEFT wants all parameters of such a module. So the bias of a head is in the file
and comes back as `Full`, even if the head's matrix alone was trained.
"""

import numpy as np

from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.peft.checkpoint import ENDINGS, PREFIX
from minilora.peft.names import paths
from minilora.peft.settings import joined
from minilora.weight import dense, describe


def to_peft(attached, params, names, turned):
    """(config, arrays) of the adapters of an `Attached` with these params.

    names: {parameter of PEFT's model: name of a weight}. turned: the names of the weights that
    PEFT's model keeps as Wᵀ.

    Raises ValueError when PEFT cannot represent an adapter, or has no configuration for this
    mixture.
    """
    parameter_of = {name: parameter for parameter, name in names.items()}
    arrays = {}
    settings = {}
    whole = {}
    for name, adapter in attached.adapters.items():
        if name not in parameter_of:
            problem = f"attached has {describe(adapter)} on {name!r}"
            raise ValueError(f"{problem}, which is not a layer of PEFT's model: see layer_of")
        own = params[attached.keys[name]]
        if isinstance(adapter, Full):
            whole[parameter_of[name]] = own["W"]
            continue
        layer = parameter_of[name].removesuffix(".weight")
        stored, settings[layer] = _as_peft(adapter, own, attached.frozen[name])
        arrays |= {f"{PREFIX}{layer}.{ENDINGS[letter]}": array for letter, array in stored.items()}
    if not settings:
        raise ValueError("attached must have LoRA or HRA: PEFT has no checkpoint of Full alone")
    config = {**joined(settings), **_trained_whole(whole, settings)}
    if config["peft_type"] == "LORA" and turned & attached.adapters.keys():
        config["fan_in_fan_out"] = True
    modules = tuple(config.get("modules_to_save", ()))
    for parameter, name in names.items():
        layer, _, kind = parameter.rpartition(".")
        saved = any(path.endswith(modules) for path in paths(layer))  # as PEFT finds them
        if parameter in whole or saved:
            array = dense(whole.get(parameter, attached.weights[name]))
            wrapper = "base_layer." if layer in settings else ""
            arrays[f"{PREFIX}{layer}.{wrapper}{kind}"] = array.T if name in turned else array
    return config, arrays


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
        raise ValueError(f"attached has {describe(adapter)}, which PEFT cannot represent")
    alpha = float(adapter.scale * adapter.rank)
    return arrays, {"peft_type": "LORA", "r": int(adapter.rank), "lora_alpha": alpha}


def _trained_whole(whole, settings):
    """What the configuration says of parameters that were trained whole: {setting: value}.

    settings: those of the layers with an adapter. PEFT saves a bias alone, or all of a layer.

    Raises ValueError when PEFT would take a layer with an adapter for one that was trained whole.
    """
    layers = {parameter: parameter.rpartition(".")[0] for parameter in whole}
    modules = [layer for name, layer in layers.items() if not name.endswith(".bias")]
    biases = [layer for layer in layers.values() if layer not in modules]
    for layer in settings:
        for module in modules:
            if any(path.endswith(module) for path in paths(layer)):
                problem = f"attached has Full on {module!r} and an adapter on {layer!r}"
                raise ValueError(f"{problem}: PEFT looks only at the end of a name")
    found = set(modules)
    outer = [module for module in modules if found.isdisjoint(paths(module)[:-1])]
    words = {"modules_to_save": list(dict.fromkeys(outer))} if modules else {}
    if biases:
        own = all(layer in settings for layer in biases)
        peft_type = next(iter(settings.values()))["peft_type"]
        words["bias"] = f"{peft_type.lower()}_only" if own else "all"
    return words
