"""Count the trainable parameters of each adapter in a real model, and their memory, without
weights.

The model is one of `MODELS`, or what a config.json describes. No matrix of its size is made: see
`minilora.architectures`.
"""

import math
import os
from functools import partial

import numpy as np

from minilora.adapters import HRA, CondLoRA, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.architectures import MODELS, count_trainable, read_architecture
from minilora.attachment import kind, own_name
from minilora.cli.arguments import UsageError, comma_separated
from minilora.cli.output import print_line, table
from minilora.quantization import quantize

ADAPTERS = {
    "lora": LoRA,
    "sbora-fa": SBoRAFA,
    "sbora-fb": SBoRAFB,
    "hra": partial(HRA, odd=True),
    "hra-strict": HRAStrict,
    "condlora": CondLoRA,
}
_NAMES = ", ".join(MODELS)
_WAYS = f"one of {_NAMES}, or the path of a config.json or of a folder that holds one"


def add_arguments(parser):
    """The model and the options of this command."""
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help=f"whose linear maps to adapt: {_WAYS}",
    )
    parser.add_argument(
        "--adapter",
        choices=tuple(ADAPTERS),
        metavar="NAME",
        help=f"count this one alone, of {', '.join(ADAPTERS)} (all)",
    )
    parser.add_argument(
        "--rank", type=int, default=8, metavar="R", help="rank of the adapters (%(default)s)"
    )
    parser.add_argument(
        "--targets",
        type=comma_separated,
        metavar="NAMES",
        help="which linear maps, such as q,v, of q,k,v,o,gate,up,down, qkv and gate_up; the last "
        "two are fused ones (all that the model has)",
    )


def run(options):
    """Run the command."""
    if options.model is None:
        raise UsageError(f"which model? O{_WAYS[1:]}. Try: minilora count llama3-8b --rank 8")
    try:
        count_model(options.model, options.adapter, options.rank, options.targets)
    except ValueError as error:
        raise UsageError(str(error)) from error


def count_model(model, adapter=None, rank=8, targets=None, show=print_line):
    """Print how many parameters an adapter of ADAPTERS (or each) trains on a model.

    model: a name of MODELS, or the path of a config.json or of its folder. targets: linear maps of
    the model, all by default. show: called with each text to print.
    Returns {adapter: trainable parameters}.

    Raises ValueError for an unknown model, adapter or target, for a config.json that cannot be
    counted, or an impossible rank.
    """
    if adapter is not None and adapter not in ADAPTERS:
        raise ValueError(f"adapter must be one of {', '.join(ADAPTERS)}, got {adapter!r}")
    architecture = _find(model)
    shapes = architecture.shapes(targets)
    counts = {"full fine-tuning": architecture.total}
    for name in ADAPTERS if adapter is None else [adapter]:
        counts[name] = _count_adapter(name, rank, shapes)
    rows = [(f"{model}, rank {rank}", "trainable", "share", "adapter", "Adam")]
    for name, count in counts.items():
        share = count / architecture.total
        rows.append(
            (name, f"{count:,}", f"{share:.3%}", _megabytes(4 * count), _megabytes(8 * count))
        )
    show(table(rows))
    show(f"Adapter, and Adam's two moments, in float32. Adapted: {len(shapes)} matrices.")
    show(f"Full fine-tuning trains all parameters of {architecture.counted}.")
    for storage, size in _base_sizes(architecture).items():
        show(
            f"The frozen model, its linear maps in {storage}, the rest in float16: "
            f"{_megabytes(size)}"
        )
    return counts


def _find(model):
    """The architecture of a name or a path. Raises ValueError when there is none."""
    if isinstance(model, str) and model in MODELS:
        return MODELS[model]
    if isinstance(model, (str, os.PathLike)) and os.path.exists(model):
        return read_architecture(model)
    raise ValueError(f"model must be {_WAYS}, got {model!r:.200}")


def _count_adapter(name, rank, shapes):
    """The trainable parameters of one adapter of ADAPTERS on weights {name: (d_out, d_in)}.

    Raises ValueError that names the adapter and the first matrix for which the rank is too large.
    """
    for weight, (d_out, d_in) in shapes.items():
        # For HRA, too: d_in reflections make every orthogonal matrix, and more fill the memory.
        if rank > d_in:
            where = f"{name} on {weight} ({d_out} × {d_in})"
            raise ValueError(f"rank must be an integer from 1 to {d_in} for {where}, got {rank}")
    key = kind if name == "condlora" else own_name
    return count_trainable(ADAPTERS[name](rank), shapes, key=key)


def _base_sizes(architecture):
    """Bytes of the frozen model by how its linear maps are stored: {"NF4": …}."""
    linear_size = sum(math.prod(shape) for shape in architecture.shapes().values())
    example = np.zeros((512, 512), np.float32)
    bits = {
        "float16": 16,
        "NF4": quantize(example).bits,
        "NF4 with double quantisation": quantize(example, double=True).bits,
    }
    rest = 2 * (architecture.total - linear_size)
    return {storage: rest + linear_size * each / 8 for storage, each in bits.items()}


def _megabytes(size):
    """A number of bytes in units of 10⁶."""
    return f"{size / 1e6:,.1f} MB"
