"""Training, with nothing hidden: the gradient on autograd's tape, Adam, and a minibatch loop.

Params are nested dicts of float arrays. Everything keeps their dtype: float32 in, float32 out.
"""

import math
import sys
from collections import namedtuple

import numpy as np
from autograd.core import VJPNode, add_outgrads
from autograd.extend import defvjp, primitive
from autograd.tracer import new_box, toposort, trace_stack


def leaves(tree):
    """The arrays of a nested dict, in order."""
    if isinstance(tree, dict):
        return [leaf for branch in tree.values() for leaf in leaves(branch)]
    return [tree]


def rebuild(tree, arrays):
    """A nested dict of the same form as tree with these arrays in the place of its own; arrays is an iterator."""
    if isinstance(tree, dict):
        return {name: rebuild(branch, arrays) for name, branch in tree.items()}
    return next(arrays)


def value_and_grad(loss, params, *inputs):
    """loss(params, *inputs) and its gradient with respect to params, as a nested dict of the same form.

    This is reverse-mode differentiation on autograd's tape. Each array of params becomes a box; each operation on a
    box writes a node that knows its parents and how to send a gradient back to them. Walking the nodes from the loss
    backwards adds up the gradient of every array. (`autograd.value_and_grad` gives the same numbers, but traces the
    dict as well, which takes longer than the arithmetic when the matrices are small.)

    Raises ValueError when the loss does not depend on params.
    """
    with trace_stack.new_trace() as trace:
        boxes = [new_box(leaf, trace, VJPNode.new_root()) for leaf in leaves(params)]
        end = loss(rebuild(params, iter(boxes)), *inputs)
    if not hasattr(end, "_node"):
        raise ValueError("loss does not depend on params: nothing can be trained")
    value = end._value
    grads = {end._node: (np.ones_like(value), False)}
    for node in toposort(end._node):
        if node.parents:  # not a box of params: once its gradient is sent on, nobody needs it
            for parent, grad in zip(node.parents, node.vjp(grads.pop(node)[0])):
                grads[parent] = add_outgrads(grads.get(parent), grad)
    found = (grads[box._node][0] if box._node in grads else np.zeros_like(box._value) for box in boxes)
    return value, rebuild(params, found)


class AdamState(namedtuple("AdamState", "steps mean square")):
    """Adam's memory: the number of steps taken, and the running means of the gradient and of its square."""


def flatten(tree):
    """All numbers of a nested dict in one vector."""
    return np.concatenate([leaf.ravel() for leaf in leaves(tree)])


def unflatten(vector, tree):
    """A nested dict of the form of tree whose arrays are views into the vector."""
    shaped, end = [], 0
    for leaf in leaves(tree):
        start, end = end, end + leaf.size
        shaped.append(vector[start:end].reshape(leaf.shape).astype(leaf.dtype, copy=False))
    return rebuild(tree, iter(shaped))


def adam_start(params):
    """The state before the first step."""
    zeros = np.zeros_like(flatten(params))
    return AdamState(0, zeros, zeros)


def adam(params, grads, state, lr, decay=(0.9, 0.999), eps=1e-8):
    """One step of Adam; returns new params and the new state, and leaves its arguments as they are.

        m ← β₁ m + (1−β₁) g,   v ← β₂ v + (1−β₂) g²,   θ ← θ − lr · m̂ / (√v̂ + ε),   m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ)

    Kingma & Ba, 2014, arXiv 1412.6980, algorithm 1. Raises ValueError when a gradient's shape is not its array's.
    """
    for param, grad in zip(leaves(params), leaves(grads)):
        if param.shape != grad.shape:
            raise ValueError(f"grads has an array of shape {grad.shape} for params of shape {param.shape}")
    g = flatten(grads)
    t = state.steps + 1
    mean = decay[0] * state.mean + (1 - decay[0]) * g
    square = decay[1] * state.square + (1 - decay[1]) * (g * g)
    size = np.sqrt(square / (1 - decay[1] ** t)) + eps
    theta = flatten(params) - (lr / (1 - decay[0] ** t)) * mean / size
    return unflatten(theta, params), AdamState(t, mean, square)


@primitive
def cross_entropy(logits, labels):
    """The mean of −log softmax(logits)[label]. logits (n, classes), labels (n,) whole numbers.

    Raises ValueError when labels are not whole numbers from 0 to classes − 1, one for each row.
    """
    n, classes = logits.shape
    check_labels(labels, n, classes)
    return -np.sum(log_softmax(logits)[np.arange(n), labels]) / n


def log_softmax(logits):
    """The logarithm of exp(logit) / the sum of exp(logit) over the classes. (n, classes)."""
    shifted = logits - np.max(logits, axis=1, keepdims=True)  # cancels out; keeps exp from overflowing
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))


def cross_entropy_slope(logits, labels):
    """n times the gradient of `cross_entropy`: softmax(logits), less 1 at the label. (n, classes)."""
    return np.exp(log_softmax(logits)) - np.equal.outer(labels, np.arange(logits.shape[1]))


defvjp(cross_entropy, lambda value, logits, labels: lambda g: g / len(labels) * cross_entropy_slope(logits, labels))


def check_labels(labels, n, classes):
    """Raise ValueError unless labels are n whole numbers from 0 to classes − 1."""
    labels = np.asarray(labels)
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be {n} whole numbers, got shape {labels.shape} of {labels.dtype}")
    if n and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(f"labels must lie in 0 … {classes - 1}, got {labels.min()} … {labels.max()}")


def accuracy(logits, labels):
    """The share of rows whose largest logit is at the label. Raises ValueError for impossible labels."""
    check_labels(labels, *logits.shape)
    hits = np.sum(np.argmax(logits, axis=1) == labels)
    return float(hits) / len(labels)


def learning_rate(step, steps, peak, warmup=0.05):
    """A linear rise to peak over the first share `warmup` of the steps, then half a cosine down to zero."""
    rise = max(1, round(warmup * steps))
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def fit(loss, params, data, rng, *, steps, batch, lr, label="training"):
    """Minimise loss(params, *rows) with Adam on minibatches; returns trained params and leaves the given ones as is.

    data: arrays of equal length, such as (x, labels); each step draws `batch` rows of them from rng.
    lr: the peak learning rate of `learning_rate`. label: what the progress line on a terminal calls this run.

    Raises ValueError when the arrays differ in length, or when the loss stops being a finite number.
    """
    lengths = [len(array) for array in data]
    if min(lengths) != max(lengths):
        raise ValueError(f"data must hold arrays of equal length, got lengths {lengths}")
    np.empty(31 << 20, np.uint8)  # freed at once: from now on glibc keeps what a step frees for the next one
    state = adam_start(params)
    for step in range(steps):
        rows = rng.integers(lengths[0], size=batch)
        value, grads = value_and_grad(loss, params, *(array[rows] for array in data))
        if not math.isfinite(value):
            raise ValueError(f"the loss is {value} at step {step + 1} of {steps}: lower lr = {lr}, or mend the data")
        params, state = adam(params, grads, state, learning_rate(step, steps, lr))
        show_progress(f"{label}: step {step + 1} of {steps}, loss {value:.3f}", last=step + 1 == steps)
    return params


def show_progress(text, last=False):
    """Rewrite one line on stderr, and clear it at the end; silent when stderr is not a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K" + ("" if last else text))
        sys.stderr.flush()
