"""Every adapter of this package keeps every promise of minilora/testing/contract.py.

A new adapter adds a row to ROWS, not a test.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest

from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.adapters.scaling import alpha_over_sqrt_rank
from minilora.quantization import quantize
from minilora.testing import contract
from minilora.testing.claims import claim, exactly, within
from minilora.testing.contract import PROMISES
from minilora.testing.referee import judge, promises_of, row_of
from minilora.testing.rows import Row, can_rotate, every_case
from minilora.testing.trials import moved, start, weight
from minilora.weight import Adapted

ODD = {"P1": "an odd product of reflections has determinant −1: it never is the identity"}


@dataclass(frozen=True)
class OwnRow:
    """A row, and the closed forms that are known of an adapter of this package.

    count: (m, n, rank) -> trainable parameters. delta_rank: (m, n, rank) -> the rank of W' − W
    after random training. m and n are d_out and d_in.
    """

    row: Row
    count: Callable
    delta_rank: Callable


def own(name, adapter, count, delta_rank, *, expected_failures=None, **known):
    """A row that asks more than that of any adapter: by default, a start that is bitwise W."""
    known = {"start": 0.0, "fits": lambda shape, rank: True, **known}
    row = row_of(adapter, expected_failures=expected_failures)
    return OwnRow(replace(row, name=name, **known), count, delta_rank)


def low_rank(m, n, rank):
    return rank * (m + n)


def its_rank(m, n, rank):
    return rank


def d_out(m, n):
    return m


def d_in(m, n):
    return n


def even_rank(m, n, rank):
    """2 · rank reflections rotate an even number of dimensions."""
    largest = min(2 * rank, n)
    return min(m, largest - largest % 2)


def odd_rank(m, n, rank):
    """2 · rank − 1 reflections change an odd number of dimensions."""
    largest = min(2 * rank - 1, n)
    return min(m, largest - 1 + largest % 2)


def odd_count(m, n, rank):
    return (2 * rank - 1) * n


def strict_count(m, n, rank):
    return rank * n


def strict_rank(m, n, rank):
    return min(m, rank)


def not_minus_identity(shape, rank):
    """Reflections in all d_in directions are −I whatever their vectors are."""
    return rank < shape[1]


def odd_hra(rank):
    return HRA(2 * rank - 1, odd=True)


def lora_with_alpha(rank):
    return LoRA(rank, alpha=2 * rank + 1)


rs_lora = partial(LoRA, alpha=3.0, scaling=alpha_over_sqrt_rank)
fa_alpha = partial(SBoRAFA, alpha=3.0)
fb_alpha = partial(SBoRAFB, alpha=3.0)
cond_alpha = partial(CondLoRA, alpha=3.0)
ROWS = (
    own("Full", Full, lambda m, n, r: m * n, lambda m, n, r: min(m, n)),
    own("LoRA", LoRA, low_rank, its_rank),
    own("LoRA alpha", lora_with_alpha, low_rank, its_rank),
    own("rsLoRA", rs_lora, low_rank, its_rank),
    own("SBoRA-FA", SBoRAFA, lambda m, n, r: r * m, its_rank, most=d_in),
    own("SBoRA-FB", SBoRAFB, lambda m, n, r: r * n, its_rank, most=d_out),
    own("SBoRA-FA alpha", fa_alpha, lambda m, n, r: r * m, its_rank, most=d_in),
    own("SBoRA-FB alpha", fb_alpha, lambda m, n, r: r * n, its_rank, most=d_out),
    own("HRA", HRA, lambda m, n, r: 2 * r * n, even_rank, start=40.0, fits=can_rotate),
    own("HRA odd", odd_hra, odd_count, odd_rank, fits=can_rotate, expected_failures=ODD),
    own("HRA strict", HRAStrict, strict_count, strict_rank, most=d_in, fits=not_minus_identity),
    own("CondLoRA", CondLoRA, low_rank, its_rank, most=min),
    own("CondLoRA alpha", cond_alpha, low_rank, its_rank, most=min),
)
EVERY_ADAPTER = "Contract of every adapter"
every_row = pytest.mark.parametrize("one", ROWS, ids=lambda one: one.row.name)


def promise_claim(number, statement):
    return claim(number, EVERY_ADAPTER, statement)


def pairs(expected):
    """Every promise with every row of which it is asked; expected: those stated as failing."""
    found = []
    for promise in PROMISES:
        for one in ROWS:
            if promise in promises_of(one.row) and expected == (promise.number in one.row.expected):
                marks = () if expected else promise_claim(promise.number, promise.statement)
                name = f"{promise.number}-{one.row.name}"
                found.append(pytest.param(promise, one.row, id=name, marks=marks))
    return found


@pytest.mark.parametrize("promise, row", pairs(expected=False))
def test_an_adapter_keeps_a_promise(promise, row):
    line, _ = judge(promise, row)
    assert line.verdict == "holds", line.reason


WHY = {
    "P1-HRA odd": "forward: error",
    "P1-HRA strict": "forward: error",
    "P11-Full": "forward computes an array of shape {(9, 11)}",
    "P12-Full": "forward never calls W",
}


@pytest.mark.parametrize("promise, row", pairs(expected=True))
def test_a_promise_that_is_stated_as_failing_fails_for_its_reason(promise, row):
    line, _ = judge(promise, row)
    assert line.verdict == f"expected ({row.expected[promise.number]})"
    assert WHY[f"{promise.number}-{row.name}"] in line.reason


@promise_claim("P6", "there are as many trainable parameters as the closed form says")
@every_row
def test_the_count_is_the_closed_form(one):
    for case in every_case(one.row):
        count = sum(array.size for array in one.row.trial(case).params.values())
        exactly(count == one.count(*case.shape, case.rank), str(case))


@promise_claim("P7", "the update has the rank that was asked for")
@every_row
def test_the_update_has_the_rank_that_was_asked_for(one):
    for case in every_case(one.row):
        trial = one.row.trial(case)
        update = trial.adapter.merge(trial.params, trial.frozen) - trial.W
        values = np.linalg.svd(update, compute_uv=False)
        rank = np.sum(values > 1e-10 * values[0])
        exactly(rank == one.delta_rank(*case.shape, case.rank), f"{case}: rank {rank}")


@claim("P12", EVERY_ADAPTER, "W may be any weight: four-bit, adapted, or both")
@every_row
def test_adapters_stack_on_each_other_and_on_four_bits(one, rng):
    x = rng.standard_normal((4, 5))
    for below in ROWS:
        W = quantize(weight(rng, (6, 5)), block=16)
        for row in (below.row, one.row):
            case = row.case((6, 5), 2)
            adapter = row.make(case.rank)
            params, frozen = start(rng, adapter, W)
            W = Adapted(adapter, moved(rng, params), frozen, W)
        merged = np.asarray(W)
        scale = np.linalg.norm(merged) * np.max(np.abs(x))
        within(np.abs(W(x) - x @ merged.T), 1e-12 * scale, f"over {below.row.name}")


def test_the_contract_explains_every_promise_in_one_line():
    explained = contract.__doc__
    for promise in PROMISES:
        assert f"\n    {promise.number:<4} {promise.statement}\n" in explained
    assert [promise.number for promise in PROMISES] == [
        f"P{n}" for n in range(1, 17) if n not in (6, 7)
    ]
    for number in ("P6 ", "P7 "):
        assert f"\n    {number}" in explained
    assert explained.isascii()  # it is printed by `python -m minilora.testing`, on any terminal
