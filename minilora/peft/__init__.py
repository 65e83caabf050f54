"""The bridge to Hugging Face PEFT: read adapters that it saves, and write adapters that it loads.

    attached = read_peft(folder, weights)      # an `Attached` with the parameters of the checkpoint
    write_peft(folder, attached, params)       # a checkpoint that PEFT loads

Without a base model: `open_checkpoint` opens the folder, and `adapters_of` says what it holds.
`read_safetensors` reads the base model itself.

`safetensors` turns arrays into bytes and back, `patterns` says which layers a regular expression
matches, `settings` and `names` say what a configuration and a layer's name mean. `checkpoint` says
what is in a file, `reading` and `writing` put it onto weights and back. `files` reads and writes
folders, and `advice` recognises other formats.
"""

from minilora.peft.checkpoint import adapters_of
from minilora.peft.files import open_checkpoint, read_peft, write_peft
from minilora.peft.names import layer_of
from minilora.peft.safetensors import read_safetensors

__all__ = [
    "adapters_of",
    "layer_of",
    "open_checkpoint",
    "read_peft",
    "read_safetensors",
    "write_peft",
]
