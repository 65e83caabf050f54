"""A way to adapt a network, as both tours compare them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from minilora.adapters.hra import orthogonality_penalty
from minilora.attach import attach, own_name
from minilora.quantize import quantize
from minilora.train import fit


@dataclass(frozen=True)
class Method:
    """Adapters for patterns of names, and the peak learning rate that suits them.

    key: how layers share. strength: λ, by which HRA's regulariser counts in the loss. four_bits: whether the adapted
    weights are first replaced by their NF4 form.
    """

    family: str
    size: str
    adapters: dict
    lr: float
    key: Callable = own_name
    strength: float = 0.0
    four_bits: bool = False

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
