"""How many numbers an adapter trains in a real model: the shapes of the linear layers of five of them, and no weight.

An adapter counts itself: its own `init` runs on a stand-in of each shape, a matrix (d_out, d_in) whose entries are all
the same zero in memory. So no second formula can disagree with the code, and layers of one shape are counted once.

    llama = MODELS["llama3-8b"]
    trained(LoRA(rank=32), llama.shapes("qkv"))                   # q, k and v of all 32 layers
    trained(CondLoRA(rank=32), llama.shapes("qkv"), key=kind)     # weights with one key share what they train

Liu et al., 2019, arXiv 1907.11692 (RoBERTa); He et al., 2021, arXiv 2111.09543 (DeBERTaV3); Touvron et al., 2023, arXiv
2302.13971 (LLaMA); Grattafiori et al., 2024, arXiv 2407.21783 (LLaMA 3). The names are those of the released weights.
"""

from collections import namedtuple
from functools import cache

import numpy as np

from minilora.attach import own_name

LLAMA = {part: f"self_attn.{part}_proj" for part in "qkvo"}
LLAMA |= {part: f"mlp.{part}_proj" for part in ("gate", "up", "down")}
BERT = {"o": "attention.output.dense", "up": "intermediate.dense", "down": "output.dense"}
ROBERTA = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value", **BERT}
DEBERTA = {"q": "attention.self.query_proj", "k": "attention.self.key_proj", "v": "attention.self.value_proj", **BERT}


class Model(namedtuple("Model", "stack names layers width kv_width hidden total")):
    """A Transformer as a table of sizes: layers that are alike, each with the same few linear maps.

    stack: where the layers are, "model.layers", with names like "model.layers.31.mlp.up_proj.weight". names: part ->
    name within a layer. kv_width: of keys and values, less than width where several heads share them. hidden: of the
    MLP. total: all numbers of the released network, also embeddings, norms and biases.
    """

    def shapes(self, targets=None):
        """{name: (d_out, d_in)} of the linear maps, all of them or some.

        targets: any of q k v o (attention) and gate up down (MLP; BERTs have no gate). Raises ValueError for any other.
        """
        targets = self.names if targets is None else targets
        d, kv, hidden = self.width, self.kv_width, self.hidden
        sides = {"k": (kv, d), "v": (kv, d), "gate": (hidden, d), "up": (hidden, d), "down": (d, hidden)}
        if not targets or not set(targets) <= set(self.names):
            raise ValueError(f"targets must be any of {', '.join(self.names)}, got {', '.join(targets) or 'none'}")
        places = [(i, part) for i in range(self.layers) for part in targets]
        return {f"{self.stack}.{i}.{self.names[part]}.weight": sides.get(part, (d, d)) for i, part in places}


MODELS = {
    "roberta-base": Model("encoder.layer", ROBERTA, 12, 768, 768, 3072, 124_645_632),
    "deberta-v3-base": Model("encoder.layer", DEBERTA, 12, 768, 768, 3072, 183_831_552),
    "llama-7b": Model("model.layers", LLAMA, 32, 4096, 4096, 11_008, 6_738_415_616),
    "llama-13b": Model("model.layers", LLAMA, 40, 5120, 5120, 13_824, 13_015_864_320),
    "llama3-8b": Model("model.layers", LLAMA, 32, 4096, 1024, 14_336, 8_030_261_248),
}


@cache
def trained_alone(adapter, shape):
    """How many numbers an adapter trains on one matrix of this shape."""
    params, _ = adapter.init(np.random.default_rng(0), np.broadcast_to(np.float32(0), shape))
    return sum(array.size for array in params.values())


def trained(adapter, shapes, key=own_name):
    """How many numbers an adapter trains on weights {name: (d_out, d_in)}; those whose keys are equal count once.

    Raises ValueError when the adapter cannot take one of the shapes.
    """
    return sum(trained_alone(adapter, shape) for _, shape in {(key(name), shape) for name, shape in shapes.items()})
