"""The linear layers of real models as tables of sizes: count parameters without the weights.

    llama = MODELS["llama3-8b"]
    count_trainable(LoRA(rank=32), llama.shapes("qkv"))                # q, k and v of all 32 layers
    count_trainable(CondLoRA(rank=32), llama.shapes("qkv"), key=kind)  # layers of a kind share
    read_architecture("folder/config.json")                            # a model of your own

`table` says what a model's sizes are; `entries`, `families` and `from_config` find them in a
config.json; `released` has those of some models by name, and `counting` counts.
"""

from minilora.architectures.counting import count_trainable
from minilora.architectures.from_config import architecture_of, read_architecture
from minilora.architectures.released import MODELS
from minilora.architectures.table import Architecture

__all__ = ["MODELS", "Architecture", "architecture_of", "count_trainable", "read_architecture"]
