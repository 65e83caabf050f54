"""Counting trainable parameters: the published counts, to the last digit."""

import time
import tracemalloc
from dataclasses import dataclass
from math import prod

import numpy as np
import pytest

from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.architectures import MODELS, Architecture, count_trainable
from minilora.attachment import attach, kind, own_name
from minilora.testing.claims import KIM, PO, claim, exactly
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
    """Two layers of width 6, keys and values of width 2: q and k, rank 1."""
    names = {"q": "attention.query", "k": "attention.key"}
    tiny = Architecture("blocks", names, layers=2, width=6, kv_width=2, hidden=9, total=500)
    assert tiny.shapes() == {
        "blocks.0.attention.query.weight": (6, 6),
        "blocks.0.attention.key.weight": (2, 6),
        "blocks.1.attention.query.weight": (6, 6),
        "blocks.1.attention.key.weight": (2, 6),
    }
    assert count_trainable(LoRA(1), tiny.shapes()) == 2 * (12 + 8)


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
