"""Lesson 19: gains on the inputs, LoHa as a LoRA, the nearest Kronecker product."""

import numpy as np

from minilora.course.exercise import exercise


@exercise(
    "19.1",
    "nearest_input_gains(W, T)",
    hint="the columns do not interact; for each, the squared error is a parabola in one number.",
)
def nearest_input_gains(case):
    """Returns the l (d_in,) that makes ‖W diag(l) − T‖_F smallest, with l_j = 1 where column j of W
    is zero."""
    d_out, d_in = case.integer("d_out", 1, 4), case.integer("d_in", 1, 4)
    W, T = case.matrix("W", d_out, d_in), case.matrix("T", d_out, d_in)
    found = case.array("l", case.call(W, T), d_in)
    # Column j's squared error is a parabola in l_j. Its values at three points give its vertex.
    below, middle, above = (np.sum((x * W - T) ** 2, axis=0) for x in (-1, 0, 1))
    bend = below - 2 * middle + above
    flat = bend == 0
    case.true(np.all(found[flat] == 1), "l_j must be 1 where column j of W is zero", got=found)
    expected = np.where(flat, 1, (below - above) / (2 * np.where(flat, 1, bend)))
    case.same("l", found, expected)


@exercise(
    "19.2",
    "loha_as_lora(A1, B1, A2, B2)",
    hint="an entry is a double sum: which row, which column belongs to one pair of terms?",
)
def loha_as_lora(case):
    """Returns (A, B), of shapes (r1 r2, d_in) and (d_out, r1 r2), with B A = (B1 A1) ⊙ (B2 A2),
    the product entry by entry."""
    d_out, d_in = case.integer("d_out", 1, 3), case.integer("d_in", 1, 3)
    r1, r2 = case.integer("r1", 1, 3), case.integer("r2", 1, 3)
    A1, B1 = case.matrix("A1", r1, d_in), case.matrix("B1", d_out, r1)
    A2, B2 = case.matrix("A2", r2, d_in), case.matrix("B2", d_out, r2)
    A, B = case.parts(case.call(A1, B1, A2, B2), 2)
    case.array("A", A, r1 * r2, d_in)
    case.array("B", B, d_out, r1 * r2)
    expected = np.empty((d_out, d_in))
    for i, j in np.ndindex(d_out, d_in):
        first = sum(B1[i, k] * A1[k, j] for k in range(r1))
        expected[i, j] = first * sum(B2[i, k] * A2[k, j] for k in range(r2))
    case.same("B A", B @ A, expected, within=1e-7)


def _divisors(n):
    return [k for k in range(1, n + 1) if n % k == 0]


def _kronecker(C, D):
    (o, i), (p, q) = C.shape, D.shape
    product = np.empty((o * p, i * q))
    for a, b, m, n in np.ndindex(o, i, p, q):
        product[a * p + m, b * q + n] = C[a, b] * D[m, n]
    return product


def _least(E, o, i):
    """‖E‖² − σ₁², where σ₁ belongs to the matrix with a row for each entry of C."""
    p, q = E.shape[0] // o, E.shape[1] // i
    rows = np.empty((o * i, p * q))
    for a, b, m, n in np.ndindex(o, i, p, q):
        rows[a * i + b, m * q + n] = E[a * p + m, b * q + n]
    return float(np.sum(E**2) - np.linalg.eigvalsh(rows @ rows.T)[-1])


@exercise(
    "19.3",
    "nearest_kronecker(E, o, i)",
    hint="C ⊗ D has o i blocks; as the rows of a matrix they are one matrix of rank one.",
)
def nearest_kronecker(case):
    """Returns (C, D), of shapes (o, i) and (d_out / o, d_in / i), that make ‖E − C ⊗ D‖_F
    smallest; E may be zero."""
    d_out, d_in = case.integer("d_out", 1, 4), case.integer("d_in", 1, 6)
    o = case.choice("o", _divisors(d_out))
    i = case.choice("i", _divisors(d_in))
    kind = case.choice("E is", ["any matrix", "a Kronecker product", "zero"])
    draw = case.rng("E").integers
    if kind == "any matrix":
        E = draw(-3, 4, (d_out, d_in)).astype(float)
    elif kind == "zero":
        E = np.zeros((d_out, d_in))
    else:
        C, D = draw(-3, 4, (o, i)), draw(-3, 4, (d_out // o, d_in // i))
        E = _kronecker(C, D)
    case.show("E", E)
    C, D = case.parts(case.call(E, o, i), 2)
    case.array("C", C, o, i)
    case.array("D", D, d_out // o, d_in // i)
    reached = float(np.sum((E - _kronecker(C, D)) ** 2))
    case.same("the squared error ‖E − C ⊗ D‖²", reached, _least(E, o, i), within=1e-6)
