"""The gradient of a loss, on autograd's tape.

This is reverse-mode differentiation. Each array of params becomes a box; each operation on a box
writes a node that knows its parents and how to send a gradient back to them. Walking the nodes from
the loss backwards adds up the gradient of every array.

`autograd.value_and_grad` gives the same values, but it traces the dict as well, which takes longer
than the arithmetic when the matrices are small.
"""

import numpy as np
from autograd.core import VJPNode, add_outgrads
from autograd.tracer import getval, isbox, new_box, toposort, trace_stack

_MISSING = object()


def value_and_grad(loss, params=_MISSING, *inputs):
    """loss(params, *inputs) and its gradient with respect to params, a nested dict of their form.

    The loss is a function; its value is one number. Equal gradients may be one array under two
    names, so change none of them in place.

    Raises ValueError when params holds anything but floating-point arrays, when the loss is not one
    number or does not depend on params; TypeError when params is not given.
    """
    if params is _MISSING:
        raise TypeError(
            "value_and_grad takes all at once: value, grads = value_and_grad(loss, params, *inputs)"
        )
    params = _opened(params) if isbox(params) else params
    arrays = leaves(params)
    _check_arrays(arrays)
    with trace_stack.new_trace() as trace:
        boxes = [new_box(array, trace, VJPNode.new_root()) for array in arrays]
        end = loss(rebuild(params, iter(boxes)), *inputs)
    if not isbox(end) or end._trace != trace:
        raise ValueError("loss does not depend on params: there is nothing to train")
    if np.size(getval(end)) != 1:
        raise ValueError(
            f"loss must be one number, got shape {end.shape}: take its mean or its sum"
        )
    if np.iscomplexobj(getval(end)):
        raise ValueError("loss must be a real number, got a complex one")
    grads = _walk_backwards(end)
    found = (_gradient_of(box, grads) for box in boxes)
    return end._value, rebuild(params, found)


def _gradient_of(box, grads):
    """The gradient of one array, in its dtype: zero where the loss does not use it."""
    if box._node not in grads:
        return np.zeros_like(getval(box))
    grad, _ = grads[box._node]
    dtype = getval(box).dtype
    return grad if getval(grad).dtype == dtype else grad.astype(dtype)


def _walk_backwards(end):
    """{node: (gradient, …)} of the params, from the loss at the end of the tape."""
    one = np.ones_like(getval(end))
    grads = {end._node: (one, False)}
    for node in toposort(end._node):
        if node.parents:  # no box of params: its gradient is sent on and then no longer needed
            outgoing = grads.pop(node)[0]
            for parent, grad in zip(node.parents, node.vjp(outgoing)):
                grads[parent] = add_outgrads(grads.get(parent), grad)
    return grads


def _opened(tree):
    """A dict on an outer tape as a plain dict of arrays on that tape."""
    if isinstance(getval(tree), dict):
        return {name: _opened(tree[name]) for name in tree}
    return tree


def leaves(tree, order=None):
    """The arrays of a nested dict, in its order or in that of another one with the same names."""
    order = tree if order is None else order
    if isinstance(order, dict):
        return [leaf for name in order for leaf in leaves(tree[name], order[name])]
    return [tree]


def rebuild(tree, arrays):
    """A nested dict of the form of tree, with the arrays of this iterator in place of its own."""
    if isinstance(tree, dict):
        return {name: rebuild(branch, arrays) for name, branch in tree.items()}
    return next(arrays)


def check_params(params):
    """Raise ValueError unless params is an array, or a nested dict, of float32 or float64."""
    _check_arrays(leaves(params))


def _check_arrays(arrays):
    """Raise ValueError unless there are arrays, of float32 or float64."""
    if not arrays:
        raise ValueError("params must hold at least one array, got none")
    for array in arrays:
        dtype = getattr(array, "dtype", None)
        if dtype is None or dtype.char not in "fd":
            given = type(array).__name__ if dtype is None else dtype
            raise ValueError(
                f"params must be arrays of float32 or float64, got {given}: use np.float32"
            )
