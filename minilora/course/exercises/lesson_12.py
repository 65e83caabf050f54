"""Lesson 12: two failures told apart, columns by the gradient, a start that looks at the task."""

import math

import numpy as np

from minilora.course.exercise import exercise


@exercise(
    "12.1",
    "two_failures(W, T, trained, r)",
    hint="what the best LoRA leaves is the tail of the singular values of T − W.",
)
def two_failures(case):
    """Returns (representation, optimisation): the distance ‖W' − T‖ / ‖T − W‖ of the best LoRA of
    rank r, and what the trained matrix is beyond it."""
    d_out, d_in = case.integer("d_out", 1, 4), case.integer("d_in", 1, 4)
    r = case.integer("r", 1, min(d_out, d_in))
    W, T = case.normal("W", d_out, d_in), case.normal("T", d_out, d_in)
    if not np.any(W != T):
        return
    rng = case.rng("trained")
    B, A = rng.standard_normal((d_out, r)), rng.standard_normal((r, d_in))
    trained = case.show("trained", W + B @ A)
    found = case.parts(case.call(W, T, trained, r), 2)
    change = T - W
    squares = np.clip(np.linalg.eigvalsh(change.T @ change), 0, None)  # ascending
    size = math.sqrt(float(np.sum(change**2)))
    possible = math.sqrt(float(np.sum(squares[: max(d_in - r, 0)]))) / size
    reached = math.sqrt(float(np.sum((trained - T) ** 2))) / size
    case.same("the failure of representation", found[0], possible, within=1e-6)
    case.same("the failure of optimisation", found[1], reached - possible, within=1e-6)


@exercise(
    "12.2",
    "columns_by_gradient(W, x, y, r)",
    hint="the gradient is 2/n (x Wᵀ − y)ᵀ x, of the shape of W.",
)
def columns_by_gradient(case):
    """Returns a tuple of the r columns, integers in rising order, in which the gradient of
    ‖x Wᵀ − y‖² / n with respect to W is longest."""
    n, d_out, d_in = (case.integer(name, 1, 5) for name in ("n", "d_out", "d_in"))
    r = case.integer("r", 1, d_in)
    W, x, y = case.normal("W", d_out, d_in), case.normal("x", n, d_in), case.normal("y", n, d_out)
    found = case.call(W, x, y, r)
    case.true(type(found) is tuple, "it must return a tuple of integers", got=found)

    def loss(W):
        return float(np.sum((x @ W.T - y) ** 2)) / n

    squares = np.zeros(d_in)
    for i, j in np.ndindex(d_out, d_in):  # a quadratic's central difference is its derivative
        move = np.zeros((d_out, d_in))
        move[i, j] = 0.5
        squares[j] += (loss(W + move) - loss(W - move)) ** 2
    right = len(set(found)) == r and all(type(j) is int and 0 <= j < d_in for j in found)
    case.true(right, f"it must return {r} different columns", got=found)
    case.true(list(found) == sorted(found), "the columns must be in rising order", got=found)
    longest = sorted(np.argsort(-squares)[:r].tolist())
    missed = np.sum(squares[longest]) - np.sum(squares[list(found)])
    near = missed <= 1e-9 * max(1.0, np.sum(squares))  # equal lengths may be told apart by rounding
    case.true(near, "the gradient is longer in other columns", tuple(longest), found)


@exercise(
    "12.3",
    "informed(G, E, r)",
    hint="the rows of A are orthonormal, so the least-squares problem for B is a product.",
)
def informed(case):
    """Returns (A, B): A the r largest right singular vectors of G in its rows, and the B for which
    ‖B A − E‖ is smallest."""
    d_out, d_in = case.integer("d_out", 1, 4), case.integer("d_in", 1, 4)
    r = case.integer("r", 1, min(d_out, d_in))
    G, E = case.normal("G", d_out, d_in), case.normal("E", d_out, d_in)
    A, B = case.parts(case.call(G, E, r), 2)
    case.array("A", A, r, d_in)
    case.array("B", B, d_out, r)
    case.same("A Aᵀ", A @ A.T, np.eye(r))
    squares = np.clip(np.linalg.eigvalsh(G.T @ G), 0, None)  # ascending
    held = float(np.sum((G @ A.T) ** 2))
    case.same("how much of ‖G‖² lies in the rows of A", held, float(np.sum(squares[d_in - r :])))
    at_best = "(B A − E) Aᵀ, which is 0 for the best B,"
    case.same(at_best, (B @ A - E) @ A.T, np.zeros((d_out, r)))
