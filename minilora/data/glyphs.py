"""Small pictures of the 26 lower-case letters, drawn from the fonts that matplotlib ships.

A letter is an outline: it is centred, sheared, scaled, turned and shifted at random, then drawn with anti-aliasing
onto a small canvas, and noise is added. A `Domain` says which font and letters, and what happens to the picture: a
network learns SOURCE and meets the others for the first time.

    SOURCE     upright sans-serif letters
    LIGHTING   the same under uneven light           FRAKTUR    black-letter
    TURNED     the same, turned by 90°               SCRIPT     handwriting
    INVERTED   white and black exchanged             SERIF      serif italic
"""

from collections import namedtuple
from functools import cache

import numpy as np
from matplotlib import get_data_path
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def as_drawn(rng, images):
    """Leave the pictures as they were drawn."""
    return images


def uneven_light(rng, images):
    """Add a brightness offset, a left-right and a top-bottom gradient, each N(0, 0.5²) anew for every picture."""
    offset, across, down = rng.normal(0, 0.5, (3, len(images), 1, 1))
    ramp = np.linspace(-1, 1, images.shape[1])
    return images + offset + across * ramp + down * ramp[:, None]


def invert(rng, images):
    """Exchange ink and paper."""
    return 1 - images


class Domain(namedtuple("Domain", "name font first angle filter", defaults=[ord("a"), 0.0, as_drawn])):
    """A kind of picture: a file with a font, the Unicode code point of its a, the angle in degrees by which letters are
    turned, and a filter, (rng, images) -> images.
    """


SOURCE = Domain("sans", "DejaVuSans.ttf")
LIGHTING = Domain("lighting", "DejaVuSans.ttf", filter=uneven_light)
FRAKTUR = Domain("fraktur", "STIXGeneral.ttf", first=0x1D586)
SCRIPT = Domain("script", "STIXGeneral.ttf", first=0x1D4EA)
TURNED = Domain("turned", "DejaVuSans.ttf", angle=90.0)
INVERTED = Domain("inverted", "DejaVuSans.ttf", filter=invert)
SERIF = Domain("serif italic", "DejaVuSerif-Italic.ttf")


@cache
def outline(character, font):
    """The outline of a character, one em = 1 (the canvas), with its bounding box centred at the origin."""
    path = TextPath((0, 0), character, size=1, prop=FontProperties(fname=f"{get_data_path()}/fonts/ttf/{font}"))
    box = path.get_extents()
    return Affine2D().translate(-(box.x0 + box.x1) / 2, -(box.y0 + box.y1) / 2).transform_path(path)


def draw_letters(rng, domain, per_letter, size=12):
    """Pictures of each letter of a domain, `per_letter` times each, and their labels.

    Returns images (26 · per_letter, size²) float32, ink 1 on paper 0 before filter and noise, row by row from the top,
    and labels (26 · per_letter,) from 0 = a to 25 = z. Each picture draws from rng: an angle of ±10°, a scale of ±12 %
    for each axis, a shear of ±0.1, a shift of ±6 % of the canvas; then Gaussian noise of 0.1 for each pixel.

    Raises ValueError when per_letter is below 1.
    """
    if per_letter < 1:
        raise ValueError(f"per_letter must be at least 1, got {per_letter}")
    labels = np.repeat(np.arange(26), per_letter)
    n = len(labels)
    angles = domain.angle + rng.uniform(-10, 10, n)
    scales = size * rng.uniform(0.88, 1.12, (n, 2))
    shears = rng.uniform(-0.1, 0.1, n)
    shifts = size * (0.5 + rng.uniform(-0.06, 0.06, (n, 2)))
    renderer = RendererAgg(size, size, 72)
    pen = renderer.new_gc()
    pen.set_linewidth(0)
    images = np.empty((n, size, size))
    for i, label in enumerate(labels):
        move = Affine2D().skew(shears[i], 0).scale(*scales[i]).rotate_deg(angles[i]).translate(*shifts[i])
        renderer.clear()
        renderer.draw_path(pen, outline(chr(domain.first + label), domain.font), move, (0.0, 0.0, 0.0, 1.0))
        images[i] = np.asarray(renderer.buffer_rgba())[:, :, 3] / 255
    images = domain.filter(rng, images) + rng.normal(0, 0.1, images.shape)
    return images.reshape(n, size * size).astype(np.float32), labels
