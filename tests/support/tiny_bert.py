"""A BERT so small that its outputs fit on a page: weights by a formula, outputs by transformers.

    python tests/support/tiny_bert.py          writes tests/data/bert.json; needs the extra [peft]

The weights are sines, so that they need no file. The outputs are the hidden states after the last
layer that `transformers` computes in float64.
"""

import json
from pathlib import Path

import numpy as np

from minilora.models.encoder import encoder_shapes

FILE = Path(__file__).parent.parent / "data" / "bert.json"
SIZES = {"vocabulary": 11, "context": 7, "width": 6, "depth": 2, "hidden": 10}
HEADS = 3
TOKENS = np.array([[2, 9, 4, 3, 0], [2, 3, 0, 0, 0], [2, 8, 8, 10, 3]])
MASK = TOKENS > 0


def tiny_weights(dtype=np.float64):
    """{name: array}, all different and of size 1, but gains, which are near 1."""
    weights = {}
    for k, (name, shape) in enumerate(encoder_shapes(**SIZES).items()):
        waves = np.sin(1.7 * np.arange(1, np.prod(shape) + 1) + k).reshape(shape)
        gain = name.endswith("LayerNorm.weight")
        weights[name] = (1 + 0.3 * waves if gain else waves).astype(dtype)
    return weights


def bert_of(weights, heads):
    """transformers' BertModel with these weights, without a pooler."""
    import torch
    from transformers import BertConfig, BertModel

    vocabulary, width = weights["embeddings.word_embeddings.weight"].shape
    context = len(weights["embeddings.position_embeddings.weight"])
    depth = sum(name.endswith("intermediate.dense.weight") for name in weights)
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=len(weights["encoder.layer.0.intermediate.dense.bias"]),
        max_position_embeddings=context,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = BertModel(config, add_pooling_layer=False)
    tensors = {name: torch.tensor(array) for name, array in weights.items()}
    model.to(next(iter(tensors.values())).dtype).load_state_dict(tensors)
    return model.eval()


def hidden_states(weights, tokens, mask, heads):
    """transformers' hidden states (B, T, d) after the last layer, zero at padding."""
    import torch

    with torch.no_grad():
        found = bert_of(weights, heads)(torch.tensor(tokens), attention_mask=torch.tensor(mask))
    return found.last_hidden_state.numpy() * mask[:, :, None]


if __name__ == "__main__":
    h = hidden_states(tiny_weights(), TOKENS, MASK, HEADS)
    rows = ",\n".join(json.dumps(row) for row in h[MASK].round(15).tolist())
    FILE.write_text(f"[{rows}]\n", encoding="utf-8")
