"""Small images of the 26 lower-case letters, drawn from the fonts that matplotlib ships.

A letter is an outline: it is centred, sheared, scaled, rotated and shifted at random, then drawn
with anti-aliasing onto a small canvas, and noise is added. A `Domain` says which font is used, and
what happens to the image. A network learns SOURCE; the other domains are unseen until it is
adapted:

    SOURCE     upright sans-serif letters
    LIGHTING   the same under uneven light           FRAKTUR    black-letter
    ROTATED    the same, rotated by 90°              SCRIPT     handwriting
    INVERTED   black and white exchanged             SERIF      serif italic
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import get_data_path
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from minilora.checks import check_count, check_rng

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_LARGEST = 2**16 - 1  # pixels along a side that matplotlib can draw


def _as_drawn(rng, images):
    """Leave the images as they were drawn."""
    return images


def _uneven_light(rng, images):
    """Add an offset, a left-right and a top-bottom gradient to each image, all from N(0, 0.5²)."""
    offset, across, down = rng.normal(0, 0.5, (3, len(images), 1, 1))
    ramp = np.linspace(-1, 1, images.shape[1])
    return images + offset + across * ramp + down * ramp[:, None]


def _invert(rng, images):
    """Exchange ink and paper."""
    return 1 - images


class Domain(NamedTuple):
    """A kind of image. `SOURCE._replace(angle=180.0)` is a domain of your own.

    name     what tables and figures call it
    font     a file among matplotlib's fonts, or the path of any other TrueType font
    first    the Unicode code point of the letter that stands for a; b to z follow it
    angle    degrees by which every letter is rotated, counter-clockwise
    filter   (rng, images) -> images, both (n, size, size); called before the noise is added
    """

    name: str
    font: str
    first: int = ord("a")
    angle: float = 0.0
    filter: Callable = _as_drawn


SOURCE = Domain("sans", "DejaVuSans.ttf")
LIGHTING = Domain("lighting", "DejaVuSans.ttf", filter=_uneven_light)
FRAKTUR = Domain("fraktur", "STIXGeneral.ttf", first=0x1D586)
SCRIPT = Domain("script", "STIXGeneral.ttf", first=0x1D4EA)
ROTATED = Domain("rotated", "DejaVuSans.ttf", angle=90.0)
INVERTED = Domain("inverted", "DejaVuSans.ttf", filter=_invert)
SERIF = Domain("serif italic", "DejaVuSerif-Italic.ttf")


def draw_letters(rng, domain, per_letter, size=12):
    """Images of the 26 letters of a domain, `per_letter` of each, and their labels.

    Returns images (26 · per_letter, size²) float32, ink 1 on paper 0 before filter and noise, row
    by row from the top, and labels (26 · per_letter,) from 0 = a to 25 = z. Each image draws from
    rng: an angle of ±10°, a scale of ±12 % for each axis, a shear of ±0.1, a shift of ±6 % of the
    canvas; then Gaussian noise with standard deviation 0.1 for each pixel.

    Raises ValueError unless rng is a generator, domain a Domain whose font is there, and per_letter
    and size are integers of at least 1.
    """
    check_rng(rng)
    if not isinstance(domain, Domain):
        raise ValueError(f"domain must be a Domain, such as SOURCE or ROTATED, got {domain!r}")
    check_count("per_letter", per_letter)
    check_count("size", size, most=_LARGEST)
    labels = np.repeat(np.arange(26), per_letter)
    placements = _random_placements(rng, domain.angle, len(labels), size)
    letters = [_outline(chr(domain.first + label), domain.font) for label in labels]
    images = domain.filter(rng, _render(letters, placements, size))
    noisy = images + rng.normal(0, 0.1, images.shape)
    return noisy.reshape(len(labels), size * size).astype(np.float32), labels


def _random_placements(rng, angle, n, size):
    """n affine maps from a centred outline, one em = 1, to a canvas of size × size pixels."""
    angles = angle + rng.uniform(-10, 10, n)
    scales = size * rng.uniform(0.88, 1.12, (n, 2))
    shears = rng.uniform(-0.1, 0.1, n)
    shifts = size * (0.5 + rng.uniform(-0.06, 0.06, (n, 2)))
    placements = []
    for i in range(n):
        sheared = Affine2D().skew(shears[i], 0).scale(*scales[i])
        placements.append(sheared.rotate_deg(angles[i]).translate(*shifts[i]))
    return placements


def _render(letters, placements, size):
    """The share of each pixel that ink covers, (n, size, size), row by row from the top."""
    renderer = RendererAgg(size, size, 72)
    pen = renderer.new_gc()
    pen.set_linewidth(0)
    black = (0.0, 0.0, 0.0, 1.0)
    images = np.empty((len(letters), size, size))
    for image, letter, placement in zip(images, letters, placements):
        renderer.clear()
        renderer.draw_path(pen, letter, placement, black)
        image[:] = np.asarray(renderer.buffer_rgba())[:, :, 3] / 255
    return images


@cache
def _outline(character, font):
    """The outline of a character, one em = 1 (the canvas), its bounding box around the origin."""
    file = Path(get_data_path(), "fonts", "ttf", font)
    if not file.is_file():
        raise ValueError(f"domain.font must be one of matplotlib's fonts or a path, got {font!r}")
    path = TextPath((0, 0), character, size=1, prop=FontProperties(fname=str(file)))
    box = path.get_extents()
    centre_x = (box.x0 + box.x1) / 2
    centre_y = (box.y0 + box.y1) / 2
    return Affine2D().translate(-centre_x, -centre_y).transform_path(path)
