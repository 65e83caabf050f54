"""Counting: the published numbers, to the last digit, and the command that prints them."""

import time
import tracemalloc
from math import prod

import numpy as np
import pytest
from claims import KIM, PO, claim, exactly

from minilora.__main__ import main
from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.attach import attach, kind
from minilora.shapes import MODELS, trained
from minilora.tours import count

FIVE, SEVEN = ("q", "k", "v", "up", "down"), ("q", "k", "v", "o", "gate", "up", "down")


@claim("E", PO, "the 21 published counts for LLaMA models, as exact integers")
@pytest.mark.parametrize(
    "model, targets, rank, published",
    [
        ("llama-7b", FIVE, 32, (56_098_816, 28_049_408, 28_049_408)),
        ("llama-7b", FIVE, 64, (112_197_632, 56_098_816, 56_098_816)),
        ("llama3-8b", FIVE, 32, (56_623_104, 25_165_824, 31_457_280)),
        ("llama3-8b", FIVE, 64, (113_246_208, 50_331_648, 62_914_560)),
        ("llama-7b", SEVEN, 32, (79_953_920, 43_515_904, 36_438_016)),
        ("llama-13b", SEVEN, 32, (125_173_760, 68_157_440, 57_016_320)),
        ("llama3-8b", SEVEN, 32, (83_886_080, 44_040_192, 39_845_888)),
    ],
)
def test_the_published_counts_of_sbora(model, targets, rank, published):
    """LoRA, SBoRA-FA and SBoRA-FB on five or on all seven linear maps of every layer."""
    shapes = MODELS[model].shapes(targets)
    for adapter, number in zip((LoRA, SBoRAFA, SBoRAFB), published, strict=True):
        exactly(trained(adapter(rank), shapes) == number)


@claim("D3", KIM, "… RoBERTa-base, q and v, r = 8: 24,576 numbers where LoRA has 294,912")
def test_the_published_counts_of_condlora():
    """768 × 768 in 12 layers; CondLoRA shares its numbers among the layers of a kind."""
    shapes = MODELS["roberta-base"].shapes(["q", "v"])
    exactly(trained(CondLoRA(8), shapes, key=kind) == 24_576)
    exactly(trained(LoRA(8), shapes) == 294_912)


def test_hra_trains_one_column_of_the_width_of_the_input_for_each_reflection():
    """r d_in for every matrix, whatever its d_out."""
    deberta, llama = MODELS["deberta-v3-base"], MODELS["llama-7b"]
    assert trained(HRA(8), deberta.shapes()) == 12 * 8 * (5 * 768 + 3072) == 663_552
    assert trained(HRAStrict(7), deberta.shapes()) == 12 * 7 * (5 * 768 + 3072)
    assert trained(HRA(32), llama.shapes("qv")) == 8_388_608


def test_full_fine_tuning_trains_every_entry():
    shapes = MODELS["roberta-base"].shapes()
    assert (
        trained(Full(), shapes) == sum(prod(shape) for shape in shapes.values()) == 12 * (4 * 768**2 + 2 * 768 * 3072)
    )


@pytest.mark.parametrize("name", ["llama-7b", "llama-13b", "llama3-8b"])
def test_the_total_of_a_llama_is_its_linear_maps_and_embedding_output_layer_and_norms(name):
    model = MODELS[name]
    vocabulary = 128_256 if name == "llama3-8b" else 32_000
    rest = 2 * vocabulary * model.width + (2 * model.layers + 1) * model.width
    assert sum(prod(shape) for shape in model.shapes().values()) + rest == model.total


@pytest.mark.parametrize("name", ["roberta-base", "deberta-v3-base"])
def test_the_total_of_a_bert_is_its_linear_maps_and_embeddings_norms_and_biases(name):
    """RoBERTa has 514 positions, one token type and a pooler; DeBERTaV3 512 relative positions with a norm."""
    model, d = MODELS[name], 768
    biases_and_norms = 12 * (4 * d + 3072 + d + 4 * d)
    roberta = (50_265 + 514 + 1) * d + 2 * d + (d * d + d)
    deberta = 128_100 * d + 2 * d + 512 * d + 2 * d
    rest = roberta if name == "roberta-base" else deberta
    assert sum(prod(shape) for shape in model.shapes().values()) + biases_and_norms + rest == model.total


def test_the_names_and_shapes_are_those_of_the_released_weights():
    llama, roberta = MODELS["llama3-8b"].shapes(), MODELS["roberta-base"].shapes(["o", "down"])
    assert len(llama) == 32 * 7
    assert llama["model.layers.0.self_attn.k_proj.weight"] == (1024, 4096)
    assert llama["model.layers.31.mlp.down_proj.weight"] == (4096, 14_336)
    assert llama["model.layers.7.mlp.gate_proj.weight"] == (14_336, 4096)
    assert len(roberta) == 24
    assert "encoder.layer.0.attention.self.query.weight" in MODELS["roberta-base"].shapes()
    assert roberta["encoder.layer.11.attention.output.dense.weight"] == (768, 768)
    assert roberta["encoder.layer.0.output.dense.weight"] == (768, 3072)
    deberta = MODELS["deberta-v3-base"].shapes()
    assert deberta["encoder.layer.3.attention.self.value_proj.weight"] == (768, 768)
    assert deberta["encoder.layer.3.intermediate.dense.weight"] == (3072, 768)


def test_counting_agrees_with_attaching(rng):
    """On real arrays, layer by layer, for different shapes and for shared keys."""
    shapes = {f"layers.{i}.{part}": side for i in range(3) for part, side in (("q", (6, 6)), ("up", (9, 6)))}
    weights = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    for adapter in (LoRA(2), SBoRAFA(3), SBoRAFB(4), HRA(2), HRAStrict(5), CondLoRA(2), Full()):
        assert trained(adapter, shapes) == attach(weights, {"*": adapter}, rng).trained
        assert trained(adapter, shapes, key=kind) == attach(weights, {"*": adapter}, rng, key=kind).trained


def test_counting_takes_milliseconds_and_no_matrix_of_the_models_size():
    """The largest matrix would take 283 MB; drawing A for down, rank 8, takes 1 MB."""
    tracemalloc.start()
    start = time.perf_counter()
    count.run("llama-13b", say=len)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 2
    assert peak < 10e6


def test_every_shape_is_started_once():
    """LLaMA3-8B has 224 matrices of four shapes."""
    seen = []

    class Watched(LoRA):
        def init(self, rng, W):
            seen.append(W.shape)
            return super().init(rng, W)

    trained(Watched(1), MODELS["llama3-8b"].shapes())
    assert sorted(seen) == [(1024, 4096), (4096, 4096), (4096, 14_336), (14_336, 4096)]


@pytest.mark.parametrize("targets", ["", "x", ["q", "gate"], ["q", ""]])
def test_a_target_that_a_model_lacks_is_a_value_error_that_names_those_it_has(targets):
    with pytest.raises(ValueError, match=r"^targets must be any of q, k, v, o, up, down, got "):
        MODELS["roberta-base"].shapes(targets)


def test_a_stand_in_that_is_nowhere_finite_is_refused(rng):
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"^W .* holds NaN or inf"):
            LoRA(1).init(rng, np.broadcast_to(np.float32(value), (5, 4)))
        with pytest.raises(ValueError, match=r"^W .* holds NaN or inf"):
            LoRA(1).init(rng, np.broadcast_to(np.array([0, 0, value]), (5, 3)))


def test_strict_hra_starts_at_a_matrix_of_zeros_with_orthonormal_columns(rng):
    """Every unit vector is a right-singular vector of 0; where only one row is not zero, those of its kernel are."""
    for W in (np.zeros((4, 6), np.float32), np.broadcast_to(np.float32(0), (4, 6))):
        params, _ = HRAStrict(3).init(rng, W)
        assert params["U"].dtype == np.float32
        np.testing.assert_array_equal(params["U"].T @ params["U"], np.eye(3))
    row = np.broadcast_to(np.eye(1, 6), (4, 6))
    np.testing.assert_allclose(row @ HRAStrict(5).init(rng, row)[0]["U"], 0, atol=1e-12)


def printed(arguments, capsys):
    assert main(["count", *arguments.split()]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_command_prints_counts_and_bytes(capsys):
    """25,165,824 numbers take 4 bytes each and 8 for Adam's moments; the model 2, or 4.5 and 4.127 bits in its maps."""
    lines = printed("llama3-8b --adapter sbora-fa --rank 32 --targets q,k,v,up,down", capsys)
    assert " ".join(lines[1].split()) == "full fine-tuning 8,030,261,248 100.000% 32,121.0 MB 64,242.1 MB"
    assert " ".join(lines[2].split()) == "sbora-fa 25,165,824 0.313% 100.7 MB 201.3 MB"
    linear = 32 * (2 * 4096**2 + 2 * 1024 * 4096 + 3 * 14_336 * 4096)
    rest = 2 * (8_030_261_248 - linear)
    assert "160 matrices" in lines[3]
    assert lines[4].endswith("float16: 16,060.5 MB")
    for line, bits in ((lines[5], 4.5), (lines[6], 4 + 8 / 64 + 32 / (64 * 256))):
        megabytes = float(line.split()[-2].replace(",", ""))
        assert abs(megabytes - (rest + linear * bits / 8) / 1e6) < 0.3
    assert len(lines) == 7


def test_the_command_compares_all_adapters_when_none_is_named(capsys):
    """DeBERTaV3-base, all six linear maps, r = 7: LoRA, and HRA of an odd rank, which counting allows."""
    lines = printed("deberta-v3-base --rank 7", capsys)
    table = {line.split()[0]: line.split()[1] for line in lines[2:8]}
    assert table == {
        "lora": f"{12 * 7 * (4 * 2 * 768 + 2 * (768 + 3072)):,}",
        "sbora-fa": f"{12 * 7 * (5 * 768 + 3072):,}",
        "sbora-fb": f"{12 * 7 * (5 * 768 + 3072):,}",
        "hra": f"{12 * 7 * (5 * 768 + 3072):,}",
        "hra-strict": f"{12 * 7 * (5 * 768 + 3072):,}",
        "condlora": f"{7 * (4 * 2 * 768 + 2 * (768 + 3072)):,}",
    }


def test_the_rank_is_8_by_default_and_the_counts_are_returned(capsys):
    assert "rank 8 " in printed("roberta-base --targets q", capsys)[0]
    counts = count.run("roberta-base", "lora", targets=["q"])
    assert counts == {"full fine-tuning": 124_645_632, "lora": 12 * 8 * 2 * 768}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("llama", "model must be one of roberta-base, deberta-v3-base, llama-7b, llama-13b, llama3-8b, got 'llama'"),
        ("llama-7b --adapter dora", "adapter must be one of lora, sbora-fa, sbora-fb, hra, hra-strict, condlora, got"),
        ("llama-7b --rank 0", "rank must be a whole number from 1"),
        ("llama3-8b --rank 1025", "1024, got 1025"),
        ("roberta-base --targets q,gate", "targets must be any of q, k, v, o, up, down, got q, gate"),
        ("--rank 3", "model must be one of roberta-base, deberta-v3-base, llama-7b, llama-13b, llama3-8b, got None"),
    ],
)
def test_a_mistake_is_a_message_that_names_what_would_work(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["count", *arguments.split()])
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_help_names_the_command(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "'count MODEL' prints what adapters train" in " ".join(capsys.readouterr().out.split())
