"""Layers that PEFT's model keeps as Wᵀ: who says so, and what happens when nobody does."""

import json
import shutil

import numpy as np
import pytest
from support.checkpoints import OUTPUTS, decoded, relative
from support.golden import DATA, INPUTS, WEIGHTS

from minilora.adapters import HRA, Full, LoRA
from minilora.attachment import attach
from minilora.models.mlp import mlp
from minilora.peft import read_peft, write_peft
from minilora.peft.checkpoint import ARRAYS
from minilora.peft.settings import CONFIG
from minilora.testing.rows import moved

# As GPT-2's file has it: c_attn is not square, c_proj is, and a head is no Conv1D.
SHAPES = {
    "h.0.attn.c_attn.weight": (12, 4),
    "h.0.attn.c_proj.weight": (4, 4),
    "score.weight": (4, 4),
}


def is_conv1d(name):
    return ".c_" in name


@pytest.fixture
def gpt2(rng):
    """(weights as W, the same as in the file)."""
    weights = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
    weights["h.0.attn.c_proj.bias"] = rng.standard_normal(4)
    stored = {name: W.T if is_conv1d(name) else W for name, W in weights.items()}
    return weights, stored


def written(rng, folder, weights, adapters, fan_in_fan_out=is_conv1d):
    """A checkpoint of these adapters, and the merged weights that it stands for."""
    attached = attach(weights, adapters, rng=rng)
    params = {key: moved(rng, own) for key, own in attached.params.items()}
    write_peft(folder, attached, params, fan_in_fan_out=fan_in_fan_out)
    return attached.merge(params)


def same(merged, expected):
    return all(relative(merged[name], W) < 1e-14 for name, W in expected.items())


@pytest.mark.parametrize(
    "adapters",
    [
        {"*.c_proj.weight": LoRA(2)},
        {"*.c_*.weight": LoRA(2)},
        {"*.c_attn.weight": LoRA(2), "*.c_proj.weight": Full(), "*.bias": Full()},
        {"*.c_proj.weight": LoRA(2), "score.weight": Full()},
    ],
    ids=str,
)
def test_weights_as_in_the_file_are_transposed_where_the_function_says_so(
    adapters, gpt2, rng, tmp_path
):
    weights, stored = gpt2
    expected = written(rng, tmp_path, weights, adapters)
    assert json.loads((tmp_path / CONFIG).read_text())["fan_in_fan_out"] is True
    attached = read_peft(tmp_path, stored, fan_in_fan_out=is_conv1d)
    assert same(attached.merge(), expected)
    assert same(attached.weights, weights)
    write_peft(tmp_path / "again", attached, fan_in_fan_out=is_conv1d)
    for file in (CONFIG, ARRAYS):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / file).read_bytes()


def test_a_whole_layer_is_in_the_file_as_peft_keeps_it(gpt2, rng, tmp_path):
    weights, _ = gpt2
    adapters = {"*.c_attn.weight": LoRA(2), "*.c_proj.*": Full(), "score.weight": Full()}
    expected = written(rng, tmp_path, weights, adapters)
    arrays = decoded((tmp_path / ARRAYS).read_bytes())
    for name in ("h.0.attn.c_proj.weight", "score.weight"):
        W = expected[name].T if is_conv1d(name) else expected[name]
        np.testing.assert_array_equal(arrays[f"base_model.model.{name}"], W)


def test_square_layers_alone_must_be_said_to_be_w(gpt2, rng, tmp_path):
    """Both W and Wᵀ fit, and one of them gives another model."""
    weights, stored = gpt2
    expected = written(rng, tmp_path, weights, {"*.c_proj.weight": LoRA(2)})
    says = r"^folder .*keeps Wᵀ \(fan_in_fan_out\), and 'h.0.attn.c_proj.weight' is square: pass "
    for given in (weights, stored):
        with pytest.raises(ValueError, match=says):
            read_peft(tmp_path, given)
    assert same(read_peft(tmp_path, weights, fan_in_fan_out=False).merge(), expected)
    wrong = read_peft(tmp_path, stored, fan_in_fan_out=False).merge()
    assert relative(wrong["h.0.attn.c_proj.weight"].T, expected["h.0.attn.c_proj.weight"]) > 0.1


def test_a_layer_that_is_not_square_shows_how_the_weights_lie(gpt2, rng, tmp_path):
    weights, stored = gpt2
    expected = written(rng, tmp_path, weights, {"*.c_*.weight": LoRA(2)})
    assert same(read_peft(tmp_path, weights).merge(), expected)
    says = (
        r"has an adapter for shape \(12, 4\), the weight has \(4, 12\), its transpose: see fan_in"
    )
    with pytest.raises(ValueError, match=says):
        read_peft(tmp_path, stored)


def test_a_square_layer_that_was_trained_whole_needs_the_function(gpt2, rng, tmp_path):
    """False says how `weights` lies, but not which layers the file has as Wᵀ."""
    weights, stored = gpt2
    adapters = {"*.c_attn.weight": LoRA(2), "*.c_proj.weight": Full()}
    expected = written(rng, tmp_path, weights, adapters)
    for said in (None, False):
        says = r"'h.0.attn.c_proj.weight' is square: it was trained whole, so weights must have Wᵀ"
        with pytest.raises(ValueError, match=f"{says}.*must be a function of the name") as refused:
            read_peft(tmp_path, weights, fan_in_fan_out=said)
        assert "fan_in_fan_out=False" not in str(refused.value)
    assert same(read_peft(tmp_path, stored, fan_in_fan_out=is_conv1d).merge(), expected)


def test_true_stands_for_every_matrix(rng, tmp_path):
    weights = {"c_attn.weight": rng.standard_normal((6, 4)), "c_attn.bias": rng.standard_normal(6)}
    expected = written(rng, tmp_path, weights, {"c_attn.weight": LoRA(2)}, fan_in_fan_out=True)
    stored = {name: W.T for name, W in weights.items()}
    attached = read_peft(tmp_path, stored, fan_in_fan_out=True)
    assert same(attached.merge(), expected)
    assert same(attached.weights, weights)


def test_true_is_clear_for_a_square_layer_that_was_trained_whole(rng, tmp_path):
    weights = {name: rng.standard_normal((4, 4)) for name in ("c_attn.weight", "c_proj.weight")}
    adapters = {"c_attn.weight": LoRA(2), "c_proj.weight": Full()}
    expected = written(rng, tmp_path, weights, adapters, fan_in_fan_out=True)
    stored = {name: W.T for name, W in weights.items()}
    assert same(read_peft(tmp_path, stored, fan_in_fan_out=True).merge(), expected)


def test_a_checkpoint_of_other_layers_says_nothing_of_orientation(gpt2, rng, tmp_path):
    """HRA has no such flag, and a head beside it is no Conv1D."""
    weights, _ = gpt2
    written(rng, tmp_path, weights, {"*.c_proj.weight": HRA(2)})
    assert "fan_in_fan_out" not in json.loads((tmp_path / CONFIG).read_text())
    written(rng, tmp_path, weights, {"score.weight": LoRA(2)})
    assert "fan_in_fan_out" not in json.loads((tmp_path / CONFIG).read_text())


def test_the_checkpoint_of_peft_with_wt_is_read_from_both(tmp_path):
    """Its layers.1 is square, and PEFT keeps it as Wᵀ."""
    shutil.copytree(DATA / "fan_in_fan_out", tmp_path, dirs_exist_ok=True)
    stored = {**WEIGHTS, "layers.1.W": WEIGHTS["layers.1.W"].T}
    for weights, said in ((stored, lambda name: "1" in name), (WEIGHTS, False)):
        attached = read_peft(tmp_path, weights, fan_in_fan_out=said)
        assert relative(mlp(attached.bind(), INPUTS), OUTPUTS["fan_in_fan_out"]) < 1e-12
    with pytest.raises(ValueError, match=r"'layers.1.W' is square"):
        read_peft(tmp_path, WEIGHTS)
