"""Lesson 15: rates as good as the best, balanced factors, what weight decay leaves."""

import math

import numpy as np

from minilora.course.exercise import exercise


@exercise(
    "15.1",
    "as_good(scores)",
    hint="subtract seed by seed; the standard error is the deviation over √n.",
)
def as_good(case):
    """Returns the rates of {rate: [score of each seed]}, rising, whose mean paired difference to
    the best rate is at most two standard errors; the best is one of them."""
    count, n = case.integer("rates", 1, 4), case.integer("seeds", 2, 5)
    rates = [0.1, 0.001, 0.01, 0.0001][:count]
    spread = case.choice("spread of the rates", [1.0, 3.0, 0.0])
    draw = case.rng("scores").standard_normal
    shared = draw(n)  # what a seed does to all rates
    scores = {rate: (shared + spread * draw() + draw(n) / 2).round(2).tolist() for rate in rates}
    case.show("scores", scores)
    means = {rate: sum(own) / n for rate, own in scores.items()}
    if len(set(means.values())) < count:
        return
    best = max(means, key=means.get)
    expected = []
    for rate in sorted(rates):
        differences = [a - b for a, b in zip(scores[best], scores[rate])]
        mean = sum(differences) / n
        error = math.sqrt(sum((d - mean) ** 2 for d in differences) / (n - 1) / n)
        if abs(mean - 2 * error) < 1e-9 and rate != best:
            return  # on the border, where rounding decides
        if rate == best or mean <= 2 * error:
            expected.append(rate)
    found = case.call(scores)
    case.true(found == expected, "the list of rates is wrong", expected=expected, got=found)


def _penalty(A, B):
    return float(np.sum(A**2) + np.sum(B**2)) / 2


def _singular_values(M):
    """By the eigenvalues of the smaller product, falling."""
    square = M @ M.T if len(M) < M.shape[1] else M.T @ M
    return np.sqrt(np.clip(np.linalg.eigvalsh(square), 0, None))[::-1]


@exercise(
    "15.2",
    "balanced(A, B)",
    hint="equation (1) says how small it can be, and its proof which factors do it.",
)
def balanced(case):
    """Returns (A', B') of the shapes of A and B with B' A' = B A and the smallest ½ (‖A'‖² +
    ‖B'‖²)."""
    d_out, d_in = case.integer("d_out", 1, 4), case.integer("d_in", 1, 4)
    r = case.integer("r", 1, min(d_out, d_in))
    A, B = case.matrix("A", r, d_in), case.matrix("B", d_out, r)
    found_A, found_B = case.parts(case.call(A, B), 2)
    case.array("A'", found_A, r, d_in)
    case.array("B'", found_B, d_out, r)
    case.same("B' A'", found_B @ found_A, B @ A, within=1e-7)
    least = float(np.sum(_singular_values(B @ A)))
    case.same("½ (‖A'‖² + ‖B'‖²)", _penalty(found_A, found_B), least, within=1e-6)


@exercise(
    "15.3",
    "shrunk(M, r, decay)",
    hint="which number x makes ½ (x − σ)² + λ x smallest, for x from 0 up?",
)
def shrunk(case):
    """Returns (A, B), of shapes (r, d_in) and (d_out, r), that minimise ½ ‖B A − M‖² + decay/2
    (‖A‖² + ‖B‖²)."""
    d_out, d_in = case.integer("d_out", 1, 4), case.integer("d_in", 1, 4)
    r = case.integer("r", 1, min(d_out, d_in))
    decay = case.show("decay", case.integer("2 decay", 0, 8) / 2)
    M = case.normal("M", d_out, d_in)
    A, B = case.parts(case.call(M, r, decay), 2)
    case.array("A", A, r, d_in)
    case.array("B", B, d_out, r)
    least = 0.0
    for i, sigma in enumerate(_singular_values(M)):
        if i < r and sigma > decay:
            least += decay**2 / 2 + decay * (sigma - decay)
        else:
            least += sigma**2 / 2
    reached = float(np.sum((B @ A - M) ** 2)) / 2 + decay * _penalty(A, B)
    case.same("the value of the objective", reached, float(least), within=1e-6)
