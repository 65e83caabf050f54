"""What a check finds, in words: a line when the answer holds, else the smallest case that fails."""

from typing import NamedTuple

_ROWS = 8  # lines of an array that are shown


class Verdict(NamedTuple):
    """The result of a check. It prints as text, and is true when the answer holds."""

    number: str
    holds: bool
    cases: int  # how many were tried
    points: int  # earned
    of: int  # that can be earned
    text: str

    def __bool__(self):
        return self.holds

    def __str__(self):
        return self.text

    def __repr__(self):
        return self.text


def holding(one, cases):
    """The verdict on an answer that holds."""
    tried = f"{cases} case{'' if cases == 1 else 's'}"
    return Verdict(one.number, True, cases, one.points, one.points, f"{one.number} holds: {tried}")


def refused(one, sentence):
    """The verdict on an answer of which there is no more to say than a sentence."""
    text = f"{one.number} does not hold: {sentence}"
    return Verdict(one.number, False, 0, 0, one.points, text)


def failing(one, error, shown, cases):
    """The verdict on an answer that fails: its smallest case, what was expected, one hint."""
    lines = [f"{one.number} does not hold: {error}", f"  wanted: {one.says}"]
    if shown:
        lines.append("  smallest case found:")
        lines += [line for label, value in shown.items() for line in _labelled(label, value)]
    for label, value in (("expected", error.expected), ("got", error.got)):
        if value is not None:
            lines += _labelled(label, value, indent=2)
    lines.append(f"  hint: {one.hint}")
    return Verdict(one.number, False, cases, 0, one.points, "\n".join(lines))


def _labelled(label, value, indent=4):
    """Lines such as "    W = [[1. 0.]]", with the shape of a larger array."""
    import numpy as np  # here, for those who read a verdict that another process has found

    start = " " * indent + (f"{label} = " if indent == 4 else f"{label}: ")
    if isinstance(value, np.ndarray):
        text = np.array2string(value, precision=6, threshold=40, edgeitems=3, max_line_width=78)
        text = f"{text}  shape {value.shape}" if value.size > 1 else text
    else:
        text = repr(value)
    first, *rest = text.splitlines() or [""]
    rest = rest if len(rest) < _ROWS else [*rest[: _ROWS - 1], "…"]
    return [start + first[:300], *(" " * len(start) + line[:300] for line in rest)]
