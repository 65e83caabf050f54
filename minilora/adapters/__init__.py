"""One file for each adapter. Each is a frozen dataclass with the same three functions:

init(rng, W)                 -> params (float arrays to train), frozen (what training must not touch)
forward(params, frozen, x)   -> y, the cheap path: it never builds a (d_out, d_in) array
merge(params, frozen)        -> the same map as one new matrix (d_out, d_in), derived on its own
"""

from minilora.adapters.condlora import CondLoRA
from minilora.adapters.full import Full
from minilora.adapters.hra import HRA
from minilora.adapters.hra_strict import HRAStrict
from minilora.adapters.lora import LoRA
from minilora.adapters.sbora import SBoRAFA, SBoRAFB

__all__ = ["HRA", "CondLoRA", "Full", "HRAStrict", "LoRA", "SBoRAFA", "SBoRAFB"]
