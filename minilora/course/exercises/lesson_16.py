"""Lesson 16: adapters that the referee reads: one that merges, one that holds lengths, VeRA."""

from functools import partial

import numpy as np
from autograd import grad

from minilora import LoRA
from minilora.course.case import RefusedError
from minilora.course.exercise import exercise
from minilora.testing import ContractError, check_adapter
from minilora.testing.referee import is_right

# The matrix on which an answer is tried beside those that the referee chooses.
_W = np.arange(12.0).reshape(3, 4) % 5 - 2
_SHAPES = {"A": (2, 4), "B": (3, 2), "m": (3,), "b": (3,), "d": (2,)}  # at rank 2


def _broken(adapter, formula):
    """The lines of the promises that an adapter breaks, whatever it says of itself."""
    try:
        check_adapter(adapter, formula=formula, expected_failures={})
    except ContractError as error:
        return [line for line in error.report.lines if not is_right(line)]
    return []


def _judge(case, expected, formula):
    """Refuse the answer unless exactly the expected promises are broken."""
    name = case.answer.__name__
    broken = _broken(case.answer, formula)
    for line in broken:
        if line.number not in expected:
            raise RefusedError(f"{name} breaks {line.number}, {line.statement}: {line.reason}")
    kept = sorted(set(expected) - {line.number for line in broken})
    case.true(not kept, f"{name} keeps {', '.join(kept)}, which this class cannot keep")


def _start(rng, case, trained, kept=""):
    """(adapter, params, frozen) of the answer at rank 2, with arrays of these names in the two."""
    name = case.answer.__name__
    case.true(isinstance(case.answer, type), f"{name} must be a class")
    adapter = case.use(partial(case.answer, rank=2), plain=False)
    case.true(hasattr(adapter, "init"), f"{name} needs a method init(rng, W)")
    both = case.parts(case.use(adapter.init, rng, _W, plain=False), 2)
    for title, found, wanted in zip(("params", "frozen"), both, (trained, kept)):
        case.true(type(found) is dict, f"{title} must be a dict", got=found)
        for letter in wanted:
            sentence = f"{title} at rank 2, with W (3, 4), must have {letter} {_SHAPES[letter]}"
            has = {key: np.shape(value) for key, value in found.items()}
            case.true(has.get(letter) == _SHAPES[letter], sentence, got=has)
    return adapter, *both


def _lora_formula(adapter, W, params, frozen):
    merged = W.copy()
    for i, j in np.ndindex(W.shape):
        update = sum(params["B"][i, k] * params["A"][k, j] for k in range(adapter.rank))
        merged[i, j] = W[i, j] + adapter.scale * update
    return merged


@exercise(
    "16.1",
    "class Lazy",
    hint="class Lazy(LoRA), with a forward of one line.",
    cases=1,
)
def lazy(case):
    """Lazy is LoRA whose forward is linear(self.merge(params, frozen), x)."""
    case.true(case.answer is not LoRA, "Lazy must be a class of its own")
    _start(np.random.default_rng(0), case, "AB")
    _judge(case, ("P11", "P12"), _lora_formula)


def _dora_formula(adapter, W, params, frozen):
    merged = np.empty_like(W)
    for i in range(len(W)):
        row = W[i].copy()
        for k in range(adapter.rank):
            row = row + params["B"][i, k] * params["A"][k]
        merged[i] = params["m"][i] * row / np.sqrt(sum(entry**2 for entry in row))
    return merged


@exercise(
    "16.2",
    "class Held",
    hint="getval around every traced array from which the lengths are computed.",
    cases=1,
)
def held(case):
    """Held is DoRA, with A, B and m in params, whose lengths ‖V‖ count as constants in the
    gradient; P3 fails for it, and nothing else."""
    rng = np.random.default_rng(0)
    adapter, params, frozen = _start(rng, case, "ABm")
    _judge(case, ("P3",), _dora_formula)
    params = {name: params[name] + rng.standard_normal(np.shape(params[name])) for name in "ABm"}
    x, g = rng.standard_normal((2, 4)), rng.standard_normal((2, 3))

    def forward(params):
        return grad(lambda params: (adapter.forward(params, frozen, x) * g).sum())(params)

    found = case.use(forward, params)
    for name in "ABm":
        expected = _held_gradient(params, x, g, name)
        case.same(f"the gradient for {name} with the lengths held", found[name], expected)


def _held_gradient(params, x, g, name):
    """The derivatives of Σ g W'x by one array, in which it is linear if the lengths are fixed."""
    lengths = [np.linalg.norm(row) for row in _W + params["B"] @ params["A"]]

    def total(A, B, m):
        return np.sum(g * (m / lengths * (x @ (_W + B @ A).T)))

    derivatives = np.empty(params[name].shape)
    for index in np.ndindex(derivatives.shape):
        ends = []
        for step in (0, 1):
            moved = params[name].copy()
            moved[index] += step
            ends.append(total(**params | {name: moved}))
        derivatives[index] = ends[1] - ends[0]
    return derivatives


def _vera_formula(adapter, W, params, frozen):
    merged = W.copy()
    for i, j in np.ndindex(W.shape):
        for k in range(adapter.rank):
            share = params["d"][k] * frozen["A"][k, j]
            merged[i, j] += params["b"][i] * frozen["B"][i, k] * share
    return merged


@exercise(
    "16.3",
    "class VeRA",
    hint="diag(b) times a vector is b times it, entry by entry.",
    cases=1,
)
def vera(case):
    """VeRA is W' = W + diag(b) B diag(d) A, with b and d in params, random A and B in frozen, b = 0
    and d = 0.1 at the start; every promise holds."""
    starts = [_start(np.random.default_rng(seed), case, "bd", "AB") for seed in (0, 1)]
    _judge(case, (), _vera_formula)
    (_, params, frozen), (_, _, other) = starts
    case.true(set(params) == {"b", "d"}, "params must have b and d alone", got=sorted(params))
    case.same("d at the start", np.array(params["d"]), np.full(2, 0.1))
    case.same("b at the start", np.array(params["b"]), np.zeros(3))
    for name in "AB":
        again = np.array_equal(frozen[name], other[name])
        case.true(not again, f"{name} must be drawn with rng, and is the same for two generators")
