"""The bridge against PEFT itself: what either writes, the other reads, and it computes the same.

Skipped where torch and peft are not installed: pip install -e '.[peft]'. Compared in float64.
"""

import json
import warnings

import numpy as np
import pytest
from support.checkpoints import relative
from support.golden import DATA, INPUTS

from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.adapters.scaling import alpha_over_sqrt_rank
from minilora.attachment import attach, kind
from minilora.models.mlp import init_mlp, mlp
from minilora.peft import open_checkpoint, read_peft, read_safetensors, write_peft
from minilora.peft.checkpoint import ARRAYS
from minilora.peft.safetensors import pack, unpack
from minilora.peft.settings import CONFIG
from minilora.testing.claims import MANGRULKAR, claim, exactly, within
from minilora.testing.rows import moved

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[peft]'")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # those of the libraries that PEFT imports
    peft = pytest.importorskip("peft", reason="peft is not installed: pip install -e '.[peft]'")
    from support.make_checkpoints import CHECKPOINTS, Net, base_of, outputs, save

pytestmark = pytest.mark.filterwarnings("default")  # PEFT's own must not fail a test
WIDTHS = (7, 6, 6, 5)


def drawn(seed):
    """(rng, float64 weights with biases, inputs)."""
    rng = np.random.default_rng(seed)
    weights = init_mlp(rng, WIDTHS, np.float64)
    weights = {name: W + 0.3 * rng.standard_normal(W.shape) for name, W in weights.items()}
    return rng, weights, rng.standard_normal((9, WIDTHS[0]))


ENDS = ["layers.0", "layers.2"]
CONFIGS = {
    "LoRA": peft.LoraConfig(r=3, lora_alpha=7, target_modules=ENDS),
    "rsLoRA": peft.LoraConfig(r=3, lora_alpha=7, use_rslora=True, target_modules=ENDS),
    "rank_pattern": peft.LoraConfig(
        r=2,
        lora_alpha=5,
        target_modules=[*ENDS, "1"],
        rank_pattern={"0": 4, "^layers.2": 1, "ayers.1": 3, "layers.[12]": 5},
    ),
    "alpha_pattern": peft.LoraConfig(
        r=2, lora_alpha=5, target_modules=ENDS, alpha_pattern={"layers.[02]": 0.7, "layers.2": 9}
    ),
    "rsLoRA patterns": peft.LoraConfig(
        r=2,
        lora_alpha=5,
        use_rslora=True,
        target_modules=ENDS,
        rank_pattern={"0": 3},
        alpha_pattern={"[^2]*": 9},
    ),
    "regex target": peft.LoraConfig(
        r=2, lora_alpha=1.5, target_modules=r"layers\.[12]", init_lora_weights="gaussian"
    ),
    "HRA even": peft.HRAConfig(r=4, target_modules=ENDS),
    "HRA odd": peft.HRAConfig(r=3, target_modules=ENDS, init_weights=False),
    "HRA apply_GS": peft.HRAConfig(r=3, target_modules=ENDS, apply_GS=True, init_weights=False),
    "rank above the width": peft.LoraConfig(r=9, lora_alpha=5, target_modules=ENDS),
    "LoRA and a head": peft.LoraConfig(
        r=3, target_modules=["layers.0"], modules_to_save=["classifier", "2"]
    ),
    "LoRA and its biases": peft.LoraConfig(r=3, target_modules=ENDS, bias="lora_only"),
    "LoRA, all biases and a head": peft.LoraConfig(
        r=3, target_modules=["layers.0"], bias="all", modules_to_save=["layers.2"]
    ),
    "HRA and a head": peft.HRAConfig(r=4, target_modules=ENDS, modules_to_save=["layers.1"]),
    "HRA and its biases": peft.HRAConfig(r=4, target_modules=ENDS, bias="hra_only"),
    "HRA and all biases": peft.HRAConfig(r=4, target_modules=ENDS, bias="all"),
}


@claim("H1", MANGRULKAR, "what PEFT saves gives PEFT's outputs here, merged and not, to 1e-12")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", CONFIGS)
def test_what_peft_saves_computes_the_same_here(name, dtype, seed, tmp_path):
    """16 kinds of LoRA, rsLoRA and HRA, with heads and biases, on an MLP of three layers.

    With random parameters, saved in float64, float32, float16 and bfloat16, and computed in float64
    on both sides. The tolerance is a share of the largest output.
    """
    _, weights, x = drawn(seed)
    save(Net(weights), CONFIGS[name], tmp_path, getattr(torch, dtype), seed)
    reference = outputs(Net(weights), tmp_path, x)
    attached = read_peft(tmp_path, weights)
    within(relative(mlp(attached.bind(attached.params), x), reference), 1e-12, "forward")
    within(relative(mlp(attached.merge(attached.params), x), reference), 1e-12, "merge")
    assert relative(mlp(weights, x), reference) > 1e-3


ADAPTERS = {
    "LoRA": {"layers.[02].W": LoRA(3)},
    "LoRA alpha": {"layers.[02].W": LoRA(3, alpha=7)},
    "rsLoRA": {"layers.*.W": LoRA(3, alpha=7.5, scaling=alpha_over_sqrt_rank)},
    "LoRA patterns": {
        "layers.0.W": LoRA(3, alpha=2.0),
        "layers.1.W": LoRA(5),
        "layers.2.W": LoRA(1, alpha=4),
    },
    "SBoRA-FA": {"layers.*.W": SBoRAFA(4, alpha=3.0)},
    "SBoRA-FB": {"layers.*.W": SBoRAFB(4, alpha=3.0)},
    "SBoRA mixed": {"layers.0.W": SBoRAFA(6), "layers.1.W": SBoRAFB(2), "layers.2.W": LoRA(2)},
    "CondLoRA": {"layers.*.W": CondLoRA(3, alpha=2.0)},
    "CondLoRA shared": {"layers.1.W": CondLoRA(2), "layers.2.W": LoRA(2)},
    "HRA even": {"layers.*.W": HRA(4)},
    "HRA odd": {"layers.[02].W": HRA(3, odd=True)},
    "HRA strict": {"layers.*.W": HRAStrict(3)},
    "LoRA above the width": {"layers.*.W": LoRA(9, alpha=2.0)},
    "LoRA and a head": {"layers.0.W": LoRA(3), "layers.2.*": Full()},
    "LoRA and the matrix of a head": {"layers.[01].W": LoRA(3), "layers.2.W": Full()},
    "LoRA and its bias": {"layers.[01].W": LoRA(3), "layers.0.b": Full()},
    "LoRA and another bias": {"layers.0.W": LoRA(3), "layers.1.b": Full()},
    "LoRA, all biases and a head": {
        "layers.[01].W": LoRA(3),
        "layers.2.W": Full(),
        "layers.*.b": Full(),
    },
    "HRA and all biases": {"layers.*.W": HRA(4), "layers.*.b": Full()},
    "SBoRA and a head": {"layers.[01].W": SBoRAFA(4), "layers.2.*": Full()},
}


@claim("H2", MANGRULKAR, "what is written here gives the same outputs in PEFT, to 1e-12")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ADAPTERS)
def test_what_is_written_here_computes_the_same_in_peft(name, seed, tmp_path):
    """For every adapter, Full beside another, with random parameters, on an MLP of three layers.

    PEFT's forward and its merged model, and what is read back here, in float64. PEFT has no warning
    for the two files. The tolerance is a share of the largest output.
    """
    rng, weights, x = drawn(seed)
    attached = attach(weights, ADAPTERS[name], rng=rng)
    params = {key: moved(rng, own) for key, own in attached.params.items()}
    write_peft(tmp_path, attached, params)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "error", UserWarning
        )  # PEFT finds nothing to warn of in the two files
        model = peft.PeftModel.from_pretrained(Net(weights), tmp_path)
    reference = mlp(attached.bind(params), x)
    with torch.no_grad():
        within(relative(model(torch.tensor(x)).numpy(), reference), 1e-12, "PEFT's forward")
        within(
            relative(model.merge_and_unload()(torch.tensor(x)).numpy(), reference),
            1e-12,
            "PEFT's merge",
        )
    again = read_peft(tmp_path, weights)
    within(relative(mlp(again.bind(again.params), x), reference), 1e-12, "read back")
    assert relative(mlp(weights, x), reference) > 1e-3


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_checkpoints_in_tests_data_are_still_what_peft_reads(name):
    reference = json.loads((DATA / "outputs.json").read_text())[name]
    assert relative(outputs(base_of(name), DATA / name, INPUTS), reference) < 1e-12


def test_condlora_shared_by_all_layers_is_written_layer_by_layer(tmp_path):
    """The layers share Θ_A and Θ_B, but not their W, so each has its own A and B in PEFT."""
    rng, weights, x = drawn(0)
    weights["layers.0.W"], weights["layers.2.W"] = rng.standard_normal((2, 6, 6))
    weights["layers.2.b"], x = rng.standard_normal(6), x[:, :6]
    attached = attach(weights, {"layers.*.W": CondLoRA(2)}, rng=rng, key=kind)
    params = {key: moved(rng, own) for key, own in attached.params.items()}
    write_peft(tmp_path, attached, params)
    assert relative(outputs(Net(weights), tmp_path, x), mlp(attached.bind(params), x)) < 1e-12


@pytest.mark.parametrize(
    "adapters", [{"layers.[01].W": LoRA(2)}, {"*[01].W": LoRA(2), "*2.*": Full()}]
)
def test_layers_that_keep_their_weight_transposed_are_written_and_read(adapters, tmp_path):
    """As in GPT-2, a head too. With what the function says, PEFT has nothing to warn of."""
    rng, weights, x = drawn(0)
    attached = attach(weights, adapters, rng=rng)
    params = {key: moved(rng, own) for key, own in attached.params.items()}
    write_peft(tmp_path, attached, params, fan_in_fan_out=lambda name: True)
    base = Net(weights, transposed=[0, 1, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = outputs(base, tmp_path, x)
    assert relative(found, mlp(attached.bind(params), x)) < 1e-12
    kept = {name: W.T for name, W in weights.items()}
    again = read_peft(tmp_path, kept, fan_in_fan_out=lambda name: True)
    assert relative(found, mlp(again.bind(), x)) < 1e-12


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_peft_reads_the_dtypes_that_are_written_here(dtype, tmp_path):
    """What is float16 or float32 is exact in float64, so only the comparison itself rounds."""
    rng, weights, x = drawn(0)
    low = {name: W.astype(np.float32) for name, W in weights.items()}
    attached = attach(low, {"layers.*.W": LoRA(2)}, rng=rng)
    params = {key: moved(rng, own) for key, own in attached.params.items()}
    write_peft(tmp_path, attached, params)
    arrays = unpack((tmp_path / ARRAYS).read_bytes())
    rounded = {name: array.astype(dtype) for name, array in arrays.items()}
    (tmp_path / ARRAYS).write_bytes(pack(rounded))
    assert {array.dtype for array in unpack((tmp_path / ARRAYS).read_bytes()).values()} == {
        np.dtype(dtype)
    }
    again = read_peft(tmp_path, weights)
    assert relative(outputs(Net(weights), tmp_path, x), mlp(again.bind(again.params), x)) < 1e-12


@pytest.mark.parametrize("start", ["mica", "MiCA", "Gaussian"])
def test_a_start_of_peft_that_leaves_the_weight_alone_is_read(start, tmp_path):
    """Such a start has no part in what was trained. MiCA exists in 32 bits at most."""
    _, weights, x = drawn(0)
    config = peft.LoraConfig(r=3, target_modules=ENDS, init_lora_weights=start)
    save(Net(weights).float(), config, tmp_path, torch.float32)
    assert json.loads((tmp_path / CONFIG).read_text())["init_lora_weights"] == start
    with torch.no_grad():
        loaded = peft.PeftModel.from_pretrained(Net(weights).float(), tmp_path)
        reference = loaded(torch.tensor(x, dtype=torch.float32)).numpy()
    assert relative(mlp(read_peft(tmp_path, weights).bind(), x), reference) < 1e-5


# What PEFT does with a warning at most, and is an error here.


def edited(folder, change):
    """Change the parsed configuration and the arrays of a checkpoint in place."""
    config, arrays = (
        json.loads((folder / CONFIG).read_text()),
        unpack((folder / ARRAYS).read_bytes()),
    )
    arrays = change(config, arrays) or arrays
    (folder / CONFIG).write_text(json.dumps(config))
    (folder / ARRAYS).write_bytes(pack(arrays))


def without_prefix(config, arrays):
    return {name.removeprefix("base_model.model."): array for name, array in arrays.items()}


def without_one_b(config, arrays):
    return {name: array for name, array in arrays.items() if "0.lora_B" not in name}


def without_alpha(config, arrays):
    del config["lora_alpha"]


@pytest.mark.parametrize("change", [without_prefix, without_one_b, without_alpha])
def test_what_peft_loads_as_another_model_without_an_error_is_an_error_here(change, tmp_path):
    _, weights, x = drawn(0)
    save(Net(weights), CONFIGS["LoRA"], tmp_path)
    before = outputs(Net(weights), tmp_path, x)
    edited(tmp_path, change)
    assert relative(outputs(Net(weights), tmp_path, x), before) > 1e-3
    with pytest.raises(ValueError, match=r"^folder "):
        read_peft(tmp_path, weights)


def test_patterns_that_overlap_change_their_meaning_when_peft_saves_them(tmp_path):
    """It sorts them, and the first that matches counts: what is loaded is another model."""
    _, weights, x = drawn(0)
    config = peft.LoraConfig(
        r=2, lora_alpha=5, target_modules=ENDS, alpha_pattern={"layers.[02]": 0.7, "layers.2": 9}
    )
    model = save(Net(weights), config, tmp_path)
    with torch.no_grad():
        trained = model(torch.tensor(x)).numpy()
    loaded = outputs(Net(weights), tmp_path, x)
    assert relative(loaded, trained) > 1e-3
    attached = read_peft(tmp_path, weights)
    assert relative(mlp(attached.bind(attached.params), x), loaded) < 1e-12


def test_gram_schmidt_on_the_equal_pairs_that_peft_starts_hra_with_divides_rounding_errors(
    tmp_path,
):
    """PEFT's output is far from that of a reflection along the one vector that the columns span."""
    _, weights, x = drawn(0)
    config = peft.HRAConfig(r=4, target_modules=["layers.0"], apply_GS=True)
    torch.manual_seed(0)
    model = peft.get_peft_model(Net(weights), config)
    model.save_pretrained(tmp_path)
    H = model.base_model.model.layers[0].get_delta_weight("default").detach().numpy()
    exactly(not np.max(np.abs(H @ H.T - np.eye(7))) < 1e-3)
    attached = read_peft(tmp_path, weights)
    for compute in (
        lambda: mlp(attached.bind(attached.params), x),
        lambda: attached.merge(attached.params),
    ):
        with pytest.raises(ValueError, match=r"^U must have independent columns"):
            compute()


# A real architecture, and what PEFT needs to find it.

QUERY = "bert.encoder.layer.*.attention.self.query.weight"


@pytest.fixture
def bert(tmp_path):
    """A small BERT with a head, as transformers makes it: (model, its weights, tokens)."""
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=40,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=20,
        max_position_embeddings=16,
        num_labels=3,
    )
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(config).double().eval()
    model.save_pretrained(tmp_path / "base")
    weights = read_safetensors(tmp_path / "base")
    assert weights.keys() == dict(model.named_parameters()).keys()
    return model, weights, torch.randint(40, (5, 9))


def logits(model, tokens):
    with torch.no_grad():
        return model(input_ids=tokens).logits.numpy()


def with_weights(model, weights):
    """The logits of the model are those of these weights from now on."""
    state = {name: torch.tensor(np.array(W)) for name, W in weights.items()}
    model.load_state_dict(state, strict=False)
    return model


@pytest.mark.parametrize("kind", ["LORA", "HRA"])
@pytest.mark.parametrize("bias", ["none", "all"])
def test_a_classifier_of_peft_is_read_with_its_head(kind, bias, bert, tmp_path):
    """With task_type SEQ_CLS, PEFT trains the head unasked. The same logits here, and back there.

    AutoPeftModel finds the base model of the adapter that was read and written again.
    """
    model, weights, tokens = bert
    word = peft.LoraConfig if kind == "LORA" else peft.HRAConfig
    config = word(r=4, target_modules=["query", "value"], task_type="SEQ_CLS", bias=bias)
    torch.manual_seed(1)
    adapted = peft.get_peft_model(model, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = 0.3 * torch.randn(parameter.shape, dtype=torch.float64)
    adapted.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    adapted.eval().save_pretrained(tmp_path / "adapter")
    reference = logits(adapted, tokens)

    attached = read_peft(tmp_path / "adapter", weights)
    assert attached.adapters["classifier.weight"] == attached.adapters["classifier.bias"] == Full()
    assert attached.trainable == sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    plain = type(model)(model.config).double().eval()
    merged = with_weights(plain, attached.merge())
    assert relative(logits(merged, tokens), reference) < 1e-12

    about, _ = open_checkpoint(tmp_path / "adapter")
    write_peft(tmp_path / "again", attached, about=about)
    auto = peft.AutoPeftModelForSequenceClassification.from_pretrained(
        tmp_path / "again", num_labels=3, dtype=torch.float64
    )
    assert relative(logits(auto.eval(), tokens), reference) < 1e-12


def test_a_classifier_that_is_trained_here_is_loaded_by_peft(bert, tmp_path):
    model, weights, tokens = bert
    rng = np.random.default_rng(0)
    attached = attach(weights, {QUERY: LoRA(2, alpha=3), "classifier.*": Full()}, rng=rng)
    params = {key: moved(rng, own) for key, own in attached.params.items()}
    about = {"task_type": "SEQ_CLS", "base_model_name_or_path": str(tmp_path / "base")}
    write_peft(tmp_path / "adapter", attached, params, about=about)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        loaded = peft.AutoPeftModelForSequenceClassification.from_pretrained(
            tmp_path / "adapter", num_labels=3, dtype=torch.float64
        )
    reference = logits(with_weights(model, attached.merge(params)), tokens)
    assert relative(logits(loaded.eval(), tokens), reference) < 1e-12
