"""A way to adapt a network, as the commands on letters and on text compare them."""

import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import NamedTuple

from minilora.adapters.full import Full
from minilora.adapters.hra import orthogonality_penalty
from minilora.attachment import attach, own_name
from minilora.quantization import quantize
from minilora.train import fit


class Length(NamedTuple):
    """How many steps a command trains; the numbers of images are for letters, each per letter."""

    pretrain_steps: int
    adapt_steps: int
    images: int = 0  # to pretrain on
    adapt_images: int = 40
    test_images: int = 100


class Method(NamedTuple):
    """Adapters for patterns of names, and the peak learning rate that suits them."""

    family: str  # what tables and figures call it
    size: str  # what follows the family there: "r=4"
    adapters: dict  # as for `attach`
    lr: float
    key: Callable = own_name  # as for `attach`
    strength: float = 0.0  # λ: how much HRA's regulariser counts in the loss
    four_bits: bool = False  # whether the adapted weights are first quantised to NF4

    @property
    def name(self):
        """What tables call it: family and size."""
        return f"{self.family} {self.size}".strip()


def adapt(method, weights, model_loss, data, *, rng, steps, batch, task):
    """Train one method on data; returns the `Attached`, the trained params and the seconds it took.

    model_loss: (weights, *rows) -> loss. task: what the progress line calls the data.
    """
    if method.four_bits:
        weights = _quantize_adapted(weights, method.adapters)
    attached = attach(weights, method.adapters, rng=rng, key=method.key)

    def loss(params, *rows):
        value = model_loss(attached.bind(params), *rows)
        if method.strength:
            penalties = sum(orthogonality_penalty(own["U"]) for own in params.values())
            value = value + method.strength * penalties
        return value

    started = time.perf_counter()
    params = fit(
        loss,
        attached.params,
        data,
        rng=rng,
        steps=steps,
        batch=batch,
        lr=method.lr,
        label=f"{method.name} on {task}",
    )
    return attached, params, time.perf_counter() - started


def _quantize_adapted(weights, adapters):
    """Weights with those in four bits that get an adapter other than Full."""
    quantized = dict(weights)
    for pattern, adapter in adapters.items():
        for name in weights:
            if fnmatchcase(name, pattern) and not isinstance(adapter, Full):
                quantized[name] = quantize(weights[name])
    return quantized
