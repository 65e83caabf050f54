"""What a PEFT checkpoint holds: arrays under keys, as adapters of layers and back.

    base_model.model.<layer>.lora_A.weight   A (r, d_in)     W' = W + s B A
    base_model.model.<layer>.lora_B.weight   B (d_out, r)
    base_model.model.<layer>.hra_u           U (d_in, r)     W' = W H₁ … H_r
                                                             with apply_GS W' = W (I − 2P)
    base_model.model.<name>                  a parameter of the model that was trained whole

Letters and orientation are this package's own, so nothing is transposed, not even for a layer that
keeps Wᵀ, as GPT-2 does. A parameter that was trained whole is a head (modules_to_save), a bias
(bias = "lora_only" or "all") or an embedding; older files have heads that the configuration does
not name. It may also be what such a module has beside weight and bias, as attention in PyTorch has
in_proj_weight and a batch norm running_mean. Here they are `Full`. With bias = "all" PEFT also
stores the bias that a head had before training (original_module), which nothing uses.

Departures: PEFT fills in what a file lacks and ignores what it does not know, with a warning at
most. The result is another model. Here both are errors, and so is what no adapter can represent:
DoRA's magnitudes, LoRA on embeddings and others.

Mangrulkar et al., 2022, github.com/huggingface/peft.
"""

import numpy as np

from minilora.adapters import LoRA
from minilora.peft.names import COUNTER, few
from minilora.peft.settings import adapter_for, check_settings
from minilora.weight import describe

ARRAYS = "adapter_model.safetensors"
PREFIX = "base_model.model."
ENDINGS = {"A": "lora_A.weight", "B": "lora_B.weight", "U": "hra_u"}
_FORMS = {"A": "A (r, d_in)", "B": "B (d_out, r)", "U": "U (d_in, r)"}
_RANK_AXIS = {"A": 0, "B": 1, "U": 1}
_FLOATS = (np.float16, np.float32, np.float64)


def adapters_of(config, arrays):
    """What a checkpoint holds, without its base model: ({layer: (adapter, params)}, rest).

    config: the parsed configuration. arrays: {key: array}. The adapters are LoRA, HRA or HRAStrict;
    params is {"A", "B"} or {"U"} in the dtype of the file. rest: {name of a parameter in PEFT's
    model: array}, those that were trained whole, such as heads and biases. The counter of a batch
    norm, num_batches_tracked, is left out.

    Raises ValueError when the checkpoint holds anything but LoRA or HRA on matrices and whole
    parameters, or lacks an array, or holds anything but finite floats.
    """
    if not isinstance(config, dict) or not isinstance(arrays, dict):
        given = f"{type(config).__name__} and {type(arrays).__name__}"
        raise ValueError(f"config and arrays must be dicts, as of open_checkpoint, got {given}")
    check_settings(config)
    params_of, rest = _sorted_out(arrays)
    adapters = adapter_for(config, list(params_of))
    for layer, params in params_of.items():
        _check_params(layer, params, adapters[layer])
    return {layer: (adapters[layer], params) for layer, params in params_of.items()}, rest


def _sorted_out(arrays):
    """({layer: {letter: array}}, {name of another parameter: array})."""
    params = {}
    rest = {}
    originals = []
    for key, array in arrays.items():
        if not key.startswith(PREFIX):
            raise ValueError(f"{ARRAYS} has {key!r:.200}, which does not begin with {PREFIX!r}")
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{ARRAYS} has {key!r:.200} with NaN or inf")
        name = key.removeprefix(PREFIX)
        layer, letter = _matrix(name)
        if letter:
            params.setdefault(layer, {})[letter] = array
        elif name.endswith(f".{COUNTER}"):
            continue
        elif array.dtype not in _FLOATS:
            raise ValueError(
                f"{ARRAYS} has {key!r:.200} of {array.dtype}, which is not a float type"
            )
        elif ".original_module." in name:
            originals.append(name)
        elif not np.array_equal(rest.setdefault(_parameter(name), array), array):
            raise ValueError(f"{ARRAYS} has two different arrays for {_parameter(name)!r:.200}")
    for name in originals:
        if name.replace(".original_module.", ".") not in rest:
            raise ValueError(f"{ARRAYS} has {name!r:.200}, but not what became of it in training")
    if not params:
        raise ValueError(f"{ARRAYS} has no LoRA and no HRA, but {few(arrays) or 'nothing'}")
    return params, rest


def _matrix(name):
    """(layer, letter) of a name such as "layers.0.lora_A.weight"; ("", "") for another one."""
    for letter, ending in ENDINGS.items():
        if name.endswith(f".{ending}"):
            return name.removesuffix(f".{ending}"), letter
    return "", ""


def _parameter(name):
    """The name that a parameter has in the model without PEFT's wrappers."""
    if _matrix(name.replace(".default", ""))[1]:
        raise ValueError(f"{ARRAYS} has {name!r:.200}, as in model.state_dict(): drop '.default'")
    if any(part.startswith(("lora_", "hra_")) for part in name.split(".")):
        what = "of LoRA on an embedding" if "lora_embedding" in name else "of an extension of LoRA"
        raise ValueError(f"{ARRAYS} has {PREFIX + name!r:.200}, {what}, which is not read here")
    for wrapper in (".modules_to_save.default.", ".modules_to_save.", ".base_layer."):
        name = name.replace(wrapper, ".")
    return name


def _check_params(layer, params, adapter):
    """Raise ValueError unless these are the matrices of this adapter on a layer of some shape."""
    letters = ("A", "B") if isinstance(adapter, LoRA) else ("U",)
    given = {letter: f"{array.dtype} {array.shape}" for letter, array in params.items()}
    fits = given.keys() == set(letters) and all(
        array.ndim == 2
        and array.size
        and array.shape[_RANK_AXIS[letter]] == adapter.rank
        and array.dtype in _FLOATS
        for letter, array in params.items()
    )
    if not fits:
        needed = " and ".join(_FORMS[letter] for letter in letters)
        raise ValueError(f"{layer}: {describe(adapter)} needs floats {needed}, not {given}")
