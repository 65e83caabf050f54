"""The models that the benchmarks train, the same in every process that is compared.

    MLP           d → d → d → d → d, ReLU between, biases, cross-entropy over d classes;
                  every W is adapted
    Transformer   two blocks, 4 heads, context 32, 96 characters, tied embedding;
                  q and v, or q, k, v and o, are adapted

All of float32, rank 8. Everything but the adapters is frozen.
"""

from dataclasses import dataclass

import numpy as np

RANK, LAYERS, BLOCKS, HEADS, CONTEXT, VOCABULARY = 8, 4, 2, 4, 32, 96
METHODS = ("LoRA", "HRA", "strict HRA", "SBoRA-FA", "SBoRA-FB", "CondLoRA")


@dataclass(frozen=True)
class Cell:
    """One model at one size. parts: the adapted matrices of attention, "qv" or "qkvo"."""

    model: str
    width: int
    batch: int
    parts: str = ""

    def __str__(self):
        return f"{self.model}{' ' + self.parts if self.parts else ''} d={self.width} n={self.batch}"

    @property
    def adapted(self):
        """The names of the adapted weights."""
        if self.model == "MLP":
            return [f"layers.{layer}.W" for layer in range(LAYERS)]
        return [
            f"blocks.{block}.attention.{part}.W" for block in range(BLOCKS) for part in self.parts
        ]


CELLS = [Cell("MLP", width, batch) for width in (64, 256, 1024) for batch in (32, 128)]
CELLS += [
    Cell("Transformer", d, batch, parts)
    for parts in ("qv", "qkvo")
    for d in (64, 256)
    for batch in (8, 32)
]


def weights_of(cell, rng):
    """The frozen model: {name: array}, biases and gains too some way off their start."""
    from minilora.models.mlp import init_mlp
    from minilora.models.transformer import init_transformer

    if cell.model == "MLP":
        weights = init_mlp(rng, (cell.width,) * (LAYERS + 1))
    else:
        weights = init_transformer(rng, VOCABULARY, CONTEXT, cell.width, BLOCKS)
    return {name: a if a.ndim == 2 else noisy(rng, a, 0.1) for name, a in weights.items()}


def data_of(cell, rng):
    """One batch: (inputs, labels)."""
    if cell.model == "MLP":
        x = rng.standard_normal((cell.batch, cell.width)).astype(np.float32)
        return x, rng.integers(cell.width, size=cell.batch)
    text = rng.integers(VOCABULARY, size=(cell.batch, CONTEXT + 1))
    return text[:, :-1].copy(), text[:, 1:].copy()


def noisy(rng, array, size):
    """The array with noise of this size, as training leaves it, so that no gradient vanishes."""
    return (array + size * rng.standard_normal(array.shape)).astype(array.dtype)
