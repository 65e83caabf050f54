"""A case on which an answer is tried: it draws the inputs, calls the answer, and compares.

What is drawn has a label and is small, so that the smallest case on which an answer fails can be
read. The answer is somebody else's code. So it gets copies, and what it does wrong ends with
`RefusedError`, one sentence: an error, output, changed arguments, a result that is no plain array.
"""

import copy
import inspect
import io
import math
import traceback
from contextlib import redirect_stderr, redirect_stdout

import numpy as np

_NUMBERS = "fiub"  # the kinds of dtype that a result may have
_PLAIN = (float, int, bool, str, type(None))


class RefusedError(Exception):
    """The answer is wrong, and this says how; expected and got are None or values."""

    def __init__(self, sentence, expected=None, got=None):
        super().__init__(sentence)
        self.expected = expected
        self.got = got


class UnfinishedError(RefusedError):
    """The answer is not written yet; no smaller case says more."""


class OutOfTime(BaseException):
    """The check takes no longer; no answer's `except Exception` stops it."""


class Case:
    """Random inputs, and one answer to try on them.

    draw: a function from a Hypothesis strategy to a value. strategies: hypothesis.strategies.
    """

    def __init__(self, draw, strategies, answer, name):
        self.answer = answer
        self.shown = {}  # label -> value, in the order in which they were drawn
        self._draw = draw
        self._strategies = strategies
        self._name = name

    def integer(self, label, least, most):
        """A random integer, as small as possible where the answer fails."""
        return self.show(label, self._draw(self._strategies.integers(least, most)))

    def choice(self, label, options):
        """One of some options, the first where that is enough for a failure."""
        return self.show(label, self._draw(self._strategies.sampled_from(options)))

    def rng(self, label=""):
        """A generator of random numbers, for what need not be small."""
        seed = self._draw(self._strategies.integers(0, 2**20))
        return np.random.default_rng([seed, *label.encode()])  # no two labels get the same numbers

    def matrix(self, label, *shape, dtype=np.float64):
        """An array of small integers, which may well be singular."""
        return self.show(label, self.rng(label).integers(-3, 4, shape).astype(dtype))

    def normal(self, label, *shape, dtype=np.float64):
        """An array of normal numbers with two decimals, which is generic."""
        return self.show(label, self.rng(label).standard_normal(shape).round(2).astype(dtype))

    def show(self, label, value):
        """Give a value that the check computes a label in the report; returns it."""
        self.shown[label] = copy.deepcopy(value)
        return value

    def call(self, *arguments):
        """What the answer returns, as plain arrays, numbers, tuples, lists and dicts."""
        return self.use(self.answer, *arguments)

    def use(self, function, *arguments, plain=True):
        """What a function of the answer returns, called with copies of the arguments.

        plain=False: it may return any object, such as an instance of a class.
        """
        given = copy.deepcopy(arguments)
        output = io.StringIO()
        name = getattr(function, "__name__", self._name)
        try:
            with redirect_stdout(output), redirect_stderr(output):
                result = function(*given)
        except OutOfTime:
            raise
        except BaseException as error:
            if isinstance(error, NotImplementedError) and not _text(error, ""):
                raise UnfinishedError(f"{name} is not written yet") from None
            raise RefusedError(_what_it_raises(name, function, given, error)) from None
        if output.getvalue():
            raise RefusedError(f"{name} prints {output.getvalue()[:60]!r}: take the print out")
        for place, (before, after) in enumerate(zip(arguments, given), start=1):
            if _bits(before) != _bits(after):
                raise RefusedError(f"{name} changes its argument number {place}: work on a copy")
        return _plain(name, result) if plain else result

    def parts(self, found, count):
        """The parts of a result that must be a tuple of so many."""
        if type(found) is not tuple or len(found) != count:
            raise RefusedError(f"{self._name} must return a tuple of {count}", got=found)
        return found

    def array(self, what, got, *shape):
        """A part of the result that must be a finite array of this shape."""
        if not isinstance(got, np.ndarray) or got.shape != shape:
            raise RefusedError(f"{what} must be an array of shape {shape}", got=got)
        if not np.all(np.isfinite(got)):
            raise RefusedError(f"{what} must be finite", got=got)
        return got

    def same(self, what, got, expected, within=1e-9):
        """Refuse the answer unless got is expected, up to `within` of the largest entry (or of 1).

        what: a noun, "the merged weight". The shape must be the same, and every entry finite.
        """
        _check_type(what, got, expected)
        if isinstance(expected, np.ndarray):
            if got.shape != expected.shape:
                raise RefusedError(f"{what} must have the shape {expected.shape}", expected, got)
            size = max(1.0, float(np.max(np.abs(expected), initial=0)))
            error = np.max(np.abs(got - expected.astype(np.float64)), initial=0)
            if not error <= within * size:  # NaN too
                raise RefusedError(f"{what} is wrong", expected, got)
        elif not abs(got - expected) <= within * max(1.0, abs(expected)):
            raise RefusedError(f"{what} is wrong", expected, got)

    def bitwise(self, what, got, expected):
        """Refuse the answer unless got has the bits, the shape and the dtype of expected."""
        _check_type(what, got, expected)
        if got.dtype != expected.dtype:
            raise RefusedError(
                f"{what} must be {expected.dtype}, and is {got.dtype}", expected, got
            )
        if _bits(got) != _bits(expected):
            raise RefusedError(f"{what} must be bitwise identical", expected, got)

    def true(self, condition, sentence, expected=None, got=None):
        """Refuse the answer, with this sentence, unless a condition holds."""
        if not condition:
            raise RefusedError(sentence, expected, got)


def _what_it_raises(name, function, given, error):
    """A sentence on an error of the answer."""
    if isinstance(error, SystemExit):
        return f"{name} calls exit: return the result instead"
    if isinstance(error, TypeError):
        try:
            inspect.signature(function).bind(*given)
        except TypeError:
            return f"{name} must take {len(given)} arguments: {error}"
        except ValueError:  # Python cannot look into it
            pass
    own = traceback.extract_tb(error.__traceback__)[1:]
    own = [frame for frame in own if "site-packages" not in frame.filename] or own
    place = f" in line {own[-1].lineno}" if own else ""
    return f"{name} raises {type(error).__name__}{place}: {_text(error)}"


def _text(error, empty="without a message"):
    try:
        return str(error)[:300] or empty
    except Exception:
        return "with a message that cannot be read"


def _plain(name, value):
    """A result as this file compares it; RefusedError if it is something that could lie."""
    kind = type(value)
    if kind is np.ndarray:
        if value.dtype.kind not in _NUMBERS:
            raise RefusedError(f"{name} returns an array of {value.dtype}, not of real numbers")
        return np.array(value)
    if issubclass(kind, np.generic) and kind.__module__ == "numpy":
        return value.item()
    if kind in _PLAIN:
        return value
    if kind in (tuple, list):
        return kind(_plain(name, part) for part in value)
    if kind is dict:
        return {_plain(name, key): _plain(name, part) for key, part in value.items()}
    advice = "return plain NumPy arrays, numbers, tuples, lists or dicts"
    raise RefusedError(f"{name} returns a {kind.__name__}: {advice}")


def _check_type(what, got, expected):
    """RefusedError unless got is an array or a number as expected is."""
    is_array = isinstance(expected, np.ndarray)
    kind = np.ndarray if is_array else (float, int)
    if not isinstance(got, kind) or (isinstance(got, bool) and not isinstance(expected, bool)):
        noun = f"an array of shape {expected.shape}" if is_array else "a number"
        raise RefusedError(f"{what} must be {noun}, and is {type(got).__name__}", expected, got)
    if not is_array and not math.isfinite(got):
        raise RefusedError(f"{what} must be finite", expected, got)


def _bits(value):
    """The arrays within a value, bit by bit; None for what has none, such as a generator."""
    if type(value) is dict:
        return {key: _bits(part) for key, part in value.items()}
    if type(value) in (tuple, list):
        return [_bits(part) for part in value]
    if isinstance(value, np.ndarray):
        return value.shape, str(value.dtype), value.tobytes()
    return value if isinstance(value, _PLAIN) else None
