"""Reading what the command line prints."""

from minilora.cli import letters


def cells_of(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def table_of(printed, methods=letters.METHODS):
    """The table of results: {method: {column: cell}}."""
    lines = printed.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("accuracy in %"))
    body = lines[head : head + 1 + len(methods)]
    assert len({len(line) for line in body}) == 1
    names = cells_of(body[0])
    rows = [cells_of(line) for line in body[1:]]
    return {row[0]: dict(zip(names[1:], row[1:], strict=True)) for row in rows}
