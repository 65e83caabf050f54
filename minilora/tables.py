"""Rows of cells as aligned lines of text."""


def aligned(rows):
    """Lines of text in which every column is as wide as its widest cell, the first to the left, others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [[cell.rjust(n) if i else cell.ljust(n) for i, (cell, n) in enumerate(zip(row, widths))] for row in rows]
    return "\n".join("  ".join(line) for line in lines)
