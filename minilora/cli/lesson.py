"""What every lesson sets up before its first line of output: threads, figures, any terminal.

    from minilora.cli.lesson import BLUE, GREY, ORANGE, start_lesson

    start_lesson()

The colours can be told apart by colour-blind readers too, and are those of the figures' first
lines: Okabe & Ito, 2008, "Color Universal Design".
"""

import os
from pathlib import Path

from minilora.cli.output import survive_any_output

BLUE = "#0072b2"
ORANGE = "#d55e00"
GREEN = "#009e73"
GREY = "#8a8f98"
SKY = "#56b4e9"

# Matrices as small as those of the lessons run faster on one thread. NumPy reads this when it is
# imported, so a lesson imports this file first.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def start_lesson():
    """Give figures the lessons' style, and let a terminal that lacks λ or → print their names."""
    import matplotlib.pyplot as plt  # after the line on threads, for it imports NumPy

    survive_any_output()
    plt.style.use(Path(__file__).with_name("lesson.mplstyle"))
