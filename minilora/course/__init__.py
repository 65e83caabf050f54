"""Exercises that answer back: `check("4.2", undo)` tries an answer on hundreds of random cases.

    from minilora.course import check

    check("4.2", undo)                                in a notebook or at the prompt
    python -m minilora check 4.2 answers.py           the same for a file
    python -m minilora check answers.py --all         every exercise that a file answers

The exercises stand at the end of each lesson. `exercises/lesson_04.py` has the checks of lesson 4.
Importing this package imports nothing else.
"""

from importlib import import_module

__all__ = ["Verdict", "check"]


def __getattr__(name):
    """A public name from its file (PEP 562), so that the list of exercises starts quickly."""
    if name not in __all__:
        raise AttributeError(f"module 'minilora.course' has no attribute {name!r}")
    return getattr(import_module("minilora.course.checking"), name)
