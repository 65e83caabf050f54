"""The comparisons on letters and on text, as `python -m minilora` makes them."""

import inspect
import io
import math
import os
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
from support.command_line import table_of

from minilora.adapters import HRA, LoRA, SBoRAFA
from minilora.adapters.hra import orthogonality_penalty
from minilora.attachment import attach
from minilora.cli import letters, text
from minilora.cli.comparison import Length, Method, adapt
from minilora.cli.main import main
from minilora.data.text import windows
from minilora.models.mlp import init_mlp, mlp
from minilora.models.transformer import init_transformer
from minilora.quantization import Quantized

FIGURES = ("letters.png", "accuracy.png")
# Every warning is an error, except what other packages deprecate among themselves.
WARNINGS = ("-Werror", "-Wignore::DeprecationWarning")


def trained_on_noise(method, rng):
    """A small network adapted to random labels, (attached, params)."""
    weights = init_mlp(rng, (6, 8, 8, 3))
    x = rng.standard_normal((50, 6)).astype(np.float32)
    labels = rng.integers(3, size=50)
    attached, params, seconds = adapt(
        method, weights, letters.mlp_loss, (x, labels), rng=rng, steps=150, batch=20, task="noise"
    )
    assert seconds > 0
    return attached, params


def test_the_strength_of_hras_regulariser_pulls_its_vectors_apart():
    """Without it pairs stay nearly parallel, with it they end nearly orthogonal; 0 to 12 can be."""
    left = []
    for strength in (0.0, 10.0):
        method = Method("HRA", "", {"layers.1.W": HRA(4)}, lr=1e-2, strength=strength)
        _, params = trained_on_noise(method, np.random.default_rng(0))
        left.append(orthogonality_penalty(params["layers.1.W"]["U"]))
    assert left[0] > 1.0
    assert left[1] < 0.05


def test_four_bits_are_for_the_adapted_weights_alone(rng):
    adapters = {"layers.[01].W": SBoRAFA(4)}
    method = Method("QSBoRA-FA", "r=4", adapters, lr=1e-2, four_bits=True)
    attached, _ = trained_on_noise(method, rng)
    quantized = [name for name, W in attached.weights.items() if isinstance(W, Quantized)]
    assert quantized == ["layers.0.W", "layers.1.W"]
    assert attached.total == 6 * 8 + 8 + 8 * 8 + 8 + 8 * 3 + 3


def test_a_debugger_reaches_loras_formula_from_the_model_in_four_frames(rng):
    """mlp → linear → Adapted.__call__ → LoRA.forward: stepping into a call ends at the formula."""
    frames = []

    class Watched(LoRA):
        def forward(self, params, frozen, x):
            frames.append([frame.function for frame in inspect.stack()])
            return super().forward(params, frozen, x)

    weights = init_mlp(rng, (5, 6, 3))
    attached = attach(weights, {"layers.0.W": Watched(2)}, rng=rng)
    mlp(attached.bind(), np.ones((1, 5), np.float32))
    this_test = "test_a_debugger_reaches_loras_formula_from_the_model_in_four_frames"
    assert frames[0].index(this_test) <= 4


def test_text_compares_every_method_too(monkeypatch):
    """In so few steps nothing is learned, but every method runs on the Transformer."""
    results = {}

    def compare(seed, length):
        results.update(text_comparison(seed, Length(pretrain_steps=3, adapt_steps=1)))

    text_comparison = text.compare_on_text
    monkeypatch.setattr(text, "compare_on_text", compare)
    monkeypatch.setattr(
        text, "windows", lambda rng, tokens, n, size: windows(rng, tokens, 20, size)
    )
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp437"))
    assert main(["text", "--fast"]) == 0
    printed = raw.getvalue().decode("cp437")
    assert list(results) == [method.name for method in text.METHODS]
    assert results["full fine-tuning"].trainable == 213_376
    assert results["LoRA r=8"].trainable == 4 * 8 * (4 * 128 + 2 * 320)
    assert results["CondLoRA r=16"].trainable == 16 * (4 * 128 + 2 * 320)
    for outcome in results.values():
        assert isinstance(outcome, text.TextOutcome)
        assert outcome.trainable > 0
        assert 3 < outcome.code_bits < 7
        assert 3 < outcome.prose_bits < 7
    for method in text.METHODS:
        assert method.name.replace("λ", "lambda") in printed
    assert "--- before: 'def read(self, ' continued ---\ndef read(self, " in printed
    assert "A Transformer with 213,376 parameters has learned" in printed


def test_a_model_that_knows_nothing_needs_log2_of_96_bits_a_character(rng):
    weights = init_transformer(rng, 96, text.CONTEXT, 8, 1, tied=False)
    weights["head.W"] = np.zeros_like(weights["head.W"])
    tokens = rng.integers(96, size=400)
    assert text.bits_per_character(weights, tokens) == pytest.approx(math.log2(96), rel=1e-6)


def test_every_window_is_followed_by_itself_one_character_later():
    inputs, targets = text.all_windows(np.arange(100))
    assert inputs.shape == targets.shape == (100 - text.CONTEXT, text.CONTEXT)
    np.testing.assert_array_equal(targets, inputs + 1)
    np.testing.assert_array_equal(inputs[-1], np.arange(99 - text.CONTEXT, 99))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The fast form where a notebook on Windows would run it: what it printed, and its folder."""
    environment = {"PYTHONIOENCODING": "cp1252", "MPLBACKEND": "module://not_installed"}
    out = tmp_path_factory.mktemp("letters") / "new" / "folder"
    done = subprocess.run(
        [sys.executable, *WARNINGS, "-m", "minilora", "--fast", "--out", str(out)],
        capture_output=True,
        encoding="cp1252",
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done, out


def test_every_method_is_compared_in_a_table(finished):
    table = table_of(finished[0].stdout)
    names = [method.name for method in letters.METHODS]
    assert list(table) == [name.replace("λ", "lambda") for name in names]
    for cells in table.values():
        assert list(cells) == [
            "trainable",
            "share",
            "fraktur",
            "lighting",
            "rotated",
            "source accuracy",
            "|merged - unmerged|",
            "seconds",
        ]
        for domain in ("fraktur", "lighting", "rotated"):
            before, after = (float(number) for number in cells[domain].split(" -> "))
            assert before < 45
            assert before + 10 < after <= 100
        assert float(cells["|merged - unmerged|"]) < 1e-3
    assert table["full fine-tuning"]["trainable"] == "87,290"
    assert table["full fine-tuning"]["share"] == "100.0%"
    assert table["head only"]["trainable"] == "3,770"
    assert table["LoRA r=4"]["trainable"] == "4,608"
    assert table["CondLoRA r=16"]["trainable"] == "4,608"
    assert table["QSBoRA-FA r=32"]["trainable"] == "18,432"


def test_what_was_done_is_said_and_stderr_stays_empty(finished):
    done, out = finished
    assert done.stderr == ""
    for figure in FIGURES:
        assert f"wrote {out / figure}" in done.stdout
    assert "layers.3.W  144 × 144  LoRA(rank=4)      1,152" in done.stdout
    assert "?" not in done.stdout.replace(str(out), "")


def test_the_figures_are_images_with_something_on_them(finished):
    for figure in FIGURES:
        image = matplotlib.image.imread(finished[1] / figure)
        height, width = image.shape[:2]
        assert 700 < width < 2000
        assert 300 < height < 1200
        colours = np.round(255 * image).astype(np.uint8)
        assert len(np.unique(colours.view(np.uint32))) > 50
