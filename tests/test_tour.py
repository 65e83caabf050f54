"""The tour, as a newcomer runs it."""

import inspect
import math
import os
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest

from minilora.adapters import HRA, LoRA, SBoRAFA
from minilora.adapters.hra import orthogonality_penalty
from minilora.attach import attach
from minilora.models.mlp import init_mlp, mlp
from minilora.models.transformer import init_transformer
from minilora.quantize import Quantized
from minilora.tours import letters, text
from minilora.tours.method import Method, adapt


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The fast tour in a process of its own: what it printed, and its folder."""
    out = tmp_path_factory.mktemp("tour") / "new" / "folder"
    command = [sys.executable, "-W", "error", "-m", "minilora", "--fast", "--out", str(out)]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment)
    assert done.returncode == 0, done.stderr
    return done, out


def rows(text):
    """The table of the tour: {method: {column: cell}}."""
    lines = text.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("accuracy in %"))
    names = [cell.strip() for cell in lines[head].split("  ") if cell.strip()]
    table = {}
    for line in lines[head + 1 : head + 1 + len(letters.METHODS)]:
        cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
        table[cells[0]] = dict(zip(names[1:], cells[1:], strict=True))
    return table


def test_the_tour_compares_every_method_in_a_table(finished):
    table = rows(finished[0].stdout)
    assert list(table) == [method.name for method in letters.METHODS]
    for cells in table.values():
        assert set(cells) == {
            "trained",
            "share",
            "fraktur",
            "lighting",
            "turned",
            "old kept",
            "|merged − unmerged|",
            "seconds",
        }
        for domain in ("fraktur", "lighting", "turned"):
            before, after = (float(number) for number in cells[domain].split(" → "))
            assert before < 45
            assert before + 10 < after <= 100
        assert float(cells["|merged − unmerged|"]) < 1e-3
    assert table["full fine-tuning"]["trained"] == "87,290"
    assert table["full fine-tuning"]["share"] == "100.0%"
    assert table["head only"]["trained"] == "3,770"
    assert table["LoRA r=4"]["trained"] == "4,608"
    assert table["CondLoRA r=16"]["trained"] == "4,608"
    assert table["QSBoRA-FA r=32"]["trained"] == "18,432"


def test_the_tour_says_what_it_did_and_is_silent_on_stderr(finished):
    done, out = finished
    assert done.stderr == ""
    for figure in ("letters.png", "accuracy.png"):
        assert f"wrote {out / figure}" in done.stdout
    assert "Trained: 4,608 numbers, 5.28% of the model's 87,290." in done.stdout


def test_the_figures_are_pictures_with_something_on_them(finished):
    for figure in ("letters.png", "accuracy.png"):
        picture = matplotlib.image.imread(finished[1] / figure)
        height, width = picture.shape[:2]
        assert 700 < width < 2000
        assert 300 < height < 1200
        assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 50


def test_the_tour_on_text_compares_every_method_too():
    """In the fast form nothing is learnt, but every method runs on the Transformer and is counted."""
    said = []
    outcomes = text.run(0, text.Length(pretrain_steps=3, adapt_steps=1), say=said.append)
    assert list(outcomes) == [method.name for method in text.METHODS]
    assert outcomes["full fine-tuning"][0] == 213_376
    assert outcomes["LoRA r=8"][0] == 4 * 8 * (4 * 128 + 2 * 320)
    assert outcomes["CondLoRA r=16"][0] == 16 * (4 * 128 + 2 * 320)
    for trained, code, prose, _ in outcomes.values():
        assert trained > 0
        assert 3 < code < 7
        assert 3 < prose < 7
    printed = "\n".join(said)
    assert all(method.name in printed for method in text.METHODS)
    assert "--- before: 'def read(self, ' continued ---\ndef read(self, " in printed


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


def trained_on_noise(method, rng):
    """A small network adapted to random labels, (attached, params)."""
    weights = init_mlp(rng, (6, 8, 8, 3))
    data = rng.standard_normal((50, 6)).astype(np.float32), rng.integers(3, size=50)
    attached, params, seconds = adapt(method, weights, letters.mlp_loss, data, rng, steps=150, batch=20, task="noise")
    assert seconds > 0
    return attached, params


def test_the_strength_of_hras_regulariser_pulls_its_vectors_apart():
    """Without it the pairs stay nearly parallel, with it they end nearly orthogonal; 0 … 4 · 3 is what can be."""
    left = []
    for strength in (0.0, 10.0):
        method = Method("HRA", "", {"layers.1.W": HRA(4)}, lr=1e-2, strength=strength)
        _, params = trained_on_noise(method, np.random.default_rng(0))
        left.append(orthogonality_penalty(params["layers.1.W"]["U"]))
    assert left[0] > 1.0
    assert left[1] < 0.05


def test_four_bits_are_for_the_adapted_weights_alone(rng):
    method = Method("QSBoRA-FA", "r=4", {"layers.[01].W": SBoRAFA(4)}, lr=1e-2, four_bits=True)
    attached, _ = trained_on_noise(method, rng)
    quantized = [name for name, W in attached.weights.items() if isinstance(W, Quantized)]
    assert quantized == ["layers.0.W", "layers.1.W"]
    assert attached.total == 6 * 8 + 8 + 8 * 8 + 8 + 8 * 3 + 3


@pytest.mark.parametrize(
    "arguments, name",
    [
        (["--seed", "-1"], "letters takes a --seed of 0 or more and no model, got --seed -1"),
        (["--out", "file/folder"], "file/folder"),
        (["songs"], "songs"),
        (["text", "llama3-8b"], "text takes a --seed of 0 or more and no model, got --seed 0 and model llama3-8b"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_trained(arguments, name, tmp_path):
    (tmp_path / "file").write_text("kept")
    command = [sys.executable, "-m", "minilora", *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=tmp_path)
    assert done.returncode == 2
    assert name in done.stderr
    assert done.stdout == ""
    assert (tmp_path / "file").read_text() == "kept"


def test_a_debugger_reaches_loras_formula_from_the_tour_in_four_frames(rng):
    """mlp → linear → Adapted.__call__ → LoRA.forward: stepping into a call of the model ends at the formula."""
    frames = []

    class Watched(LoRA):
        def forward(self, params, frozen, x):
            frames.append([frame.function for frame in inspect.stack()])
            return super().forward(params, frozen, x)

    weights = init_mlp(rng, (5, 6, 3))
    attached = attach(weights, {"layers.0.W": Watched(2)}, rng)
    mlp(attached.bind(attached.params), np.ones((1, 5), np.float32))
    assert frames[0].index("test_a_debugger_reaches_loras_formula_from_the_tour_in_four_frames") <= 4
