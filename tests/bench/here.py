"""The step of this package: `attach` gives the model its adapters, `fit` trains them."""

import numpy as np
from cells import HEADS, RANK, noisy

from minilora.adapters import HRA, CondLoRA, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.attachment import attach, kind, own_name
from minilora.models.mlp import mlp
from minilora.models.transformer import transformer
from minilora.ops import cross_entropy
from minilora.train import fit, value_and_grad

ADAPTERS = {
    "LoRA": LoRA(RANK),
    "HRA": HRA(RANK),
    "strict HRA": HRAStrict(RANK),
    "SBoRA-FA": SBoRAFA(RANK),
    "SBoRA-FB": SBoRAFB(RANK),
    "CondLoRA": CondLoRA(RANK),
}


class Trainer:
    """A model with its adapters and one batch."""

    def __init__(self, cell, method, weights, data):
        self.cell, self.data, self.rng = cell, data, np.random.default_rng(0)
        shared = kind if method == "CondLoRA" else own_name
        adapters = dict.fromkeys(cell.adapted, ADAPTERS[method])
        self.attached = attach(weights, adapters, rng=np.random.default_rng(1), key=shared)
        rng = np.random.default_rng(2)
        self.params = {
            key: {
                name: noisy(rng, array, 0.1 * array.shape[-1] ** -0.5)
                for name, array in own.items()
            }
            for key, own in self.attached.params.items()
        }

    def loss(self, params, x, labels):
        """Cross-entropy of the adapted model."""
        weights = self.attached.bind(params)
        if self.cell.model == "MLP":
            return cross_entropy(mlp(weights, x), labels)
        logits = transformer(weights, x, HEADS)
        return cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))

    def gradient(self):
        """The loss and {key: {name: gradient}} before the first step."""
        return value_and_grad(self.loss, self.params, *self.data)

    def train(self, steps):
        """So many steps: draw the rows, forward, backward, Adam."""
        batch = len(self.data[0])
        self.params = fit(
            self.loss, self.params, self.data, rng=self.rng, steps=steps, batch=batch, lr=1e-4
        )
