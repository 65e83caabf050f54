"""Lesson 18: nodes on the tape, the rank at which two orders cost the same, LoRA in one node."""

import autograd.numpy as anp
import numpy as np
from autograd import grad
from autograd.core import VJPNode
from autograd.tracer import new_box, toposort, trace_stack

from minilora import LoRA, attach, cross_entropy, init_mlp, mlp
from minilora.course.exercise import exercise
from minilora.train.tape import leaves, rebuild


def _count(loss, params):
    """How many operations a loss writes on the tape."""
    with trace_stack.new_trace() as trace:
        boxes = [new_box(leaf, trace, VJPNode.new_root()) for leaf in leaves(params)]
        end = loss(rebuild(params, iter(boxes)))
    return sum(len(node.parents) > 0 for node in toposort(end._node))


@exercise(
    "18.1",
    "nodes(layers)",
    hint="count two depths; what does the first layer not have, and what does the end add?",
    cases=20,
)
def nodes(case):
    """Returns how many nodes a step has for an MLP of so many layers, LoRA on each of them, and
    cross-entropy at the end."""
    layers = case.integer("layers", 1, 12)
    rng = case.rng()
    weights = init_mlp(rng, widths=(4,) * (layers + 1))
    attached = attach(weights, {"*.W": LoRA(2)}, rng=rng)
    x, labels = rng.standard_normal((3, 4)).astype(np.float32), np.array([0, 1, 2])

    def loss(params):
        return cross_entropy(mlp(attached.bind(params), x), labels)

    case.same("the number of nodes", case.call(layers), _count(loss, attached.params))


@exercise(
    "18.2",
    "crossing(n, d)",
    hint="set 2 n r d = r d² + n d² and solve for r. Is there a positive solution for every n?",
)
def crossing(case):
    """Returns the rank, a float, from which on (B A) x takes fewer multiplications than B (A x) for
    n inputs and d × d matrices, or None if it never does."""
    n, d = case.integer("n", 1, 20), case.integer("d", 1, 20)
    found = case.call(n, d)
    far = 10.0**6  # a rank beyond every crossing of such small numbers
    if 2 * n * far * d <= far * d**2 + n * d**2:
        return case.true(found is None, "it must return None here", got=found)
    case.true(isinstance(found, float) and found > 0, "it must return a rank", got=found)
    thin, merged = 2 * n * found * d, found * d**2 + n * d**2
    case.same("the thin path's count over the other's at this rank", thin / merged, 1.0)


@exercise(
    "18.3",
    "lora(A, B, x, W)",
    hint="@primitive before the function, and defvjp with a derivative for A, for B and for x.",
    cases=60,
)
def lora(case):
    """Returns W x + B A x for each row of x as one primitive, with derivatives for A, B and x: one
    node on the tape."""
    n, r = case.integer("n", 1, 3), case.integer("r", 1, 3)
    d_out, d_in = case.integer("d_out", 1, 4), case.integer("d_in", 1, 4)
    A, B = case.matrix("A", r, d_in), case.matrix("B", d_out, r)
    x, W = case.matrix("x", n, d_in), case.matrix("W", d_out, d_in)
    g = case.matrix("g", n, d_out)
    case.same("the value", case.call(A, B, x, W), (W @ x.T + B @ (A @ x.T)).T)

    def loss(A, B, x):
        return anp.sum(g * case.answer(A, B, x, W))

    def lora(A, B, x):
        return _count(lambda p: case.answer(p["A"], p["B"], p["x"], W), {"A": A, "B": B, "x": x})

    given = {"A": A, "B": B, "x": x}
    nodes = case.use(lora, A, B, x)
    case.true(nodes == 1, "it must be one node on the tape", expected=1, got=nodes)
    for place, (name, array) in enumerate(given.items()):
        got = case.use(_gradient(loss, place), A, B, x)
        expected = np.zeros(array.shape)
        for index in np.ndindex(array.shape):  # linear in each, so a difference is the derivative
            moved = array.copy()
            moved[index] += 1
            changed = given | {name: moved}
            value = W @ changed["x"].T + changed["B"] @ (changed["A"] @ changed["x"].T)
            expected[index] = np.sum(g.T * (value - W @ x.T - B @ (A @ x.T)))
        case.same(f"the gradient for {name}", got, expected)


def _gradient(loss, place):
    """The gradient of a loss with respect to the argument at a place."""

    def lora(A, B, x):
        return grad(loss, place)(A, B, x)

    return lora
