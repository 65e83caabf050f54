"""Which weights a glob pattern means: {pattern: adapter} as {name: adapter}.

A pattern with "*", "?" or "[…]" is compared with every name. One without, or one from glob.escape,
means a single name, which is looked up: a checkpoint may bring a pattern for each of 10,000 layers.
"""

import re
from fnmatch import fnmatchcase


def adapter_of_each(weights, adapters):
    """{name: adapter} of the weights that a pattern matches; see `attach`.

    Raises ValueError when a pattern matches no name or is not a string, a name is matched twice, or
    a value is not an adapter; TypeError when adapters is not a dict.
    """
    if not isinstance(adapters, dict):
        example = 'attach(weights, {"*.W": LoRA(rank=4)}, rng=rng)'
        raise TypeError(f"adapters must be a dict from patterns to adapters: try {example}")
    adapter_of = {}
    for pattern, adapter in adapters.items():
        if not isinstance(pattern, str):
            raise ValueError(f"adapters: a pattern must be a string, got {pattern!r}")
        _check_adapter(pattern, adapter)
        names = _matched(weights, pattern)
        if not names:
            known = ", ".join(weights)
            raise ValueError(
                f"adapters: the pattern {pattern!r} matches no weight; the names are {known}"
            )
        if twice := adapter_of.keys() & names:
            problem = (
                f"{min(twice)!r} is matched by more than one pattern, the second is {pattern!r}"
            )
            raise ValueError(f"adapters: {problem}")
        adapter_of |= dict.fromkeys(names, adapter)
    return adapter_of


def _matched(weights, pattern):
    """The names that a pattern matches."""
    literal = re.sub(r"\[([*?[])\]", r"\1", pattern)  # glob.escape turns it into the pattern
    if re.sub(r"([*?[])", r"[\1]", literal) == pattern:
        return [literal] if literal in weights else []
    return [name for name in weights if fnmatchcase(name, pattern)]


def _check_adapter(pattern, adapter):
    """Raise ValueError unless adapter is an object with the three methods of an adapter."""
    if isinstance(adapter, type):
        name = adapter.__name__
        raise ValueError(
            f"adapters[{pattern!r}] must be an adapter, got the class {name}: try {name}(…)"
        )
    missing = [
        part for part in ("init", "forward", "merge") if not callable(getattr(adapter, part, None))
    ]
    if missing:
        lacks = ", ".join(missing)
        raise ValueError(
            f"adapters[{pattern!r}] must be an adapter, but {adapter!r:.80} has no {lacks}"
        )
