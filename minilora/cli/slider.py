"""A figure with a slider: pictures that a lesson has computed, one for each value, to step through.

    slider = Slider("rank", (1, 2, 4), draw)    draw(figure, value) draws one of them
    slider.show()

On the site and in a notebook it is one element of HTML with all pictures inside. The slider is the
browser's own, so it can be moved by mouse, finger and arrow keys, and nothing is loaded from
elsewhere. Without scripts, and in a terminal, there is the picture of one value.
"""

import base64
import html
import io
import json
import sys

import matplotlib.pyplot as plt
from PIL import Image  # Pillow, which comes with matplotlib

_COLOURS = 32  # of a picture, and so many dots an inch: then a PNG is small
_DPI = 88
_MOST_BYTES = 150_000  # of all pictures, as the page holds them
_SCRIPT = """
const box = document.currentScript.parentElement;
const [image, line] = [box.querySelector("img"), box.querySelector("div")];
const [range, output] = [line.querySelector("input"), line.querySelector("output")];
const [pictures, values] = [PICTURES, VALUES];
range.oninput = () => {
  image.src = "data:image/png;base64," + pictures[range.value];
  output.textContent = values[range.value];
};
range.oninput();
line.hidden = false;
"""


class Slider:
    """Pictures of a figure for several values of one quantity.

    name: of the quantity, as the label of the slider. values: of the quantity, shown beside it.
    draw: called as draw(figure, value) for each. size: of the figure, in inches. start: the index
    of the value to begin with. alt: a description, for readers who cannot see it.

    Raises ValueError when there are fewer than two values, start is not an index of one, or the
    pictures are too large together for a page.
    """

    def __init__(self, name, values, draw, *, alt, size=(6, 3.2), start=0):
        if len(values) < 2:
            raise ValueError(f"values must be two or more, got {len(values)}")
        if start not in range(len(values)):
            raise ValueError(f"start must be from 0 to {len(values) - 1}, got {start!r}")
        self.name = name
        self.values = [str(value) for value in values]
        self.alt = alt
        self.start = start
        self.pictures = [_picture(draw, value, size) for value in values]
        total = sum(map(len, self.pictures)) * 4 / 3  # base64 needs 4 characters for 3 bytes
        if total > _MOST_BYTES:
            kilobytes = f"{total / 1000:.0f} kB of pictures, {_MOST_BYTES // 1000} are allowed"
            raise ValueError(f"values must be fewer, or size smaller: {kilobytes}")
        self._static = lambda: draw(plt.figure(figsize=size), values[start])

    def show(self):
        """Show the slider where HTML can be shown, and else the picture of the first value."""
        if "ipykernel" in sys.modules:
            from IPython.display import display  # there is one, where there is a kernel

            display(self)
        else:
            self._static()
            plt.show()

    def _repr_html_(self):
        """The element; Jupyter and the site ask for it by this name."""
        pictures = [base64.b64encode(picture).decode() for picture in self.pictures]
        script = _SCRIPT.replace("PICTURES", json.dumps(pictures))
        script = script.replace("VALUES", json.dumps(self.values).replace("<", "\\u003c"))
        name, alt = html.escape(self.name), html.escape(self.alt)
        return (
            f'<div class="slider"><img src="data:image/png;base64,{pictures[self.start]}" '
            f'alt="{alt}"><div hidden><label>{name} <input type="range" min="0" '
            f'max="{len(pictures) - 1}" value="{self.start}"> <output></output></label></div>'
            f"<script>{{{script}}}</script></div>"
        )


def _picture(draw, value, size):
    """The bytes of a PNG of one value, in few colours."""
    figure = plt.figure(figsize=size)
    draw(figure, value)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI)
    plt.close(figure)
    small = io.BytesIO()
    Image.open(file).convert("RGB").quantize(_COLOURS).save(small, format="png", optimize=True)
    return small.getvalue()
