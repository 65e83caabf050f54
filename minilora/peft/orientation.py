"""Layers of PEFT's model that keep Wᵀ (d_in, d_out), as GPT-2's do: fan_in_fan_out.

A and B have the same orientation for them as for all others, so the flag changes no entry of an
adapter. But the base model's file holds Wᵀ then, and so does the file of an adapter for a layer
that was trained whole. On a square layer both W and Wᵀ fit, and the wrong one is another model. So
the caller has to say which one it is.
"""

import numpy as np

from minilora.adapters import Full


def turned_names(weights, fan_in_fan_out):
    """The names of the matrices that PEFT's model keeps as Wᵀ.

    fan_in_fan_out: a function of the name, or True or False for all; None says nothing.

    Raises ValueError when it is something else.
    """
    if callable(fan_in_fan_out):
        return {name for name, W in weights.items() if np.ndim(W) == 2 and fan_in_fan_out(name)}
    if fan_in_fan_out not in (None, False, True):
        wanted = "a function of a weight's name, True, False or None"
        raise ValueError(f"fan_in_fan_out must be {wanted}, got {fan_in_fan_out!r:.80}")
    return {name for name, W in weights.items() if np.ndim(W) == 2 and fan_in_fan_out}


def check_orientation(config, adapters, weights, fan_in_fan_out):
    """Raise ValueError when a configuration has Wᵀ, and nothing shows which layers have it.

    False says it of `weights` alone, and the file of a layer that was trained whole has Wᵀ or W.
    """
    if not config.get("fan_in_fan_out") or fan_in_fan_out is True or callable(fan_in_fan_out):
        return
    square = {name: W.ndim == 2 and W.shape[0] == W.shape[1] for name, W in weights.items()}
    whole = [name for name, adapter in adapters.items() if adapter == Full() and square[name]]
    others = [name for name, adapter in adapters.items() if adapter != Full()]
    if whole or (fan_in_fan_out is None and all(square[name] for name in others)):
        name = (whole or others)[0]
        problem = f"PEFT's model keeps Wᵀ (fan_in_fan_out), and {name!r:.80} is square"
        advice = 'a function of the name that is true for Wᵀ, such as lambda name: ".c_" in name'
        if whole:
            wanted = "it was trained whole, so weights must have Wᵀ where PEFT's model has it"
            raise ValueError(f"{problem}: {wanted}, and fan_in_fan_out must be {advice}")
        raise ValueError(f"{problem}: pass fan_in_fan_out=False if weights has W here, or {advice}")
