"""Rows of cells as aligned lines of text."""


def aligned(rows):
    """Lines of text in which every column is as wide as its widest cell, the first to the left, others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths)))
        for row in rows
    )
