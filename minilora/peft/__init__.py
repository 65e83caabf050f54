"""The bridge to Hugging Face PEFT: read adapters that it saves, and write adapters that it loads.

    attached = read_peft(folder, weights)      # an `Attached` with the parameters of the checkpoint
    write_peft(folder, attached, params)       # a checkpoint that PEFT loads

`safetensors` turns arrays into bytes and back, `patterns` says which layers a regular expression
means, `checkpoint` turns adapters into what PEFT stores and back, `files` reads and writes folders.
"""

from minilora.peft.checkpoint import layer_of
from minilora.peft.files import read_peft, write_peft

__all__ = ["layer_of", "read_peft", "write_peft"]
