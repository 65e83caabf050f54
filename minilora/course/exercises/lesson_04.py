"""Lesson 4: the cheaper side of SBoRA, a merge that can be undone, columns chosen by a gradient."""

import numpy as np

from minilora.adapters import SBoRAFA
from minilora.course.exercise import exercise


@exercise(
    "4.1",
    "cheaper_side(shapes, budget)",
    hint="FA trains r d_out parameters of a matrix, FB r d_in.",
)
def cheaper_side(case):
    """Returns (parameters, rank): how many parameters rank 1 trains, if each matrix of {name:
    (d_out, d_in)} has the cheaper one of FA and FB, and the largest rank within the budget."""
    shapes = {}
    for i in range(case.integer("matrices", 1, 4)):
        shapes[f"W{i}"] = (
            case.integer(f"d_out of W{i}", 1, 9),
            case.integer(f"d_in of W{i}", 1, 9),
        )
    budget = case.integer("budget", 0, 60)
    found = case.call(shapes, budget)
    case.true(type(found) is tuple and len(found) == 2, "it must return two integers")
    one = 0
    for d_out, d_in in shapes.values():
        one += d_out if d_out < d_in else d_in
    rank = 0
    while (rank + 1) * one <= budget:
        rank += 1
    case.same("the number of parameters at rank 1", found[0], one)
    case.same("the largest rank within the budget", found[1], rank)


@exercise(
    "4.2",
    "class Undo",
    hint="merge replaces r columns. What did they hold before?",
)
def undo(case):
    """Undo(W, cols) keeps what it needs, no more than r d_out numbers; its method restore(merged)
    returns W, bitwise identical, when SBoRA-FA on the columns cols has been merged into it."""
    d_out, d_in = case.integer("d_out", 1, 5), case.integer("d_in", 1, 5)
    r = case.integer("r", 1, d_in)
    dtype = case.choice("dtype", [np.float32, np.float64])
    rng = case.rng()
    W = case.show("W", rng.standard_normal((d_out, d_in)).astype(dtype))
    cols = case.show("cols", tuple(rng.permutation(d_in)[:r].tolist()))
    B = case.show("B", 3 * rng.standard_normal((d_out, r)).astype(dtype))
    adapter = SBoRAFA(r, cols=cols)
    _, frozen = adapter.init(np.random.default_rng(0), W)
    merged = adapter.merge({"B": B}, frozen)
    keeper = case.use(case.answer, W, cols, plain=False)
    held = getattr(keeper, "__dict__", {}).values()
    numbers = sum(value.size for value in held if isinstance(value, np.ndarray))
    most = f"it must keep at most {B.size} numbers (r d_out) beside cols"
    case.true(numbers <= B.size, most, got=numbers)
    case.true(hasattr(keeper, "restore"), "Undo needs a method restore(merged)")
    case.bitwise("what restore returns", case.use(keeper.restore, merged), W)


@exercise(
    "4.3",
    "longest_columns(gradient, r)",
    hint="the length of a column is the root of the sum of its squares, over axis 0.",
)
def longest_columns(case):
    """Returns a tuple of r integers: the columns of the gradient (d_out, d_in) that are longest,
    the longest first."""
    d_out, d_in = case.integer("d_out", 1, 5), case.integer("d_in", 1, 6)
    r = case.integer("r", 1, d_in)
    gradient = case.normal("gradient", d_out, d_in)
    found = case.call(gradient, r)
    case.true(type(found) is tuple, "it must return a tuple of integers", got=found)
    lengths = [sum(gradient[i, j] ** 2 for i in range(d_out)) for j in range(d_in)]
    expected = []
    while len(expected) < r:
        left = [j for j in range(d_in) if j not in expected]
        expected.append(max(left, key=lambda j: lengths[j]))
    in_order = np.array([lengths[j] for j in expected])
    case.true(
        len(set(found)) == r and all(type(j) is int and 0 <= j < d_in for j in found),
        f"it must return {r} different columns",
        got=found,
    )
    returned = np.array([lengths[j] for j in found])
    case.same("the length of each column", returned, in_order)
