"""Lesson 9: the lowest point of each unit, the price of a network, biases for a box."""

import itertools
import math

import numpy as np

from minilora.course.exercise import exercise


@exercise(
    "9.1",
    "lowest_points(W, radius)",
    hint="g · x is lowest against g, at the edge of the ball.",
)
def lowest_points(case):
    """Returns a matrix (d_out, d_in) whose row i is the x with ‖x‖ ≤ radius at which row i of W
    times x is lowest."""
    d_out, d_in = case.integer("d_out", 1, 4), case.integer("d_in", 1, 4)
    radius = case.choice("radius", [1.0, 2.0, 0.5, 3.0])
    W = case.matrix("W", d_out, d_in)
    W = case.show("W", np.where(np.any(W, axis=1, keepdims=True), W, 1.0))
    found = case.array("the points", case.call(W, radius), d_out, d_in)
    for row, x in zip(W, found):
        length = math.sqrt(sum(entry**2 for entry in x))
        inside = length <= radius * (1 + 1e-9)
        case.true(inside, f"each point must lie in the ball of radius {radius}", got=x)
        lowest = -radius * math.sqrt(sum(entry**2 for entry in row))
        case.same("row times x", float(sum(a * b for a, b in zip(row, x))), lowest)


def _runs(depth, count):
    """All ways to cut so many layers into this number of runs."""
    for cuts in itertools.combinations(range(1, depth), count - 1):
        yield np.diff([0, *cuts, depth]).tolist()


@exercise(
    "9.2",
    "network_price(width, depth, target_width, target_depth)",
    hint="the shortest run needs the largest rank; make the runs as equal as you can.",
)
def network_price(case):
    """Returns (rank, trained, target): the smallest rank over all cuts into runs, the entries of
    adapters of that rank on every layer with all biases, and the entries of the target."""
    target_width, target_depth = case.integer("target width", 1, 5), case.integer("its depth", 1, 3)
    width = case.integer("width", target_width, 9)
    depth = case.integer("depth", target_depth, 8)
    found = case.parts(case.call(width, depth, target_width, target_depth), 3)
    ranks = [max(math.ceil(target_width / k) for k in runs) for runs in _runs(depth, target_depth)]
    rank = min(ranks)
    adapters = sum(2 * rank * width + width for _ in range(depth))
    case.same("the rank", found[0], rank)
    case.same("the number that is trained", found[1], adapters)
    target = sum(np.zeros((target_width, target_width + 1)).size for _ in range(target_depth))
    case.same("the number of the target", found[2], target)


@exercise(
    "9.3",
    "box_biases(W0, W1, b)",
    hint="at which corner of the box is row i of W0 times x lowest?",
)
def box_biases(case):
    """Returns (c0, c1): the smallest c0 with which no entry of W0 x + c0 is negative for any x in
    the box [0, 1]^D, and the c1 with W1 relu(W0 x + c0) + c1 = W1 W0 x + b there."""
    D, units, outputs = (case.integer(name, 1, 3) for name in ("D", "units", "outputs"))
    W0, W1 = case.matrix("W0", units, D), case.normal("W1", outputs, units)
    b = case.normal("b", outputs)
    c0, c1 = case.parts(case.call(W0, W1, b), 2)
    case.array("c0", c0, units)
    case.array("c1", c1, outputs)
    corners = np.array(list(itertools.product([0.0, 1.0], repeat=D)))
    least = np.array([max(float(-row @ corner) for corner in corners) for row in W0])
    case.same("c0", c0, least)
    for x in (*corners, case.rng("x").random(D)):
        y = W1 @ np.maximum(W0 @ x + c0, 0) + c1
        case.same(f"the output at x = {np.round(x, 2)}", y, W1 @ W0 @ x + b)
