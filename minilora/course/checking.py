"""Check an answer: try it on random cases, within a time limit, and say what was found.

Hypothesis draws the cases and makes a failing one as small as it can. All of it runs in a thread,
so that an answer that never returns ends with a sentence.
"""

import ctypes
import sys
import threading
import time

from minilora.course.case import Case, OutOfTime, RefusedError, UnfinishedError
from minilora.course.exercise import find
from minilora.course.guard import Guard
from minilora.course.verdict import Verdict, failing, holding, refused

__all__ = ["LIMIT", "Verdict", "check", "check_exercise"]

LIMIT = 5.0  # seconds that a check may take
_ENOUGH = 2.0  # seconds after which no new case is drawn
_SMALL_ENOUGH = 3.5  # seconds after which a failing case is made no smaller


def check(number, answer, *, seed=None):
    """Try an answer to the exercise of this number, such as "4.2"; returns a `Verdict`.

    seed: an integer for other random cases; by default they are the same each time.

    Raises ValueError when there is no such exercise, or no program checks it, and ImportError when
    Hypothesis is not installed.
    """
    one = find(number)
    if not callable(answer):
        return refused(one, f"{one.name} must be a function or a class, got {answer!r:.60}")
    return check_exercise(one, answer, seed=seed)


def check_exercise(one, answer, *, seed=None, guard=None):
    """`check` for an `Exercise`; guard: a `Guard` made before the answer was imported."""
    hypothesis = _hypothesis()
    trial = _Trial(one, answer, hypothesis)
    guard = guard or Guard()
    streams = sys.stdout, sys.stderr
    thread = threading.Thread(target=trial.run, args=(seed,), daemon=True)
    thread.start()
    thread.join(LIMIT)
    if thread.is_alive():
        trial.deadline = 0.0
        stop = ctypes.py_object(OutOfTime)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), stop)
        sys.stdout, sys.stderr = streams
        return failing(
            one, RefusedError(f"{one.name} is not done after {LIMIT:g} s"), trial.shown, 0
        )
    replaced = guard.replaced()
    if replaced:
        return refused(one, f"the answer replaces {replaced}: leave what others use as it is")
    return trial.verdict()


class _Trial:
    """The cases that one answer is tried on, and the smallest that failed so far."""

    def __init__(self, one, answer, hypothesis):
        self.one = one
        self.answer = answer
        self.hypothesis = hypothesis
        self.cases = 0
        self.error = None  # the last failure, while Hypothesis makes it smaller
        self.broken = None  # an error of the check itself
        self.failed = {}
        self.shown = {}
        self.deadline = time.monotonic() + _SMALL_ENOUGH
        self.enough = time.monotonic() + _ENOUGH

    def run(self, seed):
        """Try the answer on cases until one fails or there are enough."""
        h = self.hypothesis
        options = h.settings(
            max_examples=self.one.cases,
            deadline=None,
            database=None,
            derandomize=seed is None,
            report_multiple_bugs=False,
            phases=(h.Phase.generate, h.Phase.shrink),
            suppress_health_check=list(h.HealthCheck),
            verbosity=h.Verbosity.quiet,
        )
        trial = options(h.given(h.strategies.data())(self._try))
        if seed is not None:
            trial = h.seed(seed)(trial)
        try:
            trial()
        except (RefusedError, OutOfTime, h.errors.Flaky):
            pass
        except BaseException as error:
            self.broken = error

    def _try(self, data):
        """One case. The signature of a Hypothesis test."""
        now = time.monotonic()
        if self.error is None and now > self.enough:
            return
        if now > self.deadline:
            raise OutOfTime
        case = Case(data.draw, self.hypothesis.strategies, self.answer, self.one.name)
        self.shown = case.shown
        try:
            self.one.try_case(case)
        except RefusedError as error:
            self.error, self.failed = error, case.shown
            if isinstance(error, UnfinishedError):
                self.deadline = now
            raise
        if self.error is None:
            self.cases += 1

    def verdict(self):
        """What was found."""
        if self.error is not None:
            return failing(self.one, self.error, self.failed, self.cases)
        if self.broken is not None:
            raise self.broken
        return holding(self.one, self.cases)


def _hypothesis():
    try:
        import hypothesis
        import hypothesis.strategies
    except ImportError:
        advice = "install it with: pip install hypothesis"
        raise ImportError(f"to check answers you need the package hypothesis; {advice}") from None
    return hypothesis
