"""Counting trainable parameters: the published counts, to the last digit."""

import json
import os
import time
import tracemalloc
import warnings
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import pytest
from support.tiny_configs import BASE, TINY, XLARGE, bert, gpt2, sizes

from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.architectures import (
    MODELS,
    Architecture,
    architecture_of,
    count_trainable,
    read_architecture,
)
from minilora.architectures.families import FAMILIES
from minilora.architectures.released import CONFIGS
from minilora.attachment import attach, kind, own_name
from minilora.testing.claims import KIM, OURS, PO, claim, exactly
from minilora.weight import dense, linear

FIVE = ("q", "k", "v", "up", "down")
SEVEN = ("q", "k", "v", "o", "gate", "up", "down")


@claim("E1", PO, "21 counts for LLaMA models are the published ones, to 0.1 million")
@pytest.mark.parametrize(
    "model, targets, rank, counts, published",
    [
        ("llama-7b", FIVE, 32, (56_098_816, 28_049_408, 28_049_408), "56.1 28.0 28.0"),
        ("llama-7b", FIVE, 64, (112_197_632, 56_098_816, 56_098_816), "112.2 56.1 56.1"),
        ("llama3-8b", FIVE, 32, (56_623_104, 25_165_824, 31_457_280), "56.6 25.2 31.5"),
        ("llama3-8b", FIVE, 64, (113_246_208, 50_331_648, 62_914_560), "113.2 50.3 62.9"),
        ("llama-7b", SEVEN, 32, (79_953_920, 43_515_904, 36_438_016), "80.0 43.5 36.4"),
        ("llama-13b", SEVEN, 32, (125_173_760, 68_157_440, 57_016_320), "125.2 68.2 57.0"),
        ("llama3-8b", SEVEN, 32, (83_886_080, 44_040_192, 39_845_888), "83.9 44.0 39.8"),
    ],
)
def test_the_published_counts_of_sbora(model, targets, rank, counts, published):
    """LoRA, SBoRA-FA and SBoRA-FB on q, k, v, up and down of every layer, or on all seven maps.

    The authors print millions with one decimal. The integers were computed by hand from the shapes.
    """
    shapes = MODELS[model].shapes(targets)
    adapters = (LoRA, SBoRAFA, SBoRAFB)
    for adapter, count, millions in zip(adapters, counts, published.split(), strict=True):
        exactly(count_trainable(adapter(rank), shapes) == count)
        exactly(f"{count / 1e6:.1f}" == millions)


@claim("E2", KIM, "RoBERTa-base, q and v, r = 8: 24,576 parameters, LoRA has 294,912")
def test_the_published_counts_of_condlora():
    """768 × 768 in 12 layers without biases; CondLoRA shares its parameters within a kind."""
    shapes = MODELS["roberta-base"].shapes(["q", "v"])
    exactly(count_trainable(CondLoRA(8), shapes, key=kind) == 24_576)
    exactly(count_trainable(LoRA(8), shapes) == 294_912)


def test_hra_trains_one_column_of_the_width_of_the_input_for_each_reflection():
    """r d_in for every matrix, whatever its d_out."""
    deberta = MODELS["deberta-v3-base"]
    llama = MODELS["llama-7b"]
    assert count_trainable(HRA(8), deberta.shapes()) == 12 * 8 * (5 * 768 + 3072) == 663_552
    assert count_trainable(HRAStrict(7), deberta.shapes()) == 12 * 7 * (5 * 768 + 3072)
    assert count_trainable(HRA(32), llama.shapes("qv")) == 8_388_608


def test_full_fine_tuning_trains_every_entry():
    shapes = MODELS["roberta-base"].shapes()
    entries = sum(prod(shape) for shape in shapes.values())
    assert count_trainable(Full(), shapes) == entries == 12 * (4 * 768**2 + 2 * 768 * 3072)


@pytest.mark.parametrize("name", ["llama-7b", "llama-13b", "llama3-8b"])
def test_the_total_of_a_llama_is_its_linear_maps_and_embedding_output_layer_and_norms(name):
    model = MODELS[name]
    vocabulary = 128_256 if name == "llama3-8b" else 32_000
    rest = 2 * vocabulary * model.width + (2 * model.layers + 1) * model.width
    assert sum(prod(shape) for shape in model.shapes().values()) + rest == model.total


@pytest.mark.parametrize("name", ["roberta-base", "deberta-v3-base"])
def test_the_total_of_a_bert_is_its_linear_maps_and_embeddings_norms_and_biases(name):
    """RoBERTa: 514 positions, one token type, a pooler; DeBERTaV3: 512 positions, a norm."""
    model = MODELS[name]
    d = 768
    biases_and_norms = 12 * (4 * d + 3072 + d + 4 * d)
    roberta = (50_265 + 514 + 1) * d + 2 * d + (d * d + d)
    deberta = 128_100 * d + 2 * d + 512 * d + 2 * d
    rest = roberta if name == "roberta-base" else deberta
    in_maps = sum(prod(shape) for shape in model.shapes().values())
    assert in_maps + biases_and_norms + rest == model.total


def test_the_names_and_shapes_are_those_of_the_released_weights():
    llama = MODELS["llama3-8b"].shapes()
    roberta = MODELS["roberta-base"].shapes(["o", "down"])
    assert len(llama) == 32 * 7
    assert llama["model.layers.0.self_attn.k_proj.weight"] == (1024, 4096)
    assert llama["model.layers.31.mlp.down_proj.weight"] == (4096, 14_336)
    assert llama["model.layers.7.mlp.gate_proj.weight"] == (14_336, 4096)
    assert llama["model.layers.8.mlp.up_proj.weight"] == (14_336, 4096)
    assert len(roberta) == 24
    assert "encoder.layer.0.attention.self.query.weight" in MODELS["roberta-base"].shapes()
    assert roberta["encoder.layer.11.attention.output.dense.weight"] == (768, 768)
    assert roberta["encoder.layer.0.output.dense.weight"] == (768, 3072)
    deberta = MODELS["deberta-v3-base"].shapes()
    assert deberta["encoder.layer.3.attention.self.value_proj.weight"] == (768, 768)
    assert deberta["encoder.layer.3.intermediate.dense.weight"] == (3072, 768)


def test_counting_agrees_with_attaching(rng):
    """On real arrays, layer by layer, for different shapes and for shared keys."""
    shapes = {}
    for layer in range(3):
        shapes[f"layers.{layer}.q"] = (6, 6)
        shapes[f"layers.{layer}.up"] = (9, 6)
    weights = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    for adapter in (LoRA(2), SBoRAFA(3), SBoRAFB(4), HRA(2), HRAStrict(5), CondLoRA(2), Full()):
        for key in (own_name, kind):
            attached = attach(weights, {"*": adapter}, rng=rng, key=key)
            assert count_trainable(adapter, shapes, key=key) == attached.trainable


def everywhere(name):
    """One key for all weights."""
    return "*"


def test_weights_that_share_a_key_count_once_though_their_shapes_differ(rng):
    """HRA's U is (d_in, r): it can serve any d_out, and `attach` agrees."""
    shapes = {"one": (6, 4), "two": (9, 4)}
    weights = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    attached = attach(weights, {"*": HRA(2)}, rng=rng, key=everywhere)
    assert count_trainable(HRA(2), shapes, key=everywhere) == attached.trainable == 8


def test_weights_that_share_a_key_but_not_the_shapes_of_params_are_a_value_error():
    shapes = {"one": (6, 4), "two": (9, 4)}
    with pytest.raises(ValueError, match=r"^key: 'two' shares '\*', which would need both .*6.*9"):
        count_trainable(LoRA(2), shapes, key=everywhere)


@pytest.mark.parametrize("make", [LoRA, SBoRAFA, SBoRAFB, HRA, HRAStrict, CondLoRA])
def test_counting_takes_milliseconds_and_no_matrix_of_the_models_size(make):
    """The largest matrix would take 283 MB; drawing A for down, rank 8, takes 1 MB."""
    tracemalloc.start()
    start = time.process_time()
    count_trainable(make(8), MODELS["llama-13b"].shapes())
    seconds = time.process_time() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 1
    assert peak < 5e6


def test_weights_of_any_shape_are_counted():
    """A bias that is trained whole, and a weight that no field of the adapter can hash."""
    assert count_trainable(Full(), {"bias": (7,), "table": (2, 3, 4)}) == 7 + 24
    chosen = SBoRAFA(2)
    object.__setattr__(chosen, "cols", [1, 0])
    assert count_trainable(chosen, {"W": (5, 3)}) == 10


@dataclass(frozen=True)
class Scales:
    """An adapter that looks at its weight in every way the protocol of weights offers."""

    def init(self, rng, W):
        assert W.ndim == len(W.shape) == 2
        assert W.dtype == np.float32
        d_out, d_in = W.shape
        np.testing.assert_array_equal(linear(W, np.ones((2, 3, d_in))), np.zeros((2, 3, d_out)))
        np.testing.assert_array_equal(dense(W), np.zeros(W.shape))
        assert np.asarray(W, np.float64).dtype == np.float64
        np.array(W)[0, 0] = 1.0  # a copy of its own
        with pytest.raises(ValueError, match=r"^x has shape"):
            linear(W, np.ones(d_in + 1))
        return {"g": np.ones(d_out, W.dtype)}, {"W": W}

    def forward(self, params, frozen, x):
        return params["g"] * linear(frozen["W"], x)

    def merge(self, params, frozen):
        return params["g"][:, None] * dense(frozen["W"])


def test_a_placeholder_is_a_weight():
    assert count_trainable(Scales(), {"a": (5, 4), "b": (2, 3)}) == 7


def test_every_shape_is_started_once():
    """LLaMA3-8B has 224 matrices of four shapes."""
    seen = []

    class Watched(LoRA):
        def init(self, rng, W):
            seen.append(W.shape)
            return super().init(rng, W)

    count_trainable(Watched(1), MODELS["llama3-8b"].shapes())
    assert sorted(seen) == [(1024, 4096), (4096, 4096), (4096, 14_336), (14_336, 4096)]


@pytest.mark.parametrize("targets", ["", "x", ["q", "gate"], ["q", ""]])
def test_a_target_that_a_model_lacks_is_a_value_error_that_names_those_it_has(targets):
    with pytest.raises(ValueError, match=r"^targets must be any of q, k, v, o, up, down, got "):
        MODELS["roberta-base"].shapes(targets)


@pytest.mark.parametrize("targets", ["q, v", "q,v", " q  v"])
def test_a_string_of_words_is_a_value_error_that_says_what_to_write(targets):
    with pytest.raises(ValueError, match=r"^targets must be any .* got .*: try \['q', 'v'\]$"):
        MODELS["roberta-base"].shapes(targets)


def test_nothing_is_proposed_that_would_not_work():
    with pytest.raises(ValueError, match=r"^targets must be any of (?!.*try)"):
        MODELS["roberta-base"].shapes("q gate")


def test_targets_may_be_letters_a_list_or_any_iterable():
    model = MODELS["llama3-8b"]
    wanted = model.shapes(["q", "v"])
    assert list(wanted)[:2] == [f"model.layers.0.self_attn.{part}_proj.weight" for part in "qv"]
    assert model.shapes("qv") == model.shapes(("q", "v")) == model.shapes(iter("qv")) == wanted


def test_a_model_of_your_own_is_a_table_of_sizes():
    """Two layers of width 6, queries of width 8, keys and values of width 2."""
    names = {"q": "attention.query", "k": "attention.key", "o": "attention.out"}
    tiny = Architecture("blocks", names, 2, width=6, q_width=8, kv_width=2, hidden=9, total=500)
    assert tiny.shapes("qk") == {
        "blocks.0.attention.query.weight": (8, 6),
        "blocks.0.attention.key.weight": (2, 6),
        "blocks.1.attention.query.weight": (8, 6),
        "blocks.1.attention.key.weight": (2, 6),
    }
    assert tiny.shapes("o")["blocks.1.attention.out.weight"] == (6, 8)
    assert count_trainable(LoRA(1), tiny.shapes("qk")) == 2 * (14 + 8)


# ---- From a config.json


@pytest.mark.parametrize(
    "model, total, targets, lora",
    [
        ("llama-3.2-1b", 1_235_814_400, ["q", "v"], 851_968),
        ("mistral-7b", 7_241_732_096, ["q", "v"], 3_407_872),
        ("qwen2.5-0.5b", 494_032_768, ["q", "v"], 540_672),
        ("qwen3-0.6b", 596_049_920, ["q", "v"], 1_146_880),
        ("gemma-2-2b", 2_614_341_888, ["q", "v"], 1_597_440),
        ("phi-3-mini", 3_821_079_552, ["qkv"], 3_145_728),
        ("gpt2", 124_439_808, ["qkv"], 294_912),
        ("bert-base", 109_482_240, ["q", "v"], 294_912),
    ],
)
def test_the_totals_of_released_models_and_of_lora_on_them(model, total, targets, lora):
    """Counted by transformers and PEFT, rank 8."""
    assert MODELS[model].total == total
    assert count_trainable(LoRA(8), MODELS[model].shapes(targets)) == lora


def test_the_readme_says_how_many_models_there_are():
    readme = Path(__file__).parent.parent / "README.md"
    assert (len(MODELS), "Thirteen models are known by name" in readme.read_text("utf-8")) == (
        13,
        True,
    )


@pytest.mark.parametrize("name", TINY)
def test_the_total_of_a_tiny_model_of_every_family(name):
    config, total = TINY[name]
    assert architecture_of(config).total == total


def test_there_is_a_tiny_model_of_every_family():
    assert {config["model_type"] for config, _ in TINY.values()} == set(FAMILIES)


def test_an_adapter_on_a_fused_matrix_is_one_adapter():
    """LoRA on Phi-3's qkv has one A for q, k and v, which have one each when they are apart."""
    fused, apart = MODELS["phi-3-mini"], MODELS["llama-7b"]
    d, layers = fused.width, fused.layers
    assert set(fused.shapes(["qkv"]).values()) == {(3 * d, d)}
    assert count_trainable(LoRA(8), fused.shapes(["qkv"])) == layers * 8 * (3 * d + d)
    assert set(fused.shapes(["gate_up"]).values()) == {(2 * 8192, d)}
    assert count_trainable(LoRA(8), apart.shapes("qkv")) == 32 * 8 * 3 * (4096 + 4096)
    grouped = architecture_of(TINY["phi3 grouped, tied"][0])
    assert set(grouped.shapes(["qkv"]).values()) == {(12 + 2 * 4, 12)}


def test_gpt2_has_the_shapes_of_w_though_it_stores_its_transpose():
    shapes = MODELS["gpt2"].shapes()
    assert shapes["transformer.h.0.attn.c_attn.weight"] == (3 * 768, 768)
    assert shapes["transformer.h.11.mlp.c_fc.weight"] == (3072, 768)
    assert shapes["transformer.h.11.mlp.c_proj.weight"] == (768, 3072)


def test_heads_may_be_wider_or_narrower_than_the_model():
    """Qwen3-0.6B: 16 heads of 128 in a width of 1024."""
    shapes = MODELS["qwen3-0.6b"].shapes(["q", "k", "o"])
    assert shapes["model.layers.27.self_attn.q_proj.weight"] == (2048, 1024)
    assert shapes["model.layers.27.self_attn.k_proj.weight"] == (1024, 1024)
    assert shapes["model.layers.27.self_attn.o_proj.weight"] == (1024, 2048)


EQUAL = {
    "one head for each query": (
        sizes("llama"),
        {"num_key_value_heads": 3, "head_dim": 4},
        {"num_key_value_heads": None},
        {"head_dim": None},
    ),
    "null is as many as heads": (
        sizes("qwen2", num_key_value_heads=3),
        {"num_key_value_heads": None},
        {"head_dim": None},
    ),
    "what has no parameters": (
        sizes("mistral", num_key_value_heads=1),
        {"sliding_window": 4096, "rope_theta": 1e6},
        {"rope_scaling": {"type": "linear", "factor": 2.0}, "max_position_embeddings": 10**9},
        {"quantization_config": {"bits": 4, "quant_method": "gptq", "modules_to_not_convert": []}},
        {"torch_dtype": "bfloat16", "auto_map": {"AutoConfig": "code.Config"}, "use_cache": None},
        {"pruned_heads": {}, "is_encoder_decoder": False, "text_config": None, "num_experts": 0},
    ),
    "names of other families": (
        gpt2(),
        {"hidden_size": 12, "num_attention_heads": 3, "num_key_value_heads": 1, "n_ctx": 5},
    ),
    "absolute positions": (bert("bert"), {"position_embedding_type": "absolute"}),
    "words in other forms": (
        bert("deberta", **BASE),
        {"pos_att_type": ["p2c", "c2p"]},
        {"pos_att_type": " P2C | C2P"},
    ),
}


@pytest.mark.parametrize("name", EQUAL)
def test_entries_that_change_no_shape_change_nothing(name):
    config, *others = EQUAL[name]
    for other in others:
        assert architecture_of({**config, **other}) == architecture_of(config)


def test_what_is_counted_is_said_beside_what_the_file_names():
    """A file for BertForMaskedLM: the head is not in the total, and that is said."""
    for named, counted in (
        (None, "BertModel"),
        (["BertModel"], "BertModel"),
        (["BertForMaskedLM"], "BertModel, not BertForMaskedLM"),
        (["\x1b[2J"], "BertModel"),
        ([5], "BertModel"),
        ("BertForMaskedLM", "BertModel"),
    ):
        assert architecture_of(bert("bert", architectures=named)).counted == counted


def without(config, name):
    return {key: value for key, value in config.items() if key != name}


LLAMA_3 = sizes("llama", num_key_value_heads=1)
REFUSED = {
    "a list": ([], "config must be an object {name: value}, got list"),
    "no type": (
        without(LLAMA_3, "model_type"),
        "config must have one of the model_types llama, .* got none$",
    ),
    "no string": ({"model_type": ["llama"]}, r"config must have one of .* got \['llama'\]$"),
    "Mixtral": (sizes("mixtral"), "config must have one of .*gpt2.* got 'mixtral'$"),
    "images": (
        {"model_type": "gemma3", "text_config": sizes("gemma3_text")},
        "got 'gemma3'; to count its text model alone, save its text_config as a config.json",
    ),
    "images in a known type": (sizes("llama", vision_config={"depth": 3}), "vision_config is"),
    "an adapter": (
        {"peft_type": "LORA", "base_model_name_or_path": "gpt2"},
        "config must .* got none; this is an adapter of 'gpt2'",
    ),
    "experts": (sizes("llama", num_local_experts=8), "num_local_experts is 8: shapes with this"),
    "layers that differ": (
        sizes("llama", per_layer_config={"0": {"intermediate_size": 3}}),
        "per_layer_config is",
    ),
    "an encoder and a decoder": (bert("bert", add_cross_attention=True), "add_cross_attention is"),
    "pruned heads": (gpt2(pruned_heads={"0": [1]}), "pruned_heads is"),
    "learned distances": (
        bert("bert", position_embedding_type="relative_key"),
        "position_embedding_type is 'relative_key'",
    ),
    "no width": (without(LLAMA_3, "hidden_size"), "hidden_size is missing$"),
    "no n_embd": (without(gpt2(), "n_embd"), "n_embd is missing$"),
    "no hidden width": (without(LLAMA_3, "intermediate_size"), "intermediate_size is missing$"),
    "null is no hidden width": (sizes("llama", hidden=None), "intermediate_size must .* None$"),
    "no vocabulary": (without(LLAMA_3, "vocab_size"), "vocab_size is missing$"),
    "no positions": (sizes("bert"), "max_position_embeddings is missing$"),
    "two widths": (gpt2(hidden_size=13), "n_embd is 12, but hidden_size is 13"),
    "a broken number": (sizes("llama", layers=2.0), r"num_hidden_layers must .* got 2\.0$"),
    "a word for a number": (sizes("llama", width="12"), "hidden_size must .* got '12'$"),
    "true for a number": (sizes("llama", heads=True), "num_attention_heads must .* got True$"),
    "nothing": (sizes("llama", layers=0), "num_hidden_layers must be an integer from 1 to 10000"),
    "below nothing": (sizes("llama", vocabulary=-5), "vocab_size must .* got -5$"),
    "NaN": (sizes("llama", hidden=float("nan")), "intermediate_size must .* got nan$"),
    "endless layers": (sizes("llama", layers=10**9), "num_hidden_layers must .* got 1000000000$"),
    "a width beyond memory": (sizes("llama", width=3 * 10**12), "hidden_size must be an integer"),
    "heads beyond memory": (
        sizes("llama", head_dim=10**6),
        "num_attention_heads · head_dim must .* got 3000000$",
    ),
    "heads of broken width": (
        sizes("mistral", heads=5, num_key_value_heads=1),
        "hidden_size must be a multiple of num_attention_heads, got 12 and 5$",
    ),
    "heads in groups that differ": (
        sizes("llama", num_key_value_heads=2),
        "num_attention_heads must be a multiple of num_key_value_heads, got 3 and 2$",
    ),
    "no group": (sizes("llama", num_key_value_heads=0), "num_key_value_heads must .* got 0$"),
    "more groups than heads": (sizes("qwen2"), "must be a multiple .* got 3 and 32$"),
    "null where a number is usual": (
        sizes("qwen3", num_key_value_heads=1, head_dim=None),
        "head_dim must .* got None$",
    ),
    "a word for true": (sizes("llama", tie_word_embeddings="false"), "tie_word_embeddings must be"),
    "null for true": (sizes("llama", attention_bias=None), "attention_bias must be true or false"),
    "a number for words": (bert("deberta", **{**BASE, "pos_att_type": 3}), "pos_att_type must be"),
    "heads of their own width": (
        bert("deberta-v2", **{**XLARGE, "attention_head_size": 5}),
        "attention_head_size must be 4",
    ),
    "a convolution in groups": (
        bert("deberta-v2", **{**XLARGE, "conv_groups": 2}),
        "conv_groups must be an integer from 1 to 1, got 2",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_config_that_cannot_be_counted_is_a_value_error_that_says_why(name):
    config, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        architecture_of(config)


def test_the_file_or_its_folder_is_read(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(LLAMA_3))
    expected = architecture_of(LLAMA_3)
    assert read_architecture(file) == read_architecture(tmp_path) == expected
    assert read_architecture(str(file)) == expected
    file.rename(tmp_path / "other.json")
    assert read_architecture(tmp_path / "other.json") == expected


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is not JSON: Expecting value"),
        (b'{"model_type": "llama"', "is not JSON: "),
        (b"\xff\xfe", "is not JSON: .*utf-8"),
        (b"[" * 10**6, "is not JSON: "),
        (b'{"hidden_size": ' + b"9" * 5000 + b"}", "is not JSON: "),
        (b" " * 10_000_001, "10,000,001 bytes are too many for a config.json"),
        (b"[1, 2]", "config must be an object"),
        (b'{"model_type": "t5"}', "config must have one of the model_types llama.* got 't5'"),
        (b'{"model_type": "llama", "hidden_size": Infinity}', "hidden_size must be .* got inf"),
    ],
    ids=range(9),
)
def test_a_broken_file_is_a_value_error_that_names_the_file(content, message, tmp_path):
    file = tmp_path / "config.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_architecture(tmp_path)
    assert str(error.value).startswith(f"{file}: ")
    assert len(str(error.value)) < 500 + len(str(file))


def test_a_file_that_is_missing_is_a_value_error(tmp_path):
    with pytest.raises(ValueError, match=r"config\.json: there is no such file$"):
        read_architecture(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"the folder holds an adapter: count the model that it"):
        read_architecture(tmp_path)


def test_what_is_no_path_is_a_type_error():
    with pytest.raises(TypeError, match=r"^path must be a path, got None$"):
        read_architecture(None)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ValueError, match="there is no such file"):
        read_architecture(tmp_path)


# ---- Against transformers and PEFT: pip install -e '.[peft]'


@pytest.fixture(scope="module")
def build():
    """A function of a config that builds the model that is counted, without memory for it."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    transformers.logging.set_verbosity_error()

    def build_model(config):
        entries = without(config, "model_type")
        own = transformers.AutoConfig.for_model(config["model_type"], **entries)
        with torch.device("meta"):
            return getattr(transformers, architecture_of(config).counted)(own)

    return build_model


@pytest.fixture(scope="module")
def peft():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("peft", reason="peft is not installed")


CONFIG_OF = {**CONFIGS, **{f"tiny {name}": config for name, (config, _) in TINY.items()}}


def asked(name):
    """Pairs of linear maps and a rank: all, the first, the last, and the first two."""
    parts = list(architecture_of(CONFIG_OF[name]).names)
    low, high = (1, 4) if name.startswith("tiny") else (8, 33)
    return [(parts, low), (parts[:1], high), (parts[-1:], low), (parts[:2], high)]


@claim("E3", OURS, "LoRA and HRA train what PEFT counts: 13 models, tiny ones of 18 families")
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", CONFIG_OF)
def test_counts_are_those_of_peft(name, build, peft):
    """Four sets of linear maps, with rank 8 or 33 on the released models, 1 or 4 on the tiny ones.

    PEFT adapts the model of transformers' own class and config, and its trainable parameters are
    counted. Its HRA has no form for GPT-2's layers, where LoRA alone is compared. The tiny models
    have grouped keys, heads wider than the model, biases, and tied and untied output layers.
    """
    model = architecture_of(CONFIG_OF[name])
    for targets, rank in asked(name):
        shapes = model.shapes(targets)
        layers = [weight.removesuffix(".weight") for weight in shapes]
        for config_class, adapter in ("LoraConfig", LoRA(rank)), ("HRAConfig", HRA(rank, odd=True)):
            if config_class == "HRAConfig" and model.counted == "GPT2LMHeadModel":
                continue
            config = getattr(peft, config_class)(r=rank, target_modules=layers)
            adapted = peft.get_peft_model(build(CONFIG_OF[name]), config)
            theirs = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
            exactly(count_trainable(adapter, shapes) == theirs)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", CONFIG_OF)
def test_totals_names_and_shapes_are_those_of_transformers(name, build):
    config = CONFIG_OF[name]
    model, built = architecture_of(config), build(config)
    assert model.total == built.num_parameters()
    theirs = {weight: tuple(array.shape) for weight, array in built.named_parameters()}
    for weight, shape in model.shapes().items():
        assert theirs[weight] == (shape[::-1] if config["model_type"] == "gpt2" else shape)


LLAMA = MODELS["llama3-8b"]
MISTAKES = {
    "targets are a number": ("targets must be any of", lambda: LLAMA.shapes(3)),
    "targets hold a number": ("targets must be any of", lambda: LLAMA.shapes([3])),
    "targets hold a list": ("targets must be any of", lambda: LLAMA.shapes([["q"]])),
    "shapes are missing": ("shapes must be", lambda: count_trainable(LoRA(2), LLAMA)),
    "shapes are a list": ("shapes must be", lambda: count_trainable(LoRA(2), [(2, 3)])),
    "a shape is a list": (
        r"shapes\['a'\] must be",
        lambda: count_trainable(LoRA(2), {"a": [2, 3]}),
    ),
    "a shape is no count": (r"shapes\['a'\] must", lambda: count_trainable(LoRA(2), {"a": (2, 0)})),
    "the key is a word": ("key must be", lambda: count_trainable(LoRA(2), {"a": (2, 3)}, "kind")),
    "the key is a list": ("key must", lambda: count_trainable(LoRA(2), {"a": (2, 3)}, key=list)),
    "the adapter is a class": (
        r"adapters\['\*'\] must be",
        lambda: count_trainable(LoRA, {"a": (2, 3)}),
    ),
    "the rank does not fit": (
        r"SBoRAFB\(rank=1025\) on 'model.layers.0.self_attn.k_proj.weight': rank .* got 1025",
        lambda: count_trainable(SBoRAFB(1025), LLAMA.shapes()),
    ),
    "a vector": (
        r"LoRA\(rank=2\) on 'b': W must be",
        lambda: count_trainable(LoRA(2), {"b": (3,)}),
    ),
    "the memory does not suffice": (
        r"HRA\(rank=1000000000000\) on 'model.layers.0.* \(4096, 4096\): its parameters do not fit",
        lambda: count_trainable(HRA(10**12), LLAMA.shapes()),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_a_value_error_that_names_the_argument(mistake):
    message, call = MISTAKES[mistake]
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


def test_a_broadcast_weight_that_is_nowhere_finite_is_refused(rng):
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"^W .* holds NaN or inf"):
            LoRA(1).init(rng, np.broadcast_to(np.float32(value), (5, 4)))
        with pytest.raises(ValueError, match=r"^W .* holds NaN or inf"):
            LoRA(1).init(rng, np.broadcast_to(np.array([0, 0, value]), (5, 3)))


def test_strict_hra_starts_at_a_matrix_of_zeros_with_orthonormal_columns(rng):
    """Every unit vector is a right-singular vector of 0; of one row, those of its kernel are."""
    for W in (np.zeros((4, 6), np.float32), np.broadcast_to(np.float32(0), (4, 6))):
        params, _ = HRAStrict(3).init(rng, W)
        assert params["U"].dtype == np.float32
        np.testing.assert_array_equal(params["U"].T @ params["U"], np.eye(3))
    row = np.broadcast_to(np.eye(1, 6), (4, 6))
    np.testing.assert_allclose(row @ HRAStrict(5).init(rng, row)[0]["U"], 0, atol=1e-12)


def test_ministral_has_eight_keys_and_values_unless_its_file_says_otherwise():
    config = {"model_type": "ministral", "vocab_size": 100, "hidden_size": 64}
    config |= {"num_hidden_layers": 1, "num_attention_heads": 32, "intermediate_size": 8}
    assert architecture_of(config).kv_width == 8 * 2
