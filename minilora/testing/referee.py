"""Judge an adapter by the contract: `check_adapter`, and what it shares with `pytest --adapter`."""

import inspect
import time
import traceback
import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

from minilora.testing.claims import record
from minilora.testing.contract import PROMISES
from minilora.testing.rows import EXPECTED_FAILURES, Row
from minilora.testing.table import Line, claims_table, slow_lines

_HERE = str(Path(__file__).parent)
_EXPLAINED = "What each promise says: python -m minilora.testing, or minilora/testing/contract.py."


class Report(NamedTuple):
    """What `check_adapter` found: a `Line` for each promise. `print` it to see the table."""

    lines: tuple

    @property
    def holds(self):
        """Whether every promise is kept, or stated as failing."""
        return all(is_right(line) for line in self.lines)

    def __str__(self):
        reasons = [f"{line.number}  {line.reason}" for line in self.lines if not is_right(line)]
        return "\n".join([*claims_table(self.lines), *footer(self.lines), *reasons])


class ContractError(AssertionError):
    """What `check_adapter` raises; its message is the table with the reasons."""

    def __init__(self, report):
        super().__init__(f"\n{report}")
        self.report = report


def check_adapter(adapter, *, args=None, formula=None, expected_failures=None):
    """Check an adapter of your own against the contract; returns a `Report`.

    adapter: a class, or a function that makes an adapter, called with rank=… if it takes a rank,
    and with args, a dict; or an adapter. formula: a function (adapter, W, params, frozen) -> W'
    with which merge is compared. expected_failures: {"P1": "why it is known to fail"}; by
    default, the adapter's attribute of that name.

    Raises ContractError, an AssertionError with the table, when a promise is broken, or holds
    although it is stated as failing; ValueError when expected_failures names no promise.
    """
    row = row_of(adapter, args=args, formula=formula, expected_failures=expected_failures)
    report = Report(tuple(judge(promise, row)[0] for promise in promises_of(row)))
    if not report.holds:
        raise ContractError(report)
    return report


def row_of(adapter, *, args=None, formula=None, expected_failures=None):
    """The row of an adapter class, of a function that makes adapters, or of an adapter."""
    parts = ("init", "forward", "merge")
    if not callable(adapter) and not any(hasattr(adapter, part) for part in parts):
        raise ValueError(f"adapter must be a class, a function or an adapter, got {adapter!r:.80}")
    args = dict(args or {})
    kind = adapter.func if isinstance(adapter, partial) else adapter
    if expected_failures is None:
        known = EXPECTED_FAILURES.get(kind if isinstance(kind, type) else type(kind), {})
        expected_failures = getattr(kind, "expected_failures", known)
    _check_expected(expected_failures)
    is_made = not callable(adapter)
    takes_rank = not is_made and "rank" not in args and _takes_rank(adapter)
    name = getattr(kind, "__name__", type(adapter).__name__)
    make = _maker(adapter, args, takes_rank)
    even = takes_rank and _refuses_odd_ranks(make)
    return Row(
        name=f"{name} (rank: 2 × the rank below)" if even else name,
        make=(lambda rank: make(2 * rank)) if even else make,
        takes_rank=takes_rank,
        # A function may compute with a rank, and so fail with an error of its own.
        wrong_rank=make if isinstance(kind, type) else None,
        rank=getattr(adapter, "rank", None) if is_made else args.get("rank"),
        any_shape=hasattr(kind, "array"),
        formula=formula,
        expected=dict(expected_failures),
    )


def _check_expected(failures):
    numbers = [promise.number for promise in PROMISES]
    known = isinstance(failures, dict) and set(failures) <= set(numbers)
    if not known or not all(failures.values()):
        advice = f"from {', '.join(numbers)} to why they fail"
        raise ValueError(f"expected_failures must be a dict {advice}, got {failures!r:.80}")


def _takes_rank(function):
    """Whether a class or function can be called with rank=…."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # Python cannot look into it
        return True
    return any(p.name == "rank" or p.kind is p.VAR_KEYWORD for p in parameters)


def _maker(adapter, args, takes_rank):
    """A function from a rank to the adapter."""
    if not callable(adapter):
        return lambda rank: adapter

    def make(rank):
        given = {**args, "rank": rank} if takes_rank else args
        try:
            return adapter(**given)
        except TypeError as error:
            call = ", ".join(f"{name}={value!r}" for name, value in given.items())
            advice = "its rank must be called rank; what else it needs goes into --adapter-args"
            problem = f"called as ({call}): {error}; {advice} (args=), or into a function of rank"
            raise TypeError(problem) from error

    return make


def _refuses_odd_ranks(make):
    """Whether even ranks are accepted, and odd ones end with a ValueError about the rank."""
    errors = []
    for rank in (2, 4, 1, 3):
        try:
            make(rank)
            errors.append("")
        except (Exception, SystemExit) as error:
            errors.append(f"{type(error).__name__}: {error}"[:16])
    return errors == ["", "", "ValueError: rank", "ValueError: rank"]


def promises_of(row):
    """The promises that are asked of a row."""
    return [promise for promise in PROMISES if promise.cases(row)]


def judge(promise, row):
    """Check one promise at all its cases; returns its `Line` and the first error, or None."""
    record.update(cases=0, worst=0.0)
    began = time.monotonic()
    cases = promise.cases(row)
    broken = {}
    for case in cases:
        error = _error_at(promise, row, case)
        if error is not None:
            broken[str(case)] = error
    stated = row.expected.get(promise.number)
    verdict = "holds"
    reason = ""
    if broken:
        verdict = f"expected ({stated})" if stated else "FAILS"
        reason = _reason(broken, len(cases))
    elif stated:
        verdict = "FAILS"
        reason = f"It holds, but is stated as failing: {stated}"
    line = Line(
        source=f"Contract of {row.name}",
        number=promise.number,
        statement=promise.statement,
        cases=record["cases"],
        worst=record["worst"],
        verdict=verdict,
        seconds=time.monotonic() - began,
        reason=reason,
    )
    return line, next(iter(broken.values()), None)


def _error_at(promise, row, case):
    """The error at one case, or None. A warning is an error too, unless it is about deprecation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("error", UserWarning)
        try:
            promise.check(row, case)
        except (Exception, SystemExit) as error:
            return error
    return None


def _reason(broken, cases):
    """In at most 20 lines: the first case, its error, where it was raised, and other cases."""
    case, error = next(iter(broken.items()))
    kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
    message = f"{kind}{error}".splitlines()[:8]
    lines = [f"{case}:", *message, *_where(error)]
    if len(broken) == cases > 1:
        lines.append("All other cases fail too.")
    elif len(broken) > 1:
        others = "; ".join(list(broken)[1:7])
        lines.append(f"Also: {others}{'; …' if len(broken) > 7 else ''}")
        lines.append(f"{len(broken)} of {cases} cases fail.")
    return "\n      ".join(line[:300] for line in lines)


def _where(error):
    """The lines of the adapter's own file that led to an error; none if the referee found it."""
    frames = traceback.extract_tb(error.__traceback__)
    frames = [f for f in frames if not f.filename.startswith(_HERE)]
    own = [f for f in frames if "site-packages" not in f.filename] or frames
    shown = []
    for frame in own[-8:]:
        shown.append(f"  {Path(frame.filename).name}:{frame.lineno} in {frame.name}: {frame.line}")
    return shown


def is_right(line):
    """Whether a promise holds, or fails as it was stated to."""
    return line.verdict != "FAILS"


def footer(lines):
    """What follows the table of an adapter's contract."""
    return [*slow_lines(lines), _EXPLAINED]
