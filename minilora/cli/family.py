"""The map of adapters: what each trains, reaches and keeps, found by running the classes.

    minilora family

Each class is put on a random 24 × 20 matrix at rank 4, its params are moved as if trained, and the
merged matrix is looked at. Parameters are counted on the query and value matrices of llama3-8b at
rank 8, beside the rank at which there are nearly as many as LoRA's. Times are steps of a small MLP,
as a ratio to LoRA's.
"""

import re
import time
from functools import cache, partial
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from minilora import adapters, family
from minilora.architectures import MODELS, count_trainable
from minilora.attachment import attach, kind, own_name
from minilora.cli.output import print_line, table
from minilora.models.mlp import init_mlp, mlp
from minilora.ops import cross_entropy
from minilora.testing import ContractError, check_adapter
from minilora.testing.referee import is_right
from minilora.train import value_and_grad

_SHAPE, _RANK = (24, 20), 4
_MODEL, _PARTS, _COUNTED_RANK = "llama3-8b", "qv", 8
CLASSES = {
    "LoRA": adapters.LoRA,
    "LoRA-FA": family.LoRAFA,
    "SBoRA-FA": adapters.SBoRAFA,
    "SBoRA-FB": adapters.SBoRAFB,
    "LoRA-XS": family.LoRAXS,
    "PiSSA": family.PiSSA,
    "VeRA": family.VeRA,
    "CondLoRA": adapters.CondLoRA,
    "RandLoRA": family.RandLoRA,
    "LoHa": family.LoHa,
    "LoKr": family.LoKr,
    "SHiRA": family.SHiRA,
    "DoRA": family.DoRA,
    "IA3": family.IA3,
    "SVF": family.SVF,
    "OFT": family.OFT,
    "BOFT": family.BOFT,
    "HRA": adapters.HRA,
    "HRA strict": adapters.HRAStrict,
    "full": adapters.Full,
}
_SHARING = {adapters.CondLoRA: kind}  # whose paper shares what is trained, by which key
# What is no class of init, forward and merge on a matrix, and what it is here.
_OTHER_KINDS = (
    ("BitFit", "biases are trained", 'BitFit() on "*.b"'),
    ("rsLoRA", "LoRA with s = α/√r", "LoRA(rank, alpha, scaling=alpha_over_sqrt_rank)"),
    ("QLoRA, QSBoRA", "an adapter over W in four bits", "quantize(W), then any adapter"),
    ("tied LoRA", "one A and B for all layers of a kind", "attach(…, key=kind)"),
    ("LoRA+", "B is trained at a higher rate than A", "another rate for a part of the params"),
    ("AdaLoRA", "directions of B A are pruned while training", "a schedule of ranks"),
    ("bottleneck adapters", "two small layers after each block", "more layers: another model"),
    ("prompt tuning", "trained vectors before the input", "more input: another model"),
    ("prefix tuning", "trained keys and values in each layer", "more input: another model"),
)


class _Facts(NamedTuple):
    """One line of the map."""

    name: str
    equation: str
    trained: str
    frozen: str
    common: str
    rank: str
    start: str
    keeps: str
    count: str
    equal: str
    promises: str
    time: str


def add_arguments(parser):
    """No options."""


def run(options):
    """Run the command."""
    rng = np.random.default_rng(0)
    times = _times(rng)
    rows = [_facts(rng, name, cls, times[name]) for name, cls in CLASSES.items()]
    print_line(_listed([("", "W'"), *((row.name, row.equation) for row in rows)]))
    size = "×".join(map(str, _SHAPE))
    head = ("", "trained", "frozen", "layers share", f"rank of ΔW, {size}, r={_RANK}")
    print_line("")
    print_line(table([(*head, "start", "keeps"), *((row.name, *row[2:8]) for row in rows)]))
    head = ("", f"trainable, {_MODEL}, r={_COUNTED_RANK}", "rank with LoRA's number")
    print_line("")
    body = ((row.name, *row[8:]) for row in rows)
    print_line(table([(*head, "promises kept", "time of a step"), *body]))
    print_line("")
    print_line(_listed([("another kind", "what it does", "here"), *_OTHER_KINDS]))


def _listed(rows):
    """Rows of text with all columns on the left."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    cells = ([cell.ljust(width) for cell, width in zip(row, widths)] for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in cells)


def make(cls, rank):
    """The class at a rank, or as it is when it has none."""
    return cls(rank) if _has_rank(cls) else cls()


def _has_rank(cls):
    return "rank" in getattr(cls, "__dataclass_fields__", ())


def _facts(rng, name, cls, ratio):
    """What running a class shows."""
    W = rng.standard_normal(_SHAPE)
    adapter = make(cls, _RANK)
    start, frozen = adapter.init(rng, W)
    moved = {own: array + 0.3 * rng.standard_normal(array.shape) for own, array in start.items()}
    merged = adapter.merge(moved, frozen)
    before, after = (np.linalg.svd(M, compute_uv=False) for M in (W, merged))
    gap = np.max(np.abs(adapter.merge(start, frozen) - W))
    return _Facts(
        name,
        _equation(cls),
        ", ".join(start),
        ", ".join(own for own in frozen if own != "W") or "–",
        ", ".join(_common(cls, W)) or "–",
        str(np.linalg.matrix_rank(merged - W)),
        "W" if gap == 0 else "W, rounded" if gap < 1e-12 else "not W",
        "singular values" if np.allclose(before, after, rtol=1e-9) else "–",
        f"{_count(cls, _COUNTED_RANK):,}",
        _equal_rank(cls),
        _promises(cls),
        f"{ratio:.2f}",
    )


def _equation(cls):
    """What a class's first line says after W' =; W for full fine-tuning, which has none."""
    found = re.search(r"W' = (.*?)(: | for |\.$)", cls.__doc__.splitlines()[0])
    return found[1] if found else "trained itself"


def _common(cls, W):
    """Names of what the layers of a kind have in common: params, or what is drawn without W."""
    if cls in _SHARING:
        return list(make(cls, _RANK).init(np.random.default_rng(0), W)[0])
    drawn = [make(cls, _RANK).init(np.random.default_rng(0), M)[1] for M in (W, 2 * W + 1)]
    return [own for own in drawn[0] if np.array_equal(drawn[0][own], drawn[1][own])]


@cache
def _count(cls, rank):
    """Trainable parameters on the model. An SVD would take minutes there, and changes no shape."""
    with patch("autograd.numpy.linalg.svd", _shapes_of_svd):
        shapes = MODELS[_MODEL].shapes(_PARTS)
        return count_trainable(make(cls, rank), shapes, _SHARING.get(cls, own_name))


def _shapes_of_svd(W, full_matrices):
    """Arrays of the shapes of a thin SVD."""
    least = min(W.shape)
    parts = (W.shape[0], least), (least,), (least, W.shape[1])
    return [np.ones(shape, W.dtype) for shape in parts]


def _equal_rank(cls):
    """The even rank with the most parameters that are no more than LoRA's; – without a rank.

    Doubles the rank from 2 on until the number passes LoRA's, then halves the step. It ends at the
    width of the narrowest matrix.
    """
    if not _has_rank(cls):
        return "–"
    limit = _count(adapters.LoRA, _COUNTED_RANK)
    most = min(min(shape) for shape in MODELS[_MODEL].shapes(_PARTS).values())
    small = _count(cls, 2) <= limit
    rank = 2
    while rank < most and (_count(cls, 2 * rank) <= limit) == small:
        rank *= 2
    if rank == most:
        return f"{most}, the width" if small else "none"
    step = rank // 2
    while step > 1:
        if (_count(cls, rank + step) <= limit) == small:
            rank += step
        step //= 2
    return str(rank if small else rank + 2)


def _promises(cls):
    """How many promises of the contract hold, of all that are made."""
    try:
        lines = check_adapter(cls).lines
    except ContractError as error:
        lines = error.report.lines
    held = sum(is_right(line) and line.verdict == "holds" for line in lines)
    return f"{held} of {len(lines)}"


def _times(rng, rounds=15):
    """{name: median time of a step over LoRA's}, interleaved, on an MLP of four layers of 64."""
    weights = init_mlp(rng, widths=(64,) * 5)
    x = rng.standard_normal((32, 64)).astype(np.float32)
    labels = rng.integers(64, size=32)

    def loss(attached, params):
        return cross_entropy(mlp(attached.bind(params), x), labels)

    steps = {}
    for name, cls in CLASSES.items():
        attached = attach(weights, {"*.W": make(cls, _RANK)}, rng=rng)
        steps[name] = partial(value_and_grad, partial(loss, attached), attached.params)
    spent = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            begin = time.process_time()  # the clock would count other programs too
            step()
            spent[name].append(time.process_time() - begin)
    medians = {name: np.median(own) for name, own in spent.items()}
    return {name: own / medians["LoRA"] for name, own in medians.items()}
