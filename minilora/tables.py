"""Rows of cells as aligned lines of text."""


def aligned(rows):
    """Lines of text with columns as wide as their widest cell: the first left, others right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths)]
        cells[0] = row[0].ljust(widths[0])
        lines.append("  ".join(cells))
    return "\n".join(lines)
