"""The family: adapters beyond the papers of this library, each on one screen.

    from minilora.family import DoRA

Most are one line of algebra from LoRA or HRA. Those for matrices keep the same promises (`pytest
--adapter`), but for one of PiSSA's and one of RandLoRA's, which these state; BitFit is for biases.
They agree with Hugging Face PEFT's own where it has them. Importing this package imports nothing
else.
"""

from importlib import import_module

_HOME = {
    "BitFit": "bias",
    "IA3": "gains",
    "DoRA": "gains",
    "SVF": "gains",
    "LoRAFA": "frozen_factors",
    "LoRAXS": "frozen_factors",
    "VeRA": "frozen_factors",
    "RandLoRA": "frozen_factors",
    "PiSSA": "pissa",
    "LoHa": "products",
    "LoKr": "products",
    "OFT": "orthogonal",
    "BOFT": "orthogonal",
    "SHiRA": "sparse",
}
__all__ = sorted(_HOME)


def __getattr__(name):
    """A class from its file (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'minilora.family' has no attribute {name!r}")
    return getattr(import_module(f"minilora.family.{_HOME[name]}"), name)
