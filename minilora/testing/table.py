"""The table of a run: a line for each claim or promise, with its cases and the verdict."""

from typing import NamedTuple


class Line(NamedTuple):
    """One line of the table."""

    source: str  # the paper, or who else says so, or whose contract it is
    number: str  # "A1.1"
    statement: str
    cases: int  # checks made
    worst: float  # the largest error / tolerance, above 1 where it fails
    verdict: str  # "holds", "FAILS", "expected (why)"
    seconds: float = 0.0
    reason: str = ""  # why it fails, some lines


def claims_table(lines):
    """The lines of a table, ordered by source and number. A claim may come in several lines."""
    claims = {}
    for line in lines:
        key = (line.source, line.number, line.statement)
        claims[key] = _sum(claims[key], line) if key in claims else line
    width = max(len(line.statement) for line in claims.values())
    table = []
    source = None
    for line in sorted(claims.values(), key=_reading_order):
        if line.source != source:
            source = line.source
            table.append(f"{source:<{width + 8}}    cases    worst")
        start = f"  {line.number:<5} {line.statement:<{width}}"
        table.append(f"{start} {line.cases:>8,}  {line.worst:>7.1e}  {line.verdict}")
    table.append("cases: checks made. worst: the largest error as a share of what is allowed;")
    table.append("0 is exact, 1 an inequality that is attained, and more is a failure.")
    return table


def slow_lines(lines, limit=10.0):
    """A note for every promise that took more than `limit` seconds."""
    return [f"{line.number} took {line.seconds:.0f} s" for line in lines if line.seconds > limit]


def _sum(one, other):
    """Two lines of one claim as one; it holds if both do."""
    return one._replace(
        cases=one.cases + other.cases,
        worst=max(one.worst, other.worst),
        verdict=other.verdict if one.verdict == "holds" else one.verdict,
    )


def _reading_order(line):
    """Sort by source, then A2 before A10."""
    digits = [int(part) for part in line.number[1:].split(".") if part.isdigit()]
    return line.source, line.number[:1], digits, line.statement
