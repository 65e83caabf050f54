"""Heads, biases and embeddings that are trained whole: `Full` here, in PEFT's form and back."""

import json

import numpy as np
import pytest
from support.checkpoints import decoded, relative
from support.golden import DATA, INPUTS, WEIGHTS

from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA
from minilora.attachment import attach
from minilora.models.mlp import mlp
from minilora.peft import adapters_of, open_checkpoint, read_peft, write_peft
from minilora.peft.checkpoint import ARRAYS
from minilora.peft.safetensors import pack
from minilora.peft.settings import CONFIG
from minilora.quantization import quantize
from minilora.testing.claims import OURS, claim, exactly, within
from minilora.testing.rows import moved

PREFIX = "base_model.model."
LORA = {"peft_type": "LORA", "r": 1, "lora_alpha": 2}
A, B = np.ones((1, 5)), np.full((4, 1), 0.5)
ADAPTED = {"layers.0.lora_A.weight": A, "layers.0.lora_B.weight": B}
HEAD = {"layers.2.weight": np.full((3, 4), 2.0), "layers.2.bias": np.full(3, -1.0)}
BIAS = np.arange(4.0)


def put(folder, arrays, **settings):
    """A checkpoint of LoRA on layers.0 with these arrays beside it."""
    named = {PREFIX + name: array for name, array in {**ADAPTED, **arrays}.items()}
    (folder / ARRAYS).write_bytes(pack(named))
    (folder / CONFIG).write_text(json.dumps({**LORA, **settings}))
    return folder


def whole(attached):
    """{name: array} of the weights that are `Full`."""
    full = [name for name, adapter in attached.adapters.items() if adapter == Full()]
    return {name: attached.params[name]["W"] for name in full}


@pytest.mark.parametrize(
    "arrays, settings",
    [
        (HEAD, {}),  # as PEFT up to 0.4 left it
        (HEAD, {"modules_to_save": ["layers.2"]}),
        (HEAD, {"modules_to_save": ["classifier", "2", "score"]}),
        ({name.replace("2.", "2.modules_to_save."): W for name, W in HEAD.items()}, {}),
        ({name.replace("2.", "2.modules_to_save.default."): W for name, W in HEAD.items()}, {}),
        (
            {
                **HEAD,
                "layers.2.modules_to_save.bias": HEAD["layers.2.bias"],
                "layers.2.original_module.bias": WEIGHTS["layers.2.b"],
            },
            {"bias": "all", "modules_to_save": ["layers.2"]},
        ),
    ],
    ids=range(6),
)
def test_a_head_is_read_whatever_the_file_calls_it(arrays, settings, tmp_path):
    attached = read_peft(put(tmp_path, arrays, **settings), WEIGHTS)
    assert list(attached.adapters) == ["layers.0.W", "layers.2.W", "layers.2.b"]
    np.testing.assert_array_equal(whole(attached)["layers.2.W"], HEAD["layers.2.weight"])
    np.testing.assert_array_equal(whole(attached)["layers.2.b"], HEAD["layers.2.bias"])
    merged = {
        **WEIGHTS,
        "layers.0.W": WEIGHTS["layers.0.W"] + 2 * B @ A,
        "layers.2.W": HEAD["layers.2.weight"],
        "layers.2.b": HEAD["layers.2.bias"],
    }
    assert relative(mlp(attached.bind(), INPUTS), mlp(merged, INPUTS)) < 1e-14
    assert relative(mlp(attached.merge(), INPUTS), mlp(merged, INPUTS)) < 1e-14


@pytest.mark.parametrize("key", ["layers.0.base_layer.bias", "layers.0.bias", "layers.1.bias"])
@pytest.mark.parametrize("bias", ["all", "none", None])
def test_a_bias_is_read_of_adapted_layers_and_of_others(key, bias, tmp_path):
    attached = read_peft(put(tmp_path, {key: BIAS}, bias=bias), WEIGHTS)
    name = key.replace("base_layer.", "").replace(".bias", ".b")
    np.testing.assert_array_equal(whole(attached).pop(name), BIAS)


def test_the_rest_of_a_checkpoint_is_named_as_in_the_model_without_peft(tmp_path):
    arrays = {"layers.0.base_layer.bias": BIAS, "layers.2.modules_to_save.default.bias": BIAS[:3]}
    found, rest = adapters_of(*open_checkpoint(put(tmp_path, {**arrays, "norm.gamma": BIAS})))
    assert list(found) == ["layers.0"]
    assert list(rest) == ["layers.0.bias", "layers.2.bias", "norm.gamma"]


@pytest.mark.parametrize(
    "arrays, settings, says",
    [
        ({"layers.2.weight": np.ones((3, 5))}, {}, r"layers.2.weight must have shape \(3, 4\)"),
        ({"layers.2.bias": np.ones((3, 1))}, {}, r"layers.2.bias must have shape \(3,\)"),
        ({"layers.2.bias": np.full(3, np.nan)}, {}, "layers.2.bias' with NaN or inf"),
        (
            {"head.bias": BIAS},
            {},
            r"has 'head.bias', but the layers are 'layers.0', .*: if the base",
        ),
        ({}, {"modules_to_save": ["layers.2"]}, r"\('layers.2',\), but .* has no 'layers.2.bias'"),
        ({}, {"modules_to_save": ["2"]}, "has no 'layers.2.bias'"),
        (
            {"layers.2.bias": BIAS[:3]},
            {"modules_to_save": ["layers.2"]},
            r"\('layers.2',\), but .* has no 'layers.2.weight'",
        ),
        ({"layers.1.bias": BIAS}, {"bias": "lora_only"}, "bias = 'lora_only', but .*layers.0.bias"),
        ({}, {"bias": "all"}, "bias = 'all', but .* has no 'layers.0.bias'"),
        ({"layers.0.bias": BIAS}, {"bias": True}, r"bias = True, not one of \('none', 'all'"),
        (
            {"layers.0.lora_B.bias": BIAS},
            {},
            "layers.0.lora_B.bias', of an extension of LoRA, which is not",
        ),
        (
            {"e.lora_embedding_A": A},
            {},
            "e.lora_embedding_A', of LoRA on an embedding, which is not",
        ),
        ({"layers.0.lora_magnitude_vector": BIAS}, {}, "magnitude_vector', of an extension"),
        ({"layers.2.original_module.bias": BIAS[:3]}, {}, "not what became of it in training"),
        (
            {"layers.2.bias": BIAS[:3], "layers.2.modules_to_save.bias": BIAS[1:]},
            {},
            "two different arrays for 'layers.2.bias'",
        ),
        (
            {"layers.0.base_layer.weight": np.ones((4, 5))},
            {},
            r"layers.0.weight is in .* adapter on top: weights\['layers.0.W'\] must be this",
        ),
    ],
)
def test_what_is_not_whole_or_has_no_place_is_refused(arrays, settings, says, tmp_path):
    with pytest.raises(ValueError, match=says) as refused:
        read_peft(put(tmp_path, arrays, **settings), WEIGHTS)
    assert len(str(refused.value)) < 700


@pytest.mark.parametrize("last", ["bias", "running_mean"])
def test_a_parameter_that_its_layer_lacks_here_is_named(last, tmp_path):
    """Layers that are here, and a vector of one of them that is not."""
    weights = {name: W for name, W in WEIGHTS.items() if name != "layers.2.b"}
    folder = put(tmp_path, {"layers.2.weight": HEAD["layers.2.weight"], f"layers.2.{last}": BIAS})
    says = f"has 'layers.2.{last}', but the layers .*: weights has no such parameter of 'layers.2'"
    with pytest.raises(ValueError, match=says):
        read_peft(folder, weights)


def test_parameters_of_a_module_with_other_names_are_read(rng, tmp_path):
    """PyTorch's attention and batch norm; the counter of batches is no float and has no effect."""
    weights = {
        **WEIGHTS,
        "head.attention.in_proj_weight": rng.standard_normal((6, 2)),
        "head.attention.in_proj_bias": rng.standard_normal(6),
        "head.norm.weight": rng.standard_normal(2),
        "head.norm.running_mean": rng.standard_normal(2),
        "head.norm.num_batches_tracked": np.array(5),
    }
    weights["head.gamma"] = rng.standard_normal(2)
    arrays = {name: np.asarray(W + 1) for name, W in weights.items() if name[:5] == "head."}
    for counter in (np.array(5), np.array(5.0)):
        weights["head.norm.num_batches_tracked"] = counter
        attached = read_peft(put(tmp_path, arrays, modules_to_save=["head"]), weights)
        names = [name for name in arrays if not name.endswith("tracked")]
        assert list(whole(attached)) == names
        for name in names:
            np.testing.assert_array_equal(whole(attached)[name], arrays[name])
    folder = tmp_path / "written"
    attached = attach(weights, {"layers.0.W": LoRA(1), "head.*.in_proj_bias": Full()}, rng=rng)
    write_peft(folder, attached)
    stored = decoded((folder / ARRAYS).read_bytes())
    assert f"{PREFIX}head.attention.in_proj_weight" in stored
    assert f"{PREFIX}head.norm.running_mean" not in stored
    assert json.loads((folder / CONFIG).read_text())["modules_to_save"] == ["head.attention"]
    assert "head.attention.in_proj_bias" in whole(read_peft(folder, weights))
    del arrays["head.norm.running_mean"]
    with pytest.raises(ValueError, match=r"modules_to_save = .* has no 'head.norm.running_mean"):
        read_peft(put(tmp_path, arrays, modules_to_save=["head"]), weights)


@pytest.mark.parametrize("dtype", [np.int64, bool])
def test_a_head_of_no_floats_is_refused_by_name(dtype, tmp_path):
    folder = put(tmp_path, {"layers.2.weight": np.ones((3, 4), dtype)})
    says = (
        rf"has 'base_model.model.layers.2.weight' of {np.dtype(dtype)}, which is not a float type"
    )
    with pytest.raises(ValueError, match=says):
        adapters_of(*open_checkpoint(folder))


def test_a_tied_embedding_is_read_if_both_of_its_names_have_the_same_array(rng, tmp_path):
    """PEFT saves both with ensure_weight_tying, and one array for both is what it then computes."""
    shared = rng.standard_normal((7, 4))
    weights = {**WEIGHTS, "embed.weight": shared, "lm_head.weight": shared.copy()}
    learned = rng.standard_normal((7, 4))
    arrays = {"embed.weight": learned, "lm_head.weight": learned}
    tied = {"modules_to_save": ["embed"], "ensure_weight_tying": True}
    attached = read_peft(put(tmp_path, arrays, **tied), weights)
    for W in whole(attached).values():
        np.testing.assert_array_equal(W, learned)
    assert list(whole(attached)) == ["embed.weight", "lm_head.weight"]
    ranks = {"lm_head.lora_A.weight": np.ones((1, 4)), "lm_head.lora_B.weight": np.ones((7, 1))}
    for wrong in (
        {"embed.weight": learned},
        {**arrays, "lm_head.weight": learned + 1},
        {"embed.weight": learned, **ranks},
    ):
        says = "ensure_weight_tying, and weights the same in 'embed.weight', 'lm_head.weight'"
        with pytest.raises(ValueError, match=says):
            read_peft(put(tmp_path, wrong, **tied), weights)
    assert len(read_peft(put(tmp_path, {}, ensure_weight_tying=True), weights).adapters) == 1


@pytest.mark.parametrize("alike", [(0, slice(1)), (0,), (slice(-1),)], ids=["entry", "row", "rows"])
def test_arrays_that_are_alike_in_part_are_not_tied(alike, rng, tmp_path):
    """The first entry, the first row (of padding, say), or all rows but the last."""
    one, other = rng.standard_normal((2, 7, 4))
    other[alike] = one[alike]
    weights = {**WEIGHTS, "embed.weight": one, "lm_head.weight": other}
    tied = {"modules_to_save": ["embed"], "ensure_weight_tying": True}
    attached = read_peft(put(tmp_path, {"embed.weight": 2 * one}, **tied), weights)
    assert list(whole(attached)) == ["embed.weight"]


def test_adapters_are_in_the_order_of_the_weights(tmp_path):
    weights = {"layers.2.W": np.ones((3, 4)), "layers.2.b": np.ones(3), **WEIGHTS}
    attached = read_peft(put(tmp_path, HEAD), weights)
    assert list(attached.adapters) == ["layers.2.W", "layers.2.b", "layers.0.W"]


def test_the_weight_below_an_adapter_may_be_in_the_file_if_it_is_the_same(tmp_path):
    """PEFT stores it for an adapted embedding, and for the head that is tied to it."""
    below = {"layers.0.base_layer.weight": WEIGHTS["layers.0.W"].astype(np.float32)}
    assert list(read_peft(put(tmp_path, below), WEIGHTS).adapters) == ["layers.0.W"]


def test_whole_parameters_take_the_dtype_of_the_weight(tmp_path):
    weights = {name: W.astype(np.float32) for name, W in WEIGHTS.items()}
    attached = read_peft(put(tmp_path, HEAD), weights)
    assert {W.dtype for W in whole(attached).values()} == {np.dtype(np.float32)}
    huge = {"layers.2.bias": np.full(3, 1e39)}
    with pytest.raises(ValueError, match=r"layers.2.bias must have finite numbers, but in float32"):
        read_peft(put(tmp_path, huge), weights)


WRITTEN = {
    "a head": {"layers.0.W": LoRA(2), "layers.2.*": Full()},
    "the matrix of a head": {"layers.0.W": LoRA(2), "layers.2.W": Full()},
    "the bias of an adapted layer": {"layers.[01].W": LoRA(2), "layers.0.b": Full()},
    "the bias of another layer": {"layers.0.W": LoRA(2), "layers.1.b": Full()},
    "all biases": {"layers.0.W": HRA(2), "layers.*.b": Full()},
    "strict HRA and a head": {"layers.0.W": HRAStrict(2), "layers.2.*": Full()},
    "SBoRA and a head": {"layers.0.W": SBoRAFA(2), "layers.2.*": Full()},
    "CondLoRA and a head": {"layers.[01].W": CondLoRA(2), "layers.2.*": Full()},
}
# {what is written: (bias, modules_to_save)}
CONFIGURED = {
    "a head": (None, ["layers.2"]),
    "the matrix of a head": (None, ["layers.2"]),
    "the bias of an adapted layer": ("lora_only", None),
    "the bias of another layer": ("all", None),
    "all biases": ("all", None),
}


@claim("H5", OURS, "heads and biases written and read again compute the same, to 1e-12")
@pytest.mark.parametrize("case", WRITTEN)
def test_heads_and_biases_written_and_read_again_compute_the_same(case, rng, tmp_path):
    """`Full` on heads and biases beside LoRA, HRA, SBoRA or CondLoRA, on an MLP, in float64.

    The trained arrays stay bitwise identical. The tolerance is a share of the largest output.
    """
    attached = attach(WEIGHTS, WRITTEN[case], rng=rng)
    params = {key: moved(rng, own) for key, own in attached.params.items()}
    write_peft(tmp_path, attached, params)
    config = json.loads((tmp_path / CONFIG).read_text())
    again = read_peft(tmp_path, WEIGHTS)
    within(relative(mlp(again.bind(), INPUTS), mlp(attached.bind(params), INPUTS)), 1e-12)
    for name, adapter in attached.adapters.items():
        if adapter == Full():
            exactly(np.array_equal(whole(again)[name], params[name]["W"]))
    if case in CONFIGURED:
        assert (config.get("bias"), config.get("modules_to_save")) == CONFIGURED[case]


def test_peft_wants_all_of_a_module_so_all_of_it_is_in_the_file(rng, tmp_path):
    attached = attach(WEIGHTS, {"layers.0.W": LoRA(2), "layers.2.W": Full()}, rng=rng)
    write_peft(tmp_path, attached)
    stored = decoded((tmp_path / ARRAYS).read_bytes())
    np.testing.assert_array_equal(stored[f"{PREFIX}layers.2.bias"], WEIGHTS["layers.2.b"])
    assert read_peft(tmp_path, WEIGHTS).adapters["layers.2.b"] == Full()


def test_a_module_in_a_module_is_saved_with_it(rng, tmp_path):
    """PEFT cannot load both: the outer one has the inner one's arrays."""
    names = ("mha.in_proj_weight", "mha.out_proj.weight", "q.weight")
    weights = {name: rng.standard_normal((3, 3)) for name in names}
    attached = attach(weights, {"q.weight": LoRA(1), "mha.*": Full()}, rng=rng)
    write_peft(tmp_path, attached)
    assert json.loads((tmp_path / CONFIG).read_text())["modules_to_save"] == ["mha"]
    assert set(whole(read_peft(tmp_path, weights))) == set(names[:2])


def test_a_layer_whose_name_ends_like_that_of_a_head_is_in_the_file_too(rng, tmp_path):
    """PEFT takes pre_classifier for classifier, and wants its arrays."""
    names = ("pre_classifier.weight", "classifier.weight", "q.weight")
    weights = {name: rng.standard_normal((3, 3)) for name in names}
    attached = attach(weights, {"q.weight": LoRA(1), "classifier.weight": Full()}, rng=rng)
    write_peft(tmp_path, attached)
    assert f"{PREFIX}pre_classifier.weight" in decoded((tmp_path / ARRAYS).read_bytes())
    clash = attach(weights, {"pre*": LoRA(1), "classifier.weight": Full()}, rng=rng)
    says = "^attached has Full on 'classifier' and an adapter on 'pre_classifier': PEFT looks only"
    with pytest.raises(ValueError, match=says):
        write_peft(tmp_path, clash)


def test_full_over_four_bits_is_written_beside_what_it_leaves_alone(rng, tmp_path):
    """The bias of a head of four bits alone; then the head is not in the file."""
    weights = {**WEIGHTS, "layers.2.W": quantize(WEIGHTS["layers.2.W"])}
    attached = attach(weights, {"layers.0.W": LoRA(1), "layers.2.b": Full()}, rng=rng)
    write_peft(tmp_path, attached)
    assert f"{PREFIX}layers.2.weight" not in decoded((tmp_path / ARRAYS).read_bytes())
    assert list(read_peft(tmp_path, weights).adapters) == ["layers.0.W", "layers.2.b"]


def test_a_bias_has_the_layer_that_layer_of_gives_for_it(rng, tmp_path):
    """ "x.b" or "x.bias"; as the layer itself, or with the parameter's own name."""
    weights = {"h.W": rng.standard_normal((3, 4)), "h.b": rng.standard_normal(3)}
    attached = attach(weights, {"h.W": LoRA(1), "h.b": Full()}, rng=rng)
    for names in (
        {"h.W": "encoder", "h.b": "encoder"},
        {"h.W": "encoder", "h.b": "encoder.bias"},
        {"h.W": "encoder.weight", "h.b": "encoder.bias"},
    ):
        write_peft(tmp_path, attached, layer_of=names.get)
        assert f"{PREFIX}encoder.base_layer.bias" in decoded((tmp_path / ARRAYS).read_bytes())
        assert len(read_peft(tmp_path, weights, layer_of=names.get).adapters) == 2
    with pytest.raises(ValueError, match=r"^attached has Full\(\) on 'h.b', which is not a layer"):
        write_peft(tmp_path, attached, layer_of={"h.W": "encoder"}.get)


def test_an_embedding_and_a_norm_are_whole_parameters_too(rng, tmp_path):
    weights = {
        "embeddings.weight": rng.standard_normal((9, 4)),
        "norm.weight": rng.standard_normal(4),
        "norm.bias": rng.standard_normal(4),
        "q.weight": rng.standard_normal((4, 4)),
    }
    adapters = {"q.weight": LoRA(1), "embeddings.*": Full(), "norm.*": Full()}
    attached = attach(weights, adapters, rng=rng)
    params = {key: moved(rng, own) for key, own in attached.params.items()}
    write_peft(tmp_path, attached, params)
    again = read_peft(tmp_path, weights)
    assert set(whole(again)) == {"embeddings.weight", "norm.weight", "norm.bias"}
    for name, W in whole(again).items():
        np.testing.assert_array_equal(W, params[name]["W"])


def test_the_stored_heads_and_biases_of_peft_are_read_and_written_again(tmp_path):
    for name in ("modules_to_save", "bias", "bias_all"):
        attached = read_peft(DATA / name, WEIGHTS)
        write_peft(tmp_path, attached)
        again = read_peft(tmp_path, WEIGHTS)
        assert again.adapters == attached.adapters
        assert relative(mlp(again.bind(), INPUTS), mlp(attached.bind(), INPUTS)) == 0.0


def test_vectors_that_would_be_one_parameter_are_none(rng, tmp_path):
    """A function that cuts the last word off cannot tell the gain from the shift of a norm."""
    weights = {
        "q.W": rng.standard_normal((4, 4)),
        "norm.gain": np.ones(4),
        "norm.shift": np.ones(4),
    }

    def cut(name):
        return name.rpartition(".")[0]

    write_peft(tmp_path, attach(weights, {"q.W": LoRA(1)}, rng=rng), layer_of=cut)
    assert list(read_peft(tmp_path, weights, layer_of=cut).adapters) == ["q.W"]
    for name in ("norm.gain", "norm.shift"):
        attached = attach(weights, {"q.W": LoRA(1), name: Full()}, rng=rng)
        with pytest.raises(ValueError, match=rf"^attached has Full\(\) on '{name}', which is no"):
            write_peft(tmp_path, attached, layer_of=cut)
