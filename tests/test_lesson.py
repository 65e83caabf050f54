"""What lessons share: one thread, a style, colours, and figures with a slider."""

import base64
import io
import re
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from minilora.cli.lesson import start_lesson
from minilora.cli.slider import Slider

VALUES = (1, 2, 4, 8)


def draw(figure, value):
    """A frame that is as many points high as the value says."""
    figure.add_axes((0, 0, 1, value / 10), facecolor="black", xticks=[], yticks=[])


def heights(slider):
    """The dark share of each picture, as the browser would get it."""
    text = slider._repr_html_()
    pictures = re.search(r'\[\["(.*?)"\], \[', text).group(1).split('", "')
    images = [Image.open(io.BytesIO(base64.b64decode(picture))) for picture in pictures]
    return [np.mean(np.array(image.convert("L")) < 128) for image in images]


def test_a_slider_has_the_picture_of_each_value():
    slider = Slider("rank", VALUES, draw, alt="a bar", size=(2, 2))
    np.testing.assert_allclose(heights(slider), np.array(VALUES) / 10, atol=0.02)
    assert plt.get_fignums() == []


def test_the_first_picture_is_there_without_scripts_and_the_slider_is_not():
    text = Slider("rank <r>", VALUES, draw, alt='"four" bars', size=(2, 2), start=2)._repr_html_()
    without = re.sub(r"<script>.*</script>", "", text, flags=re.DOTALL)
    first = re.search(r'<img src="data:image/png;base64,(.*?)"', without).group(1)
    dark = np.mean(np.array(Image.open(io.BytesIO(base64.b64decode(first))).convert("L")) < 128)
    assert abs(dark - 0.4) < 0.02
    assert "<div hidden><label>rank &lt;r&gt; <input" in without
    assert 'alt="&quot;four&quot; bars"' in without
    assert "http" not in text and "</script>" in text and text.count("<script>") == 1


def test_in_a_terminal_a_slider_is_the_figure_of_its_first_value(monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf().axes[0].get_position().height))
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    Slider("rank", VALUES, draw, alt="a bar", start=1).show()
    plt.close("all")
    assert shown == [pytest.approx(0.2)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": [1]}, "^values must be two or more, got 1"),
        ({"start": 4}, "^start must be from 0 to 3, got 4"),
    ],
)
def test_a_slider_refuses_what_it_cannot_show(change, message):
    options = {"values": VALUES, "start": 0, **change}
    with pytest.raises(ValueError, match=message):
        Slider("rank", options["values"], draw, alt="a bar", start=options["start"])


def test_a_slider_that_would_make_a_page_heavy_is_refused(rng):
    noise = rng.random((9, 200, 200))
    with pytest.raises(
        ValueError, match=r"^values must be fewer, or size smaller: .* 150 are allowed"
    ):
        Slider("n", range(9), lambda figure, n: figure.figimage(noise[n]), alt="noise", size=(9, 6))


def test_start_lesson_sets_the_style_and_leaves_one_thread_to_blas():
    with plt.rc_context():
        start_lesson()
        assert not plt.rcParams["axes.spines.top"]
    code = "import os, sys, minilora.cli.lesson\n"
    code += "sys.exit('numpy' in sys.modules or os.environ['OPENBLAS_NUM_THREADS'] != '1')"
    environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
