"""Whether an answer has replaced a function of NumPy, of Python or of this package.

Then whatever is compared afterwards means nothing. `Guard` notes what modules hold and finds what
was replaced; it is not a lock, and whoever wants to deceive it can.
"""

import builtins
import sys

_WATCHED = ("numpy", "minilora", "autograd", "math")


class Guard:
    """What the modules that the checks rely on hold at this moment."""

    def __init__(self):
        self._held = {name: dict(vars(owner)) for name, owner in _owners()}

    def replaced(self):
        """The name of something that was replaced since, such as numpy.allclose, or None."""
        for name, owner in _owners():
            for key, value in self._held.get(name, {}).items():
                if vars(owner).get(key) is not value and _counts(key, value):
                    return f"{name}.{key}"
        return None


def _owners():
    """(name, module or class) for all modules that are watched, and the classes they define."""
    yield "builtins", builtins
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _WATCHED and hasattr(module, "__dict__"):
            yield name, module
            for key, value in list(vars(module).items()):
                if isinstance(value, type) and value.__module__ == name and name[:1] == "m":
                    yield f"{name}.{key}", value


def _counts(key, value):
    """Whether a name is one that a check could use: a function or a class of public name."""
    return callable(value) and not key.startswith("__")
