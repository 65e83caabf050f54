"""The assignment "LoRA, and one more": merge, gradients, a low rank, an adapter, a report."""

import numpy as np

from minilora.course.case import RefusedError
from minilora.course.exercise import OpenExercise, exercise
from minilora.testing import ContractError, check_adapter
from minilora.testing.referee import is_right

_DTYPES = [np.float64, np.float32]
_EXPECTED_FAILURES = 2  # that a class may have


def _entry(value, i, j):
    """A value with one entry enlarged by 1."""
    moved = value.copy()
    moved[i, j] += 1
    return moved


@exercise("A.1", "merged(W, A, B, alpha)", hint="the scale is α / r, and r is len(A).", points=10)
def merged(case):
    """Returns W + (α/r) B A, a new array with the dtype of W."""
    d_out, d_in = case.integer("d_out", 1, 4), case.integer("d_in", 1, 4)
    r = case.integer("r", 1, 4)
    dtype = case.choice("dtype", _DTYPES)
    W = case.matrix("W", d_out, d_in, dtype=dtype)
    A = case.matrix("A", r, d_in, dtype=dtype)
    B = case.matrix("B", d_out, r, dtype=dtype)
    alpha = case.show("alpha", float(case.integer("2 alpha", 1, 9)) / 2)
    found = case.call(W, A, B, alpha)
    expected = W.copy()
    for i in range(d_out):
        for j in range(d_in):
            total = sum(float(B[i, k]) * float(A[k, j]) for k in range(r))
            expected[i, j] = W[i, j] + alpha / r * total
    case.same("the merged weight", found, expected, within=1e-5)
    case.true(found.dtype == dtype, f"the merged weight must be {np.dtype(dtype)}", got=found)


@exercise(
    "A.2",
    "lora_gradients(x, W, A, B, s, g)",
    hint="x enters twice: through W and through A.",
    points=20,
)
def lora_gradients(case):
    """Returns (dL/dA, dL/dB, dL/dx) of y = x Wᵀ + s (x Aᵀ) Bᵀ, where g = dL/dy."""
    n, r = case.integer("n", 1, 3), case.integer("r", 1, 3)
    d_out, d_in = case.integer("d_out", 1, 4), case.integer("d_in", 1, 4)
    s = case.show("s", float(case.integer("2 s", 1, 6)) / 2)
    x, g = case.matrix("x", n, d_in), case.matrix("g", n, d_out)
    W, A, B = (
        case.matrix("W", d_out, d_in),
        case.matrix("A", r, d_in),
        case.matrix("B", d_out, r),
    )
    found = case.call(x, W, A, B, s, g)
    case.true(type(found) is tuple and len(found) == 3, "it must return three arrays")

    def loss(x, A, B):  # linear in each of the three, so a difference is the derivative
        return np.sum(g * (x @ W.T + s * x @ (B @ A).T))

    given = {"x": x, "A": A, "B": B}
    for name, got in zip(("A", "B", "x"), found):
        expected = np.zeros(given[name].shape)
        for i, j in np.ndindex(expected.shape):
            moved = given | {name: _entry(given[name], i, j)}
            expected[i, j] = loss(**moved) - loss(**given)
        case.same(f"the gradient with respect to {name}", got, expected)


@exercise(
    "A.3",
    "as_lora(W0, W1, r)",
    hint="the theorem of Eckart and Young, lesson 1.",
    points=15,
)
def as_lora(case):
    """Returns (A, B), of shapes (r, d_in) and (d_out, r), with the least ‖W0 + B A − W1‖."""
    d_out, d_in = case.integer("d_out", 1, 4), case.integer("d_in", 1, 4)
    r = case.integer("r", 1, min(d_out, d_in))
    W0, W1 = case.matrix("W0", d_out, d_in), case.matrix("W1", d_out, d_in)
    found = case.call(W0, W1, r)
    case.true(type(found) is tuple and len(found) == 2, "it must return two arrays")
    for name, array, shape in zip("AB", found, ((r, d_in), (d_out, r))):
        right = isinstance(array, np.ndarray) and array.shape == shape
        case.true(right, f"{name} must have the shape {shape}", got=array)
    A, B = found
    M = W1 - W0
    squares = np.clip(np.linalg.eigvalsh(M.T @ M), 0, None)  # ascending: σ² of the update
    least = float(np.sqrt(np.sum(squares[: d_in - r])))
    error = float(np.sqrt(np.sum((B @ A - M) ** 2)))
    case.same("the error ‖W0 + B A − W1‖", error, least, within=1e-6)


@exercise(
    "A.4",
    "class Mine",
    hint="python -m pytest --adapter answers:Mine shows all promises at once.",
    cases=1,
    points=25,
)
def mine(case):
    """Mine keeps the promises of an adapter, and its merge is its formula(W, params, frozen)."""
    adapter = case.answer
    case.true(
        callable(getattr(adapter, "formula", None)),
        "Mine needs a method formula(W, params, frozen)",
    )
    failures = getattr(adapter, "expected_failures", {})
    case.true(
        len(failures) <= _EXPECTED_FAILURES,
        f"Mine may have {_EXPECTED_FAILURES} expected failures",
        got=failures,
    )

    def formula(own, W, params, frozen):
        return own.formula(W, params, frozen)

    try:
        check_adapter(adapter, formula=formula)
    except ContractError as error:
        broken = [line for line in error.report.lines if not is_right(line)]
        numbers = ", ".join(line.number for line in broken)
        first = f"{broken[0].statement}: {broken[0].reason}"
        raise RefusedError(f"Mine breaks {numbers}. {broken[0].number}: {first}") from None


_REPORT = OpenExercise(
    "A.5",
    "a report of two pages at most, with the parts that the exercise lists",
    (
        (6, "the equation with all shapes, and a count of trainable parameters"),
        (4, "departures from the paper and expected failures, with reasons"),
        (6, "equal numbers of trainable parameters, and rates chosen on other seeds, both shown"),
        (6, "paired differences of five seeds with standard errors, for three kinds of letters"),
        (5, "verdicts that follow from the numbers by the rule, as wide as what was tested"),
        (3, "versions, seeds, and the lines that were run"),
    ),
)
