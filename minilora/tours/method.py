"""A way to adapt a network, as both tours compare them."""

import time
from collections import namedtuple
from fnmatch import fnmatchcase

from minilora.adapters.hra import orthogonality_penalty
from minilora.attach import attach, own_name
from minilora.quantize import quantize
from minilora.train import fit


class Length(namedtuple("Length", "pretrain_steps adapt_steps pictures", defaults=[None])):
    """How many steps a tour trains, and for the letters: on how many pictures of each it pretrains."""


class Method(namedtuple("Method", "family size adapters lr key strength four_bits", defaults=[own_name, 0.0, False])):
    """Adapters for patterns of names, and the peak learning rate that suits them.

    family, size: what the table calls it. adapters, key: as for `attach`. strength: λ, by which HRA's regulariser
    counts in the loss. four_bits: whether the adapted weights are first put into NF4.
    """

    @property
    def name(self):
        """What the table calls it."""
        return f"{self.family} {self.size}".strip()


def adapt(method, weights, model_loss, data, rng, *, steps, batch, task):
    """Train one method on data; returns what `attach` made, the trained params and the seconds that it took.

    model_loss: (weights, *rows) -> loss. task: what the progress line calls the data.
    """
    if method.four_bits:
        chosen = [name for name in weights if any(fnmatchcase(name, pattern) for pattern in method.adapters)]
        weights = weights | {name: quantize(weights[name]) for name in chosen}
    attached = attach(weights, method.adapters, rng, method.key)

    def loss(params, *rows):
        value = model_loss(attached.bind(params), *rows)
        if method.strength:
            value = value + method.strength * sum(orthogonality_penalty(own["U"]) for own in params.values())
        return value

    start = time.perf_counter()
    label = f"{method.name} on {task}"
    params = fit(loss, attached.params, data, rng, steps=steps, batch=batch, lr=method.lr, label=label)
    return attached, params, time.perf_counter() - start
