"""One file for each adapter. Each is a frozen dataclass with the same three functions:

    init(rng, W)                 -> params (float arrays to train), frozen (what training keeps)
    forward(params, frozen, x)   -> y, the cheap path: no array of W's size (but Full's)
    merge(params, frozen)        -> the same map as one new matrix (d_out, d_in), by its own formula

W is any weight (minilora.weight). An adapter that trains a whole array, as Full does, may have a
fourth, for what a model adds (a bias) or indexes (an embedding):

    array(params, frozen)        -> the weight as an array

Any class with these methods can be attached, without registration and without a base class.
"""

import dataclasses
import functools

from minilora.adapters.condlora import CondLoRA
from minilora.adapters.full import Full
from minilora.adapters.hra import HRA
from minilora.adapters.hra_strict import HRAStrict
from minilora.adapters.lora import LoRA
from minilora.adapters.sbora import SBoRAFA, SBoRAFB

__all__ = ["HRA", "CondLoRA", "Full", "HRAStrict", "LoRA", "SBoRAFA", "SBoRAFB"]


def _explain_arguments(adapter):
    """Let a wrong call of the constructor say which arguments there are, also to users of PEFT."""
    construct = adapter.__init__

    @functools.wraps(construct)
    def __init__(self, *args, **kwargs):  # noqa: N807
        try:
            construct(self, *args, **kwargs)
        except TypeError as error:
            if "__init__()" not in str(error):
                raise  # from a function that was passed as scaling
            names = ", ".join(field.name for field in dataclasses.fields(adapter)) or "no arguments"
            hint = "PEFT's r is rank here, lora_alpha is alpha"
            if type(self) is not adapter:
                hint += (
                    f"; for fields of its own, {type(self).__name__} needs @dataclass(frozen=True)"
                )
            raise TypeError(f"{adapter.__name__} takes {names} ({hint}): {error}") from error

    adapter.__init__ = __init__


for _adapter in (CondLoRA, Full, HRA, HRAStrict, LoRA, SBoRAFA, SBoRAFB):
    _explain_arguments(_adapter)
