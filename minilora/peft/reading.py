"""A checkpoint on the weights of a model: which adapter belongs to which weight, in its dtype.

`adapters_of` says what the checkpoint holds. Here every layer of it finds its weight, and every
parameter that was trained whole becomes a `Full`. Nothing may be left over, and nothing missing.
"""

from collections import defaultdict
from hashlib import sha256

import numpy as np

from minilora.adapters import Full
from minilora.peft.checkpoint import ARRAYS, adapters_of
from minilora.peft.names import COUNTER, few, nearest, paths
from minilora.peft.settings import CONFIG
from minilora.weight import dense


def from_peft(config, arrays, weights, names, turned):
    """(adapters, params) of a checkpoint on these weights, both under the names of the weights.

    config: the parsed configuration. arrays: {key: array}. names: {parameter of PEFT's model: name
    of a weight}. turned: the names of the weights that PEFT's model keeps as Wᵀ; `weights` has W.
    The params take the dtype of the weight that they adapt.

    Raises ValueError unless every array of the checkpoint has a weight that it fits.
    """
    found, rest = adapters_of(config, arrays)
    rest = {_form(parameter, names): array for parameter, array in rest.items()}
    loaded = {}
    for layer, (adapter, params) in found.items():
        name = _name_of(_form(f"{layer}.weight", names), names, found)
        _check_shape(layer, params, weights[name])
        loaded[name] = adapter, _cast(layer, params, weights[name].dtype)
    for parameter, array in rest.items():
        name = _name_of(parameter, names, rest)
        W = weights[name]
        array = array.T if name in turned else array
        if array.shape != W.shape:
            raise ValueError(f"{parameter} must have shape {W.shape}, as {name}, got {array.shape}")
        if name not in loaded:
            loaded[name] = Full(), _cast(parameter, {"W": array}, W.dtype)
        elif not np.array_equal(array, dense(W).astype(array.dtype)):
            advice = f"weights[{name!r}] must be this array"
            raise ValueError(f"{parameter} is in {ARRAYS} with an adapter on top: {advice}")
    _check_complete(config, rest, names, found)
    if config.get("ensure_weight_tying"):
        _check_tied(weights, loaded)
    order = [name for name in weights if name in loaded]
    return {name: loaded[name][0] for name in order}, {name: loaded[name][1] for name in order}


def _form(parameter, names):
    """The parameter as `parameter_names` has it, which cannot tell "gamma" from a layer "gamma"."""
    forms = parameter, f"{parameter}.weight", parameter.removesuffix(".weight")
    return next((form for form in forms if form in names), parameter)


def _name_of(parameter, names, wanted):
    """The name of the weight that is this parameter. Raises ValueError, with advice, for none."""
    if parameter in names:
        return names[parameter]
    layers = list(dict.fromkeys(other.rpartition(".")[0] for other in names))
    without = [other for other in wanted if other not in names and f"{other}.weight" not in names]
    problem = f"{ARRAYS} has {few(without or [parameter])}, but the layers are {few(layers)}"
    layer = parameter.rpartition(".")[0]
    advice = nearest(layer, layers)
    if layer in layers:
        advice = f": weights has no such parameter of {layer!r:.80}"
    if parameter in wanted and not advice:
        advice = ": if the base model has no such head, put zeros of its shape into weights"
    raise ValueError(problem + advice)


def _check_shape(layer, params, W):
    """Raise ValueError unless the params of an adapter are for a W of this shape."""
    if "U" in params:
        shape = (*W.shape[:1], len(params["U"]))
    else:
        shape = (len(params["B"]), params["A"].shape[1])
    if shape != W.shape:
        turned = shape == W.shape[::-1]
        advice = ", its transpose: see fan_in_fan_out of read_peft" if turned else ""
        given = f"the weight has {W.shape}"
        raise ValueError(f"{layer} has an adapter for shape {shape}, {given}{advice}")


def _cast(where, params, dtype):
    """The arrays in a dtype. Raises ValueError when they are not finite in it."""
    with np.errstate(all="ignore"):
        cast = {letter: array.astype(dtype) for letter, array in params.items()}
    if not all(np.all(np.isfinite(array)) for array in cast.values()):
        raise ValueError(f"{where} must have finite numbers, but in {dtype} they overflow")
    return cast


def _check_tied(weights, loaded):
    """Raise ValueError when a checkpoint makes arrays unequal that the model has twice."""
    same = defaultdict(list)
    for name, W in weights.items():
        if W.ndim == 2:
            same[W.shape, sha256(dense(W).tobytes()).digest()].append(name)
    for names in same.values():
        learned = [loaded.get(name) for name in names]
        if len(names) == 1 or not any(learned):
            continue
        if not all(each and each[0] == Full() for each in learned) or any(
            not np.array_equal(params["W"], learned[0][1]["W"]) for _, params in learned
        ):
            problem = f"{CONFIG} has ensure_weight_tying, and weights the same in {few(names)}"
            raise ValueError(f"{problem}: {ARRAYS} must have the same whole array for all of them")


def _check_complete(config, rest, names, layers):
    """Raise ValueError when what the configuration says was trained whole is not in the file."""
    modules = tuple(config.get("modules_to_save") or ())
    for parameter in names:
        if parameter.endswith(f".{COUNTER}"):
            continue
        owners = paths(parameter.rpartition(".")[0])
        saved = any(path.endswith(modules) for path in owners)  # as PEFT finds them
        if saved and parameter not in rest:
            problem = f"{CONFIG} has modules_to_save = {modules!r:.100}"
            raise ValueError(f"{problem}, but {ARRAYS} has no {parameter!r:.80}")
    bias = config.get("bias") or "none"
    biases = [name for name in names if name.endswith(".bias")]
    if bias != "all":
        biases = [name for name in biases if name.removesuffix(".bias") in layers]
    if bias != "none" and biases and rest.keys().isdisjoint(biases):
        problem = f"{CONFIG} has bias = {bias!r}"
        raise ValueError(f"{problem}, but {ARRAYS} has no {biases[0]!r:.80}")
