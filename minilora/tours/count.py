"""`python -m minilora count`: what every adapter trains in a real model, and the memory that it takes."""

import math
from functools import partial

import numpy as np

from minilora.adapters import HRA, CondLoRA, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.attach import kind, own_name
from minilora.quantize import quantize
from minilora.shapes import MODELS, trained
from minilora.tables import aligned

ADAPTERS = {"lora": LoRA, "sbora-fa": SBoRAFA, "sbora-fb": SBoRAFB, "hra": partial(HRA, odd=True)}
ADAPTERS |= {"hra-strict": HRAStrict, "condlora": CondLoRA}


def run(model, adapter=None, rank=8, targets=None, say=print):
    """Print what an adapter of ADAPTERS (or each of them) trains on a model of MODELS, and how many bytes that takes.

    targets: linear maps of the model, all by default. Returns {adapter: trained numbers}.
    Raises ValueError for a model, adapter, rank or target that there is not.
    """
    for word, given, known in (("model", model, MODELS), ("adapter", adapter, (None, *ADAPTERS))):
        if given not in known:
            raise ValueError(f"{word} must be one of {', '.join(filter(None, known))}, got {given!r}")
    chosen = MODELS[model]
    shapes = chosen.shapes(targets)
    counts = {"full fine-tuning": chosen.total}
    for name in ADAPTERS if adapter is None else [adapter]:
        counts[name] = trained(ADAPTERS[name](rank), shapes, kind if name == "condlora" else own_name)
    rows = [(f"{model}, rank {rank}", "trained", "share", "adapter", "Adam")]
    for name, count in counts.items():
        rows.append((name, f"{count:,}", f"{count / chosen.total:.3%}", megabytes(4 * count), megabytes(8 * count)))
    say(f"{aligned(rows)}\nAdapter, and Adam's two moments, in float32. Adapted: {len(shapes)} matrices.")
    linear, sample = sum(map(math.prod, chosen.shapes().values())), np.zeros((512, 512), np.float32)
    nf4 = {"NF4": quantize(sample).bits, "NF4 with double quantisation": quantize(sample, double=True).bits}
    for words, bits in {"float16": 16, **nf4}.items():
        base = 2 * (chosen.total - linear) + linear * bits / 8
        say(f"The frozen model, its linear maps in {words}, the rest in float16: {megabytes(base)}")
    return counts


def megabytes(count):
    """A number of bytes in units of 10⁶."""
    return f"{count / 1e6:,.1f} MB"
