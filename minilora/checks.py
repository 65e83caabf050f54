"""Checks of arguments, so that a mistake ends with a message and not with a wrong number.

Every check takes the argument's name and its value, and raises a ValueError that names the
argument, what was given and what would work. An array may be a box on autograd's tape: `getval`
is the array in it, whose shape and dtype are far quicker to read than the box's own.
"""

import math
import sys
from numbers import Integral, Real

import numpy as np
from autograd.tracer import getval

_FLOATS = (np.float32, np.float64)


def check_count(name, value, most=math.inf, least=1):
    """Raise ValueError unless value is an integer from least to most."""
    if not _is_integer(value) or not least <= value <= most:
        upper = "up" if most == math.inf else f"to {most}"
        raise ValueError(f"{name} must be an integer from {least} {upper}, got {value!r}")


def check_rank(rank, most=math.inf):
    """Raise ValueError unless rank is an integer from 1 to most, the largest that W allows."""
    check_count("rank", rank, most)


def check_positive(name, value, most=math.inf):
    """Raise ValueError unless value is a finite real number above 0 and at most `most`."""
    if not is_positive(value, most):
        upper = "" if most == math.inf else f" up to {most:g}"
        raise ValueError(f"{name} must be a positive number{upper}, got {value!r}")


def is_positive(value, most=math.inf):
    """Whether value is a real number above 0, at most `most`, that a float can hold."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    number = value.item() if isinstance(value, np.generic) else value  # a float32 has no 1e300
    return real and 0 < number <= min(most, sys.float_info.max)


def check_rng(rng):
    """Raise ValueError unless rng is a np.random.Generator."""
    if not isinstance(rng, np.random.Generator):
        example = f"np.random.default_rng({rng if _is_integer(rng) and rng >= 0 else 0})"
        raise ValueError(f"rng must be a np.random.Generator, got {rng!r:.80}: try {example}")


def check_float_type(name, dtype):
    """Raise ValueError unless dtype is float32 or float64, the types in which adapters train."""
    try:
        known = dtype is not None and np.dtype(dtype) in _FLOATS
    except TypeError:
        known = False
    if not known:
        raise ValueError(f"{name} must be float32 or float64, got {dtype!r}")


def check_floats(name, array):
    """Raise ValueError unless array holds finite float32 or float64, in any shape."""
    if not hasattr(array, "dtype") or not hasattr(array, "shape"):
        kind = type(array).__name__
        raise ValueError(
            f"{name} must be an array of floating-point numbers, got {kind}: {_try(name)}"
        )
    if np.ma.isMaskedArray(array):
        raise ValueError(f"{name} must not be a masked array: try {name}.filled(0.0)")
    if array.dtype not in _FLOATS:
        raise ValueError(f"{name} must be float32 or float64, got {array.dtype}: {_try(name)}")
    if not callable(array) and not np.all(np.isfinite(getval(array))):
        raise ValueError(
            f"{name} must be finite, but {np.shape(array)} holds NaN or inf, which spread"
        )


def check_matrix(name, W):
    """The shape (d_out, d_in) of a matrix W, or of any weight.

    Raises ValueError unless W has two axes, neither of them empty, and finite float32 or float64.
    """
    shape = W.shape if hasattr(W, "shape") else np.shape(W)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"{name} must be a matrix (d_out, d_in), got shape {shape}")
    check_floats(name, W)
    d_out, d_in = shape
    return d_out, d_in


def as_float64_matrix(name, W):
    """A copy of W in float64. Raises ValueError as `check_matrix` does."""
    check_matrix(name, W)
    return np.array(W, np.float64)


def check_width(x, W):
    """Raise ValueError unless the last axis of x is d_in, for W (d_out, d_in)."""
    shape = getattr(getval(x), "shape", None)
    matrix = getattr(getval(W), "shape", ())
    if shape is None:
        raise ValueError(f"x must be an array, got {type(x).__name__}: try np.asarray(x)")
    if len(matrix) != 2:
        raise ValueError(f"W must be a matrix (d_out, d_in), got {type(W).__name__} {matrix}")
    d_out, d_in = matrix
    if shape[-1:] != (d_in,):
        given = f"x has shape {shape}, but W is ({d_out}, {d_in})"
        raise ValueError(f"{given}: the last axis of x must be {d_in}")


def check_columns(U):
    """Raise ValueError unless U is a matrix whose columns have finite, normal squared lengths."""
    if len(getattr(getval(U), "shape", ())) != 2:
        raise ValueError(f"U must be a matrix (d_in, r), got {type(U).__name__}")
    lengths = np.sum(getval(U) ** 2, axis=0)
    smallest = np.finfo(lengths.dtype).tiny
    if not np.all((lengths >= smallest) & np.isfinite(lengths)):
        raise ValueError(
            f"U must have no zero, NaN or infinite column, got squared lengths {lengths}, which "
            f"must be finite and at least {smallest:.0e}"
        )


def check_logits(logits):
    """The shape (n, classes). Raises ValueError unless logits is such an array with n ≥ 1."""
    shape = np.shape(logits)
    dtype = getattr(logits, "dtype", None)
    if dtype is None or dtype.kind not in "fiu" or len(shape) != 2 or 0 in shape:
        given = type(logits).__name__ if dtype is None else f"{dtype} {shape}"
        raise ValueError(f"logits must be an array (n, classes) with n ≥ 1, got {given}")
    return shape


def check_labels(labels, n, classes):
    """Raise ValueError unless labels are n integers from 0 to classes − 1."""
    labels = np.asarray(labels)
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be {n} integers, got shape {labels.shape} of {labels.dtype}")
    if n and (labels.min() < 0 or labels.max() >= classes):
        given = f"{labels.min()} … {labels.max()}"
        raise ValueError(f"labels must lie in 0 … {classes - 1}, got {given}")


def check_texts(name, texts):
    """Raise ValueError unless texts is a list or a tuple of strings."""
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name} must be a list of strings, got {texts!r:.80}")


def check_tokens(tokens, vocabulary, context):
    """Raise ValueError unless tokens are integers below vocabulary, 1 to context in a row."""
    if tokens.dtype.kind not in "iu":
        raise ValueError(f"tokens must be integers, got {tokens.dtype}")
    if tokens.ndim < 1 or not 1 <= tokens.shape[-1] <= context:
        given = f"got shape {tokens.shape}"
        raise ValueError(f"tokens must be 1 to {context} on the last axis, {given}")
    if tokens.size and (tokens.min() < 0 or tokens.max() >= vocabulary):
        given = f"{tokens.min()} … {tokens.max()}"
        raise ValueError(f"tokens must lie in 0 … {vocabulary - 1}, got {given}")


def check_heads(heads, width):
    """Raise ValueError unless heads divides the width."""
    if isinstance(heads, bool) or heads not in range(1, width + 1) or width % heads:
        raise ValueError(f"heads must divide the width {width}, got {heads!r}")


def check_weights(weights):
    """Raise ValueError unless weights is a dict from names to weights, as models take it."""
    if not isinstance(getval(weights), dict):
        advice = (
            "try attached.bind(params)" if hasattr(weights, "bind") else "see the model's docstring"
        )
        raise ValueError(
            f"weights must be a dict from names to weights, got {weights!r:.80}: {advice}"
        )


def check_named_weights(weights):
    """Raise ValueError unless weights is a dict from strings to weights, with at least one."""
    if not isinstance(weights, dict) or not weights:
        raise ValueError(f"weights must be a dict from names to weights, got {weights!r:.80}")
    for name, W in weights.items():
        if not isinstance(name, str) or not hasattr(W, "shape"):
            kind = type(W).__name__
            raise ValueError(f"weights[{name!r}] must be an array under a name, got {kind}")


def check_names(weights, expected):
    """Raise ValueError unless weights has exactly the expected names, a set."""
    if set(weights) != expected:
        missing = sorted(expected - set(weights))
        unknown = sorted(set(weights) - expected)
        raise ValueError(
            f"weights must have the names of the model: missing {missing}, unknown {unknown}"
        )


def check_form(name, tree, like):
    """Raise ValueError unless tree has the keys and shapes of like, a nested dict of arrays."""
    if not _same_form(tree, like):
        _explain_form(name, tree, like)


def _same_form(tree, like):
    """What `check_form` asks, fast: training asks it in every step."""
    if not isinstance(like, dict):
        return getattr(getval(tree), "shape", None) == like.shape
    if not isinstance(tree, dict) and not isinstance(getval(tree), dict):
        return False
    if len(tree) != len(like):
        return False
    for key, part in like.items():
        if key not in tree:
            return False
        branch = tree[key]
        if isinstance(part, dict):
            if not _same_form(branch, part):
                return False
        elif getattr(getval(branch), "shape", None) != part.shape:
            return False
    return True


def _explain_form(name, tree, like):
    """Raise ValueError at the first place where tree and like differ."""
    if isinstance(like, dict):
        keys = sorted(tree) if isinstance(getval(tree), dict) else type(tree).__name__
        if keys != sorted(like):
            raise ValueError(f"{name} must have the keys {sorted(like)}, got {keys}")
        for key, part in like.items():
            _explain_form(f"{name}[{key!r}]", tree[key], part)
    elif getattr(tree, "shape", None) != like.shape:
        given = getattr(tree, "shape", type(tree).__name__)
        raise ValueError(f"{name} must have shape {like.shape}, got {given}")


def as_indices(name, given, count, below=math.inf):
    """The given indices as a tuple, or None. Raises ValueError unless they are distinct and ≥ 0."""
    if given is None:
        return None
    upper = "up" if below == math.inf else f"to {below - 1}"
    advice = f"{name} must be {count} distinct integers from 0 {upper}, or None, got {given!r}"
    try:
        index = np.array(given)
    except ValueError as error:
        raise ValueError(advice) from error
    if index.shape != (count,) or index.dtype.kind not in "iu":
        raise ValueError(advice)
    indices = tuple(index.tolist())
    truths = any(isinstance(each, bool) for each in given)  # (True, 2) makes an array of integers
    if truths or len(set(indices)) != count or min(indices) < 0 or max(indices) >= below:
        raise ValueError(advice)
    return indices


def _is_integer(value):
    return isinstance(value, Integral) and not isinstance(value, bool)


def _try(name):
    """What to type instead: float16 overflows in training, integers cannot move by small steps."""
    return f"try np.asarray({name}, np.float32)"
