"""The bridge to PEFT without PEFT: checkpoints that it made, and what is written and read here."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from support.checkpoints import OUTPUTS, decoded, relative, taken
from support.golden import DATA, INPUTS, WEIGHTS

from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.adapters.scaling import alpha_over_sqrt_rank
from minilora.attachment import attach, kind
from minilora.models.mlp import mlp
from minilora.models.transformer import init_transformer
from minilora.peft import layer_of, read_peft, write_peft
from minilora.peft.checkpoint import ARRAYS
from minilora.peft.safetensors import unpack
from minilora.peft.settings import CONFIG
from minilora.quantization import quantize
from minilora.testing.claims import MANGRULKAR, OURS, claim, exactly, within
from minilora.testing.rows import moved
from minilora.weight import describe

# Checkpoints that PEFT made.


@claim(
    "H3", MANGRULKAR, "stored checkpoints of PEFT 0.21 give the outputs that PEFT gave, to 1e-12"
)
@pytest.mark.parametrize("name", OUTPUTS)
def test_a_checkpoint_of_peft_computes_here_what_it_computes_there(name):
    """The 14 in tutorials/checkpoints: LoRA, rsLoRA, patterns, GPT-2's orientation, HRA even, odd
    and strict, heads and biases.

    They are stored in 64, 32 or 16 bits and computed in float64, on one MLP of three layers, and
    three inputs. The tolerance is a share of the largest output.
    """
    assert len(OUTPUTS) == 14
    attached = read_peft(DATA / name, WEIGHTS, fan_in_fan_out=False)
    within(relative(mlp(attached.bind(attached.params), INPUTS), OUTPUTS[name]), 1e-12)
    within(relative(mlp(attached.merge(attached.params), INPUTS), OUTPUTS[name]), 1e-12)
    assert relative(mlp(WEIGHTS, INPUTS), OUTPUTS[name]) > 1e-3


@pytest.mark.parametrize(
    "name, adapters",
    [
        ("lora", {"layers.0.W": LoRA(2, 5), "layers.2.W": LoRA(2, 5)}),
        ("rslora", {f"layers.{i}.W": LoRA(2, 5, alpha_over_sqrt_rank) for i in (0, 2)}),
        ("fan_in_fan_out", {"layers.1.W": LoRA(2, 3)}),
        ("hra", {"layers.0.W": HRA(4), "layers.2.W": HRA(4)}),
        ("hra_odd", {"layers.0.W": HRA(3, odd=True), "layers.2.W": HRA(3, odd=True)}),
        ("hra_apply_gs", {"layers.0.W": HRAStrict(2), "layers.2.W": HRAStrict(2)}),
        (
            "modules_to_save",
            {"layers.0.W": LoRA(2, 8), "layers.2.W": Full(), "layers.2.b": Full()},
        ),
        ("bias", {"layers.0.W": LoRA(2, 8), "layers.0.b": Full()}),
        (
            "bias_all",
            {
                "layers.0.W": HRA(2),
                "layers.0.b": Full(),
                "layers.1.b": Full(),
                "layers.2.W": Full(),
                "layers.2.b": Full(),
            },
        ),
        (
            "patterns",
            {
                "layers.0.W": LoRA(3, 0.5, alpha_over_sqrt_rank),
                "layers.1.W": LoRA(1, 5, alpha_over_sqrt_rank),
                "layers.2.W": LoRA(1, 9, alpha_over_sqrt_rank),
            },
        ),
    ],
)
def test_the_configuration_becomes_adapters(name, adapters):
    assert read_peft(DATA / name, WEIGHTS, fan_in_fan_out=False).adapters == adapters


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_parameters_are_those_of_the_file(name):
    """Exactly, for every width is a subset of float64."""
    expected = decoded((DATA / name / ARRAYS).read_bytes())
    params = read_peft(DATA / name, WEIGHTS, fan_in_fan_out=False).params
    endings = {"A": "lora_A.weight", "B": "lora_B.weight", "U": "hra_u"}
    for key, own in params.items():
        for letter, array in own.items():
            stored = f"base_model.model.{key.removesuffix('.W')}.{endings.get(letter)}"
            copies = taken(expected, key) if letter == "W" else [expected.pop(stored)]
            assert copies
            for copy in copies:
                np.testing.assert_array_equal(array, copy)
            assert array.dtype == np.float64
    assert expected == {}


def test_sixteen_bits_are_the_same_parameters_rounded():
    exact = read_peft(DATA / "lora", WEIGHTS).params["layers.0.W"]["A"]
    for name, digits in (("lora_float32", 24), ("lora_float16", 11), ("lora_bfloat16", 8)):
        rounded = read_peft(DATA / name, WEIGHTS, fan_in_fan_out=False).params["layers.0.W"]["A"]
        gap = np.max(np.abs(rounded - exact) / np.abs(exact))
        assert 2.0 ** -(digits + 3) < gap <= 2.0**-digits


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_parameters_take_the_dtype_of_their_weight(dtype):
    """… so that float32 in gives float32 out, whatever the file is in."""
    weights = {name: W.astype(dtype) for name, W in WEIGHTS.items()}
    for name in ("lora", "lora_bfloat16", "hra"):
        attached = read_peft(DATA / name, weights)
        y = mlp(attached.bind(attached.params), INPUTS.astype(dtype))
        assert y.dtype == attached.merge(attached.params)["layers.0.W"].dtype == dtype
        assert relative(y, OUTPUTS[name]) < 1e-4


def test_an_attached_checkpoint_can_be_trained_on(rng):
    attached = read_peft(
        DATA / "lora_float32", {**WEIGHTS, "layers.0.W": quantize(WEIGHTS["layers.0.W"])}
    )
    attached.params["layers.0.W"]["A"] += 1
    assert attached.trainable == 2 * (5 + 4) + 2 * (4 + 3)
    assert mlp(attached.bind(attached.params), INPUTS).shape == (3, 3)


@pytest.mark.parametrize(
    "name, says",
    [
        ("dora", "use_dora = True"),
        ("lora_bias", "lora_bias = True"),
        ("convolution", "not {'A': 'float32 (1, 2, 2, 2)', 'B': 'float32 (3, 1, 1, 1)'}"),
    ],
)
def test_what_no_adapter_here_can_be_is_refused_by_name(name, says):
    with pytest.raises(ValueError) as refused:
        read_peft(DATA / "refused" / name, WEIGHTS)
    assert says in str(refused.value)


# What is written here, read again.

ADAPTERS = (
    LoRA(2),
    LoRA(3, alpha=0.7),
    LoRA(3, alpha=5, scaling=alpha_over_sqrt_rank),
    LoRA(np.int64(1), alpha=np.float64(2)),
    SBoRAFA(2, alpha=3.0),
    SBoRAFA(3, cols=(3, 0, 1)),
    SBoRAFB(3, alpha=0.5, rows=(2, 0, 1)),
    CondLoRA(2, alpha=3.0),
    HRA(4),
    HRA(3, odd=True),
    HRAStrict(3),
)


def trained(weights, adapters, rng, key=lambda name: name):
    attached = attach(weights, adapters, rng=rng, key=key)
    return attached, {shared: moved(rng, own) for shared, own in attached.params.items()}


@claim("H4", OURS, "what is written and read again computes the same, to 1e-12")
@pytest.mark.parametrize("adapter", ADAPTERS, ids=describe)
def test_what_is_written_and_read_again_computes_the_same(adapter, rng, tmp_path):
    """For every adapter but Full, on all three layers of an MLP, moved off its start, in float64.

    The params of LoRA, HRA and strict HRA stay bitwise identical; SBoRA and CondLoRA become LoRA.
    The tolerance is a share of the largest output.
    """
    attached, params = trained(WEIGHTS, {"layers.*.W": adapter}, rng)
    write_peft(tmp_path, attached, params)
    again = read_peft(tmp_path, WEIGHTS)
    y = mlp(attached.bind(params), INPUTS)
    within(relative(mlp(again.bind(again.params), INPUTS), y), 1e-12)
    within(relative(mlp(again.merge(again.params), INPUTS), y), 1e-12)
    if isinstance(adapter, (LoRA, HRA, HRAStrict)):
        for name, own in params.items():
            exactly(all(np.array_equal(own[letter], again.params[name][letter]) for letter in own))
    assert sorted(os.listdir(tmp_path)) == [CONFIG, ARRAYS]


def test_layers_keep_a_rank_and_an_alpha_of_their_own(rng, tmp_path):
    """layers.1 is the end of more.layers.1 and the start of layers.10; each has its own."""
    adapters = {
        "layers.1.W": LoRA(2),
        "layers.10.W": LoRA(1, 3.0),
        "more.layers.1.W": LoRA(3),
        "layersX1.W": LoRA(4),
    }
    weights = {name: rng.standard_normal((5, 4)) for name in adapters}
    attached, params = trained(weights, adapters, rng)
    write_peft(tmp_path, attached, params)
    again = read_peft(tmp_path, weights)
    assert {name: (adapter.rank, adapter.scale) for name, adapter in again.adapters.items()} == {
        name: (adapter.rank, adapter.scale) for name, adapter in adapters.items()
    }
    config = json.loads((tmp_path / CONFIG).read_text())
    assert config["rank_pattern"] == {r"^layers\.10": 1, r"^more\.layers\.1": 3, "^layersX1": 4}
    assert config["target_modules"] == r"layers\.1|layers\.10|more\.layers\.1|layersX1"


def test_sboras_fixed_matrix_is_made_of_zeros_and_ones(rng, tmp_path):
    attached, params = trained(
        WEIGHTS, {"layers.0.W": SBoRAFA(2, cols=(4, 1)), "layers.1.W": SBoRAFB(1)}, rng
    )
    write_peft(tmp_path, attached, params)
    arrays = decoded((tmp_path / ARRAYS).read_bytes())
    np.testing.assert_array_equal(
        arrays["base_model.model.layers.0.lora_A.weight"], np.eye(5)[[4, 1]]
    )
    B = arrays["base_model.model.layers.1.lora_B.weight"]
    assert B.shape == (4, 1)
    assert B[attached.frozen["layers.1.W"]["rows"][0], 0] == B.sum() == 1


@pytest.mark.parametrize("adapter", ADAPTERS, ids=describe)
def test_float32_is_written_as_float32(adapter, rng, tmp_path):
    attached = attach(
        {name: W.astype(np.float32) for name, W in WEIGHTS.items()},
        {"layers.1.W": adapter},
        rng=rng,
    )
    write_peft(tmp_path, attached, attached.params)
    assert {array.dtype for array in unpack((tmp_path / ARRAYS).read_bytes()).values()} == {
        np.dtype(np.float32)
    }


def test_condlora_that_is_shared_is_written_layer_by_layer(rng, tmp_path):
    weights = {f"layers.{i}.q.W": rng.standard_normal((4, 4)) for i in range(3)}
    attached, params = trained(weights, {"*": CondLoRA(2)}, rng, key=kind)
    write_peft(tmp_path, attached, params)
    again = read_peft(tmp_path, weights)
    merged = attached.merge(params)
    for name, W in again.merge(again.params).items():
        np.testing.assert_allclose(W, merged[name], rtol=0, atol=1e-12)


def test_the_layers_of_peft_may_have_other_names(rng, tmp_path):
    """One function serves both ways; names that it leaves out are no layers of PEFT."""
    weights = init_transformer(rng, 11, 4, 8, 2)
    parts = {"q": "self_attn.q_proj", "v": "self_attn.v_proj"}
    layer_of = {
        f"blocks.{i}.attention.{part}.W": f"model.layers.{i}.{name}"
        for i in range(2)
        for part, name in parts.items()
    }
    attached, params = trained(weights, {"*.attention.[qv].W": LoRA(2)}, rng)
    write_peft(tmp_path, attached, params, layer_of=layer_of.get)
    assert "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight" in unpack(
        (tmp_path / ARRAYS).read_bytes()
    )
    again = read_peft(tmp_path, weights, layer_of=layer_of.get)
    for name, own in params.items():
        np.testing.assert_array_equal(again.params[name]["A"], own["A"])
    with pytest.raises(ValueError, match=r"but the layers are '"):
        read_peft(tmp_path, weights)


def test_names_that_end_as_in_torch_are_layers_too(rng, tmp_path):
    weights = {"encoder.layer.0.query.weight": rng.standard_normal((4, 3))}
    attached, params = trained(weights, {"*": LoRA(1)}, rng)
    write_peft(tmp_path, attached, params)
    assert "base_model.model.encoder.layer.0.query.lora_A.weight" in decoded(
        (tmp_path / ARRAYS).read_bytes()
    )
    assert read_peft(tmp_path, weights).trainable == 7


def test_writing_changes_nothing_in_memory(rng, tmp_path):
    attached, params = trained(WEIGHTS, {"layers.*.W": LoRA(2)}, rng)
    before = {
        key: {letter: array.copy() for letter, array in own.items()} for key, own in params.items()
    }
    write_peft(tmp_path / "new" / "folder", attached, params)
    for key, own in before.items():
        for letter, array in own.items():
            np.testing.assert_array_equal(params[key][letter], array)


@pytest.mark.parametrize(
    "adapters, says",
    [
        (
            {"layers.0.W": Full()},
            r"^attached must have LoRA or HRA: PEFT has no checkpoint of Full",
        ),
        (
            {"layers.0.W": HRA(2), "layers.1.W": HRA(4)},
            "^attached must hold LoRA alone, or HRA of one rank",
        ),
        (
            {"layers.0.W": HRA(2), "layers.1.W": HRAStrict(2)},
            "^attached must hold LoRA alone, or HRA of one rank",
        ),
        (
            {"layers.0.W": HRA(2), "layers.1.W": LoRA(2)},
            "^attached must hold LoRA alone, or HRA of one rank",
        ),
        (
            {"layers.0.W": LoRA(2), "layers.1.W": HRA(2)},
            "^attached must hold LoRA alone, or HRA of one rank",
        ),
    ],
)
def test_what_peft_has_no_room_for_is_a_value_error_and_nothing_is_written(
    adapters, says, rng, tmp_path
):
    attached = attach(WEIGHTS, adapters, rng=rng)
    with pytest.raises(ValueError, match=says):
        write_peft(tmp_path / "folder", attached, attached.params)
    assert not (tmp_path / "folder").exists()


def test_the_params_of_something_else_are_a_value_error(rng, tmp_path):
    attached = attach(WEIGHTS, {"layers.0.W": LoRA(2)}, rng=rng)
    with pytest.raises(ValueError, match=r"^params must have the keys"):
        write_peft(tmp_path, attached, {"layers.1.W": attached.params["layers.0.W"]})


# What cannot be read is not written.


def changed(params, letter, array):
    """The params of layers.0 with another array, in a copy."""
    return {**params, "layers.0.W": {**params["layers.0.W"], letter: array}}


def refused(folder, error, says, *arguments, **options):
    """Writing is an error, and the checkpoint that was there stays."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert before.keys() == {ARRAYS, CONFIG}
    with pytest.raises(error, match=says):
        write_peft(folder, *arguments, **options)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.fixture
def good(rng, tmp_path):
    """A folder with a good checkpoint."""
    write_peft(tmp_path, *trained(WEIGHTS, {"layers.*.W": LoRA(2)}, rng))
    return tmp_path


A = np.ones((2, 5))


@pytest.mark.parametrize(
    "array",
    [
        np.full((2, 5), np.nan),
        np.full((2, 5), np.inf),
        -np.inf * A,
        A[:1],
        np.ones((3, 5)),
        A.T,
        A[:, :4],
        np.ones((1, 5)),
        np.ones((2, 0)),
        np.ones(()),
        A[None],
        A.astype(np.float32),
        A.astype(np.float16),
        A.astype(np.longdouble),
        A.astype(">f8"),
        A.astype(int),
        A.astype(bool),
        A.astype(complex),
        A.astype(object),
        A.astype(str),
        np.ma.masked_array(A, A > 0),
        np.ma.masked_array(A, A < 0),
        A.tolist(),
        1.0,
        None,
    ],
    ids=str,
)
def test_an_array_that_cannot_be_read_again_is_refused(array, good, rng):
    """NaN, wrong shapes and dtypes, masks; other dtypes than the start's would be another model."""
    attached, params = trained(WEIGHTS, {"layers.*.W": LoRA(2)}, rng)
    refused(
        good,
        ValueError,
        "^(params|attached with these params)",
        attached,
        changed(params, "A", array),
    )


def test_params_that_are_not_those_of_the_adapters_are_refused(good, rng):
    attached, params = trained(WEIGHTS, {"layers.*.W": LoRA(2)}, rng)
    own = params["layers.0.W"]
    _, other = trained(WEIGHTS, {"layers.*.W": LoRA(3)}, rng)
    for wrong in (
        {},
        [],
        5,
        other,
        {**params, "more": own},
        {name: own for name, own in params.items() if name != "layers.0.W"},
        {**params, "layers.0.W": {}},
        {**params, "layers.0.W": {"A": own["A"]}},
        {**params, "layers.0.W": {**own, "C": own["A"]}},
        {**params, "layers.0.W": {"A": own["B"], "B": own["A"]}},
        {**params, "layers.0.W": [own["A"], own["B"]]},
        {**params, "layers.0.W": None},
    ):
        refused(good, ValueError, "^params", attached, wrong)


def test_weights_so_large_that_what_is_computed_from_them_overflows_are_refused(good, rng):
    """CondLoRA's A = Θ_A W is infinite, though Θ_A and W are finite."""
    weights = {**WEIGHTS, "layers.0.W": np.full((4, 5), 1e308)}
    attached, params = trained(weights, {"layers.0.W": CondLoRA(2)}, rng)
    params = changed(params, "Theta_A", np.full((2, 4), 9.0))
    with np.errstate(over="ignore"):
        refused(
            good, ValueError, "^attached with these params .* with NaN or inf", attached, params
        )


@pytest.mark.parametrize("scale", [np.nan, np.inf, -np.inf, 0.0, -1.0])
def test_a_scale_that_cannot_be_read_again_is_refused(scale, good, rng):
    """LoRA itself refuses such a scale, but not every class that is made of it."""

    class Other(LoRA):
        pass

    Other.scale = scale
    attached = attach(WEIGHTS, {"layers.0.W": Other(2)}, rng=rng)
    refused(good, ValueError, "^attached with these params .*alpha must be", attached)


@pytest.mark.parametrize(
    "layer_of, says",
    [
        (
            lambda name: "one",
            "^layer_of must give one matrix the layer 'one', got 'layers.0.W' and",
        ),
        (lambda name: None, "^attached has LoRA.* on 'layers.0.W', which is not a layer"),
        (lambda name: 5, "^attached has LoRA.* on 'layers.0.W', which is not a layer"),
        ({}, "^layer_of must be a function, got dict: try the .get of a dict"),
        (None, "^layer_of must be a function, got NoneType"),
    ],
)
def test_a_layer_of_that_loses_a_layer_is_refused(layer_of, says, good, rng):
    attached, params = trained(WEIGHTS, {"layers.*.W": LoRA(2)}, rng)
    refused(good, ValueError, says, attached, params, layer_of)


def test_two_weights_with_the_name_of_one_layer_are_refused_on_both_ways(good, rng):
    """ "l.W" and "l.weight" are both "l"; whether both are adapted or one."""
    weights = {"l.W": rng.standard_normal((4, 5)), "l.weight": rng.standard_normal((4, 5))}
    says = r"^layer_of must give one matrix the layer 'l', got 'l\.W' and 'l\.weight'"
    for pattern in ("*", "l.W", "l.weight"):
        refused(good, ValueError, says, attach(weights, {pattern: LoRA(2)}, rng=rng))
    with pytest.raises(ValueError, match=says):
        read_peft(good, weights)


def test_a_bias_may_have_the_name_of_its_layer(good):
    """Only matrices are layers, so a function that cuts the last word off is good enough."""
    again = read_peft(good, WEIGHTS, layer_of=lambda name: name.rpartition(".")[0])
    assert list(again.adapters) == ["layers.0.W", "layers.1.W", "layers.2.W"]


def test_no_adapter_is_no_checkpoint(good):
    nothing = attach(WEIGHTS, {}, rng=np.random.default_rng(0))
    refused(good, ValueError, "^attached must have an adapter", nothing)


def test_a_call_in_another_form_says_what_was_given(good, rng):
    attached, params = trained(WEIGHTS, {"layers.*.W": LoRA(2)}, rng)
    for wrong in (params, WEIGHTS, None, LoRA(2)):
        refused(good, TypeError, "^attached must be what attach returns, got", wrong)
    for wrong in (None, 5, attached, ["a"], b"folder"):
        with pytest.raises(TypeError, match=r"^folder must be a path, got"):
            write_peft(wrong, attached)


def test_the_initial_params_are_written_by_default(rng, tmp_path):
    attached = attach(WEIGHTS, {"layers.*.W": LoRA(2)}, rng=rng)
    write_peft(tmp_path, attached)
    again = read_peft(tmp_path, WEIGHTS)
    np.testing.assert_array_equal(
        again.params["layers.0.W"]["A"], attached.params["layers.0.W"]["A"]
    )


@pytest.mark.parametrize("alpha", [np.float32(2.5), np.float16(2.5), np.int64(2), np.uint8(3)])
def test_an_alpha_of_numpy_is_written_as_it_is(alpha, rng, tmp_path):
    write_peft(tmp_path, attach(WEIGHTS, {"layers.0.W": LoRA(np.int64(2), alpha=alpha)}, rng=rng))
    config = json.loads((tmp_path / CONFIG).read_text())
    assert (config["r"], config["lora_alpha"]) == (2, float(alpha))


def test_a_name_that_looks_like_a_pattern_is_a_name(rng, tmp_path):
    weights = {name: rng.standard_normal((4, 5)) for name in ("a[0].W", "a0.W", "*.W", "b(.W")}
    attached, params = trained(weights, {"[*]*": LoRA(1), "a[[]0].W": LoRA(2), "b*": LoRA(3)}, rng)
    write_peft(tmp_path, attached, params)
    again = read_peft(tmp_path, weights)
    ranks = {name: adapter.rank for name, adapter in again.adapters.items()}
    assert ranks == {"a[0].W": 2, "*.W": 1, "b(.W": 3}


@pytest.mark.parametrize(
    "adapter", [LoRA(2), SBoRAFA(2), SBoRAFB(2), CondLoRA(2), HRA(2)], ids=describe
)
def test_adapters_over_adapters_and_four_bits_are_written_like_any_other(adapter, rng, tmp_path):
    """The checkpoint holds the upper adapter; the same weights below it give the same model."""
    quantized = {**WEIGHTS, "layers.0.W": quantize(WEIGHTS["layers.0.W"])}
    lower, lower_params = trained(quantized, {"layers.0.W": HRA(2)}, rng)
    weights = lower.bind(lower_params)
    upper, params = trained(weights, {"layers.0.W": adapter}, rng)
    write_peft(tmp_path, upper, params)
    again = read_peft(tmp_path, weights)
    assert relative(mlp(again.bind(), INPUTS), mlp(upper.bind(params), INPUTS)) < 1e-12


# All files or none.


def failing(steps, step, error):
    """A wrapper for functions: the call number `step` of all of them together fails."""

    def wrapped(function):
        def tried(*arguments, **options):
            steps.append(function)
            if len(steps) == step + 1:
                raise error("no space left on device")
            return function(*arguments, **options)

        return tried

    return wrapped


def write_until(step, error, patch, folder, attached, params):
    """Write a checkpoint on a disk on which this step fails, with this error."""
    wrapped = failing([], step, error)
    patch.setattr(os, "replace", wrapped(os.replace))
    patch.setattr(Path, "write_bytes", wrapped(Path.write_bytes))
    with pytest.raises(error, match="no space left"):
        write_peft(folder, attached, params)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("step", range(6))
def test_when_writing_fails_the_old_checkpoint_stays_whole(step, error, rng, tmp_path, monkeypatch):
    """The disk is full, or a file cannot be moved, at any step: both old files stay."""
    write_peft(tmp_path, *trained(WEIGHTS, {"layers.*.W": LoRA(2)}, rng))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    attached, params = trained(WEIGHTS, {"layers.*.W": LoRA(3, alpha=1)}, rng)
    with monkeypatch.context() as patch:
        write_until(step, error, patch, tmp_path, attached, params)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    write_peft(tmp_path, attached, params)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()}.keys() == before.keys()
    assert read_peft(tmp_path, WEIGHTS).adapters["layers.0.W"].rank == 3


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("step", range(4))
def test_when_writing_a_fresh_folder_fails_no_file_is_left(step, error, rng, tmp_path, monkeypatch):
    """Nor the folder in which the files were made; a file of somebody else's stays."""
    (tmp_path / "README.md").write_text("kept")
    attached, params = trained(WEIGHTS, {"layers.*.W": LoRA(2)}, rng)
    with monkeypatch.context() as patch:
        write_until(step, error, patch, tmp_path, attached, params)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_when_one_of_two_old_files_is_missing_it_is_missing_after_a_failure(
    rng, tmp_path, monkeypatch
):
    (tmp_path / ARRAYS).write_bytes(b"old")
    attached = attach(WEIGHTS, {"layers.*.W": LoRA(2)}, rng=rng)
    wrapped = failing([], 1, OSError)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", wrapped(os.replace))
        with pytest.raises(OSError, match="no space left"):
            write_peft(tmp_path, attached)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {ARRAYS: b"old"}


def test_a_file_in_the_place_of_the_folder_stays(rng, tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OSError, match="file"):
        write_peft(tmp_path / "file", attach(WEIGHTS, {"layers.0.W": LoRA(2)}, rng=rng))
    assert (tmp_path / "file").read_text() == "kept"


def test_layer_names_are_those_of_the_weights():
    names = ("layers.0.W", "a.b.weight", "layers.0.b", "W", "a.Weight")
    assert [layer_of(name) for name in names] == ["layers.0", "a.b", "layers.0", "W", "a.Weight"]
