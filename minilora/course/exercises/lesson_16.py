"""Lesson 16: adapters that the referee reads: one that merges, one that holds lengths, VeRA."""

import numpy as np

from minilora import LoRA
from minilora.course.case import RefusedError
from minilora.course.exercise import exercise
from minilora.testing import ContractError, check_adapter
from minilora.testing.referee import is_right


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
    case.true(isinstance(case.answer, type), f"{name} must be a class")
    broken = _broken(case.answer, formula)
    for line in broken:
        if line.number not in expected:
            raise RefusedError(f"{name} breaks {line.number}, {line.statement}: {line.reason}")
    kept = sorted(set(expected) - {line.number for line in broken})
    case.true(not kept, f"{name} keeps {', '.join(kept)}, which this class cannot keep")


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
    _judge(case, ("P3",), _dora_formula)


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
    """VeRA is W' = W + diag(b) B diag(d) A, with b and d in params, A and B in frozen, b = 0 and
    d = 0.1 at the start; every promise holds."""
    _judge(case, (), _vera_formula)
    params, _ = case.use(case.answer(2).init, np.random.default_rng(0), np.eye(3), plain=False)
    case.true(set(params) == {"b", "d"}, "params must have b and d alone", got=sorted(params))
    case.same("d at the start", np.array(params["d"]), np.full(2, 0.1))
    case.same("b at the start", np.array(params["b"]), np.zeros(3))
