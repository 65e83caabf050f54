"""The contract: what every adapter promises. Each promise is a few lines below its statement.

    P1   an untrained adapter changes nothing
         Broken by a start that is not zero, or a length that forward and merge compute differently.
    P2   forward computes what the merged matrix computes
         Broken by a wrong formula in either, or by one that needs x to have two axes.
    P3   gradients for params and for x agree with finite differences
         Broken by getval, by np.linalg.norm with keepdims, by arithmetic hidden from autograd.
    P4   every trainable array gets a gradient
         Broken by an array that forward does not use.
    P5   training changes params, and neither W, frozen nor the given params
         Broken by frozen["..."] += ...
    P6   there are as many trainable parameters as the closed form says
    P7   the update has the rank that was asked for
         Both are asked of this package's own adapters alone, in tests/test_contract.py.
    P8   float32 in, float32 out: start, forward, merge, loss and gradient
         Broken by np.sqrt(64), np.eye(n), np.mean and other NumPy scalars, which are float64.
    P9   the start depends on W and the generator alone
         Broken by np.random, by a counter in the class.
    P10  merge returns a new array and changes nothing that it was given
         Broken by W += ... in merge, by returning an array of params or frozen.
    P11  forward builds no matrix of the size of W
         Broken by merging inside forward.
    P12  W may be any weight: four-bit, adapted, or both
         Broken by frozen["W"].T or frozen["W"] @ x in forward, where linear(frozen["W"], x) works.
    P13  a mistake is a ValueError that names the argument
         Broken by leaving out check_matrix, check_rank or check_width.
    P14  init and forward change nothing that they were given
         Broken by W *= ... in init, by x -= ... or frozen["..."][:] = ... in forward.
    P15  attached to a model it prints and merges, and its gradients are autograd's own
         Broken by params that are not a flat dict of float arrays.
    P16  merge computes the formula that was given
         Asked only with --formula or formula=.

An adapter without a rank is asked nothing about ranks. A W with one column is left out, because
there a reflection only changes a sign. A warning breaks a promise, unless it is about deprecation.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import autograd
import autograd.numpy as np

from minilora.attachment import attach
from minilora.quantization import quantize
from minilora.testing.claims import exactly, within
from minilora.testing.mistakes import mistakes
from minilora.testing.rows import BOTH, ONE, cases_if_formula, every_case
from minilora.testing.trials import bits, lora_on, moved, start, weight
from minilora.train import fit, value_and_grad
from minilora.weight import linear

_LEADING_AXES = ((), (1,), (4,), (2, 3), (2, 1, 3), (0,))
_TOLERANCE = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-5}


class Promise(NamedTuple):
    """One line of the table."""

    number: str
    statement: str
    cases: Callable  # row -> the cases at which it is checked; none: it is not asked of this row
    check: Callable  # (row, case) -> None, or it raises


PROMISES = []


def _promise(number, statement, cases=every_case, **options):
    """Put the check below it into PROMISES."""

    def keep(check):
        PROMISES.append(Promise(number, statement, partial(cases, **options), check))
        return check

    return keep


def _check_unchanged(trial, before):
    for name, bits_now in trial.snapshot().items():
        exactly(bits_now == before[name], f"{name} was changed")


@_promise("P1", "an untrained adapter changes nothing", dtypes=BOTH)
def _untrained_changes_nothing(row, case):
    """Bitwise where the update starts at zero; up to rounding where reflections cancel in pairs."""
    trial = row.trial(case)
    tolerance = row.start * np.finfo(case.dtype).eps
    y = trial.adapter.forward(trial.start, trial.frozen, trial.x)
    within(np.abs(y - linear(trial.W, trial.x)), tolerance * np.max(np.abs(trial.x)), "forward:")
    within(np.abs(trial.adapter.merge(trial.start, trial.frozen) - trial.W), tolerance, "merge:")


@_promise("P2", "forward computes what the merged matrix computes", dtypes=BOTH)
def _forward_equals_merge(row, case):
    trial = row.trial(case)
    outputs = []
    for axes in _LEADING_AXES:
        x = trial.rng.standard_normal((*axes, case.shape[1])).astype(case.dtype)
        outputs.append((x, trial.adapter.forward(trial.params, trial.frozen, x)))
    merged = trial.adapter.merge(trial.params, trial.frozen)
    exactly(np.shape(merged) == case.shape, f"merge returns shape {np.shape(merged)}")
    for x, y in outputs:
        expected = x.astype(np.float64) @ merged.T.astype(np.float64)
        exactly(np.shape(y) == expected.shape, f"forward maps {x.shape} to {np.shape(y)}")
        scale = np.linalg.norm(merged) * np.max(np.abs(x), initial=0)
        error = np.max(np.abs(y - expected), initial=0)
        says = f"forward and merge differ for x {x.shape}:"
        within(error, _TOLERANCE[case.dtype] * scale, says)


@_promise("P3", "gradients for params and for x agree with finite differences")
def _gradients_are_finite_differences(row, case):
    """The gradient for x has to reach the earlier layers."""
    trial = row.trial(case)
    arrays = {**trial.params, "the input": trial.x}

    def loss(arrays):
        return trial.loss({name: arrays[name] for name in trial.params}, arrays["the input"])

    _, grads = value_and_grad(loss, arrays)
    for name, array in arrays.items():
        shape = np.shape(grads[name])
        exactly(shape == array.shape, f"the gradient of {name} has shape {shape}")
        step = 1e-6 * trial.rng.standard_normal(array.shape)
        rise = loss({**arrays, name: array + step / 2}) - loss({**arrays, name: array - step / 2})
        numeric = rise / 1e-6
        exact = np.sum(grads[name] * step) / 1e-6
        tolerance = 1e-6 * max(1, abs(numeric + exact))
        within(abs(numeric - exact), tolerance, f"the gradient of {name}:")


@_promise("P4", "every trainable array gets a gradient")
def _every_array_gets_a_gradient(row, case):
    trial = row.trial(case)
    _, grads = value_and_grad(trial.loss, trial.params, trial.x)
    exactly(grads.keys() == trial.params.keys() and len(grads) > 0, f"gradients: {list(grads)}")
    for name, grad in grads.items():
        exactly(grad.shape == trial.params[name].shape, f"the gradient of {name} is {grad.shape}")
        exactly(np.max(np.abs(grad)) > 1e-6, f"the gradient of {name} is zero")


@_promise("P5", "training changes params, and neither W, frozen nor the given params", shapes=ONE)
def _training_changes_only_params(row, case):
    trial = row.trial(case)
    before = trial.snapshot()

    def loss(params, x, target):
        return np.sum((trial.adapter.forward(params, trial.frozen, x) - target) ** 2)

    data = [trial.rng.standard_normal((20, width)) for width in reversed(case.shape)]
    trained = fit(loss, trial.start, tuple(data), rng=trial.rng, steps=5, batch=10, lr=0.1)
    trial.adapter.merge(trained, trial.frozen)
    _check_unchanged(trial, before)
    for name in trial.start:
        exactly(np.any(trained[name] != trial.start[name]), f"{name} was not trained")


_FLOATS = "float32 in, float32 out: start, forward, merge, loss and gradient"


@_promise("P8", _FLOATS, shapes=ONE, dtypes=BOTH)
def _dtype_is_kept(row, case):
    trial = row.trial(case)
    value, grads = value_and_grad(trial.loss, trial.params, trial.x)
    exactly(grads.keys() == trial.params.keys(), f"gradients for {list(grads)}")
    found = {
        "forward": trial.adapter.forward(trial.params, trial.frozen, trial.x),
        "merge": trial.adapter.merge(trial.params, trial.frozen),
        "the loss": value,
        **{f"{name} at the start": array for name, array in trial.start.items()},
        **{f"the gradient of {name}": grad for name, grad in grads.items()},
    }
    for name, array in found.items():
        exactly(array.dtype == case.dtype, f"{name} is {array.dtype}")


@_promise("P9", "the start depends on W and the generator alone", shapes=ONE)
def _start_depends_on_the_generator(row, case):
    first = row.trial(case)
    second = row.trial(case)
    for name in first.start.keys() | second.start.keys():
        exactly(bits(first.start.get(name)) == bits(second.start.get(name)), f"{name} differs")
    exactly(bits(first.frozen) == bits(second.frozen), "frozen differs between two starts")


@_promise("P10", "merge returns a new array and changes nothing that it was given", shapes=ONE)
def _merge_returns_its_own_array(row, case):
    trial = row.trial(case)
    before = trial.snapshot()
    merged = trial.adapter.merge(trial.params, trial.frozen)
    _check_unchanged(trial, before)
    at_start = trial.adapter.merge(trial.start, trial.frozen)
    for name, array in {"W": trial.W, **trial.params, **trial.start, **trial.frozen}.items():
        if isinstance(array, np.ndarray):
            shares = any(np.shares_memory(made, array) for made in (merged, at_start))
            exactly(not shares, f"it shares memory with {name}")
    for name, array in trial.start.items():
        exactly(not np.shares_memory(trial.W, array), f"{name} shares memory with W")


@_promise("P11", "forward builds no matrix of the size of W", shapes=[((9, 11), 2), ((8, 8), 2)])
def _forward_builds_no_large_matrix(row, case):
    trial = row.trial(case)
    seen = trial.shapes_on_the_tape()
    exactly((4, case.shape[0]) in seen, f"forward computes arrays of shapes {seen}")
    large = {case.shape, case.shape[::-1]} & seen
    exactly(not large, f"forward computes an array of shape {large}")


@_promise("P12", "W may be any weight: four-bit, adapted, or both", shapes=ONE)
def _base_may_be_any_weight(row, case):
    """A weight in place of its matrix changes nothing; by P2, forward over it is merge over it."""
    rng = np.random.default_rng(0)
    adapter = row.make(case.rank)
    four_bits = quantize(weight(rng, case.shape), block=16)
    calls = []
    bases = {
        "a four-bit W": four_bits,
        "an adapted W": lora_on(rng, weight(rng, case.shape), calls),
        "an adapted four-bit W": lora_on(rng, four_bits, calls),
    }
    x = rng.standard_normal((4, case.shape[1]))
    for name, W in bases.items():
        params, over_weight = start(np.random.default_rng(5), adapter, W)
        _, over_matrix = start(np.random.default_rng(5), adapter, np.asarray(W))
        params = moved(rng, params)
        for says, method, inputs in (
            ("forward", adapter.forward, [x]),
            ("merge", adapter.merge, []),
        ):
            one = method(params, over_weight, *inputs)
            other = method(params, over_matrix, *inputs)
            within(np.abs(one - other), 1e-13, f"{says} over {name}, and over its matrix:")
    exactly(len(calls) > 0, "forward never calls W, so it needs W dense")


@_promise("P13", "a mistake is a ValueError that names the argument", mistakes)
def _mistake_is_a_value_error(row, mistake):
    try:
        mistake.call()
    except ValueError as error:
        starts = str(error).startswith(f"{mistake.argument} ")
        exactly(starts, f'the message must start with "{mistake.argument} ", but is "{error}"')
    else:
        checks = 'check_matrix("W", W), check_rank(rank) and linear(W, x) of minilora do it'
        exactly(False, f"no ValueError was raised: {checks}")


@_promise("P14", "init and forward change nothing that they were given", shapes=ONE, dtypes=BOTH)
def _arguments_are_unchanged(row, case):
    trial = row.trial(case)
    before = trial.snapshot() | {"W": bits(trial.W_given)}
    _check_unchanged(trial, before)
    trial.adapter.forward(trial.params, trial.frozen, trial.x)
    _check_unchanged(trial, before)


_ATTACHED = "attached to a model it prints and merges, and its gradients are autograd's own"


@_promise("P15", _ATTACHED, shapes=ONE)
def _attached_gradients_are_autograds(row, case):
    trial = row.trial(case)
    weights = {"layers.0.W": trial.W, "layers.1.W": weight(trial.rng, case.shape)}
    attached = attach(weights, {"layers.*.W": trial.adapter}, rng=trial.rng)
    exactly(type(trial.adapter).__name__ in str(attached), "its name is not in print(attached)")
    params = {name: moved(trial.rng, own) for name, own in attached.params.items()}

    def loss(params):
        bound = attached.bind(params)
        return sum(np.sum(np.tanh(linear(W, trial.x))) for W in bound.values())

    _, ours = value_and_grad(loss, params)
    theirs = autograd.grad(loss)(params)
    attached.merge(params)
    for name, own in ours.items():
        for letter, grad in own.items():
            tolerance = 1e-12 * max(1, np.max(np.abs(grad)))
            within(np.abs(grad - theirs[name][letter]), tolerance, f"the gradient of {letter}:")


@_promise("P16", "merge computes the formula that was given", cases=cases_if_formula)
def _merge_is_the_formula(row, case):
    trial = row.trial(case)
    merged = trial.adapter.merge(trial.params, trial.frozen)
    expected = row.formula(trial.adapter, trial.W_given, trial.params, trial.frozen)
    exactly(np.shape(expected) == case.shape, f"the formula returns shape {np.shape(expected)}")
    within(np.abs(merged - expected), _TOLERANCE[case.dtype] * np.linalg.norm(merged))
