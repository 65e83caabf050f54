"""The training loop: minibatches, a learning rate that rises and falls, Adam; and accuracy."""

import ctypes
import math
import os
import sys
from contextlib import suppress

import numpy as np

from minilora.checks import check_count, check_labels, check_logits, check_positive, check_rng
from minilora.train.optimizer import adam, adam_start
from minilora.train.tape import leaves, value_and_grad

_M_TRIM_THRESHOLD = -1  # glibc's numbers of its options, see mallopt(3)
_M_MMAP_MAX = -4


def fit(loss, params, data, *misplaced, rng=None, steps, batch, lr, label="training", record=None):
    """Minimise loss(params, *rows) with Adam on minibatches; returns the trained params.

    data: a tuple of arrays of equal length, such as (x, labels). Each step draws `batch` rows of
    them with rng, a np.random.Generator, independently: a row may be drawn twice. lr: the
    peak of `learning_rate`. label: what the progress line on a terminal calls this run. record:
    called with the loss of every step, for a learning curve: record=losses.append.

    Raises ValueError when an argument is impossible, when the arrays differ in length, or when the
    loss stops being a finite number; TypeError when the other arguments are not passed by name.
    """
    if misplaced:
        raise TypeError(
            "fit takes three arguments, all others by name: fit(loss, params, (x, y), rng=rng, …)"
        )
    _check_settings(rng, steps, batch, lr, record)
    length = _check_data(data)
    _keep_memory()
    shown = _is_terminal(sys.stderr)
    state = adam_start(params)
    for step in range(steps):
        rows = rng.integers(length, size=batch)
        value, grads = value_and_grad(loss, params, *(array[rows] for array in data))
        value = np.asarray(value).item()
        if not math.isfinite(value):
            where = f"at step {step + 1} of {steps}"
            raise ValueError(f"loss is {value} {where}: lower lr (now {lr}) or check the data")
        params, state = adam(params, grads, state, _rate(step, steps, lr, warmup=0.05))
        if record is not None:
            record(value)
        if shown:
            text = f"{label}: step {step + 1} of {steps}, loss {value:.3f}"
            show_progress(text, last=step + 1 == steps)
    if not all(np.all(np.isfinite(leaf)) for leaf in leaves(params)):
        raise ValueError(
            f"params are not finite after {steps} steps: lower lr (now {lr}) or check the data"
        )
    return params


def learning_rate(step, steps, peak, warmup=0.05):
    """A linear rise to peak over the fraction `warmup` of the steps, then half a cosine to zero.

    The rise takes round(warmup · steps) steps, at least one.
    """
    check_count("steps", steps)
    check_count("step", step, most=steps - 1, least=0)
    check_positive("peak", peak)
    if warmup != 0:
        check_positive("warmup", warmup, most=1)
    return _rate(step, steps, peak, warmup)


def _rate(step, steps, peak, warmup):
    """The formula of `learning_rate`."""
    rise = max(1, round(warmup * steps))
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def accuracy(logits, labels):
    """The fraction of rows whose largest logit is at the label. logits (n, classes), labels (n,).

    Of equal logits, the first one counts as the largest.

    Raises ValueError for impossible logits or labels, and for logits that are not finite.
    """
    check_labels(labels, *check_logits(logits))
    if not np.all(np.isfinite(logits)):
        raise ValueError("logits must be finite, but they hold NaN or inf")
    hits = np.sum(np.argmax(logits, axis=1) == labels)
    return float(hits) / len(labels)


def show_progress(text, last=False):
    """Rewrite one line on stderr, and clear it at the end; silent when stderr is not a terminal."""
    if _is_terminal(sys.stderr):
        sys.stderr.write("\r\x1b[K" + ("" if last else text))
        sys.stderr.flush()


def _is_terminal(stream):
    """Whether a stream is a terminal that understands escape codes; there may be no stream."""
    if stream is None or not stream.isatty():
        return False
    # IDLE's stderr says that it is a terminal, but has no bytes behind it.
    return hasattr(stream, "buffer") and os.environ.get("TERM") != "dumb"


def _check_settings(rng, steps, batch, lr, record):
    """Raise ValueError when one of these arguments of `fit` is impossible."""
    check_rng(rng)
    check_count("steps", steps, least=0)
    check_count("batch", batch)
    check_positive("lr", lr)
    if record is not None and not callable(record):
        raise ValueError(f"record must be a function such as losses.append, got {record!r:.80}")


def _check_data(data):
    """The length of the arrays. Raises ValueError unless they are a tuple, of one length."""
    if not isinstance(data, (tuple, list)) or not data:
        raise ValueError(
            f"data must be a tuple of arrays such as (x, labels), got {type(data).__name__}"
        )
    for array in data:
        if not hasattr(array, "shape") or array.ndim < 1:
            kind = type(array).__name__
            raise ValueError(
                f"data must hold arrays with one row an example, got {kind}: try np.asarray"
            )
    lengths = [len(array) for array in data]
    if min(lengths) != max(lengths) or lengths[0] < 1:
        raise ValueError(
            f"data must hold arrays of equal length of at least 1, got lengths {lengths}"
        )
    return lengths[0]


def _keep_memory():
    """Let the C library keep the memory that a step frees for the next step.

    glibc gives large arrays back to the system, which hands them out again page by page: on a
    Transformer that takes a tenth of a step. So here no array is mapped by itself, and free memory
    up to 1 GiB is kept. Where there is no glibc, nothing happens.
    """
    with suppress(AttributeError, OSError, TypeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_M_MMAP_MAX, 0)
        set_option(_M_TRIM_THRESHOLD, 1 << 30)
