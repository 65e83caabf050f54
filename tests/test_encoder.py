"""BERT's encoder against transformers' own numbers, and what must hold for every encoder."""

import json
from pathlib import Path

import autograd.numpy as anp
import numpy as np
import pytest
from autograd.test_util import check_grads
from support.bert_in_peft import classifier_of, peft_logits
from support.draws import assert_normal
from support.tiny_bert import (
    FILE,
    HEADS,
    MASK,
    SIZES,
    TOKENS,
    hidden_states,
    tiny_weights,
)

from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.attachment import attach, kind
from minilora.data.bert import MINILM, read_bert
from minilora.data.reviews import RATINGS, read_ratings
from minilora.data.wordpiece import tokenize
from minilora.models.encoder import (
    encoder,
    encoder_shapes,
    init_encoder,
    sentence_logits,
    sentence_vectors,
    with_head,
)
from minilora.ops import cross_entropy
from minilora.peft import read_peft, write_peft
from minilora.quantization import quantize
from minilora.testing.rows import moved
from minilora.train import value_and_grad

REAL = Path(__file__).parent.parent / "real"
LABELS = np.array([0, 1, 1])
SENTENCES = ["A gem of a film.", "Two hours that feel like four!", "unfathomably good, if long"]
needs_real = pytest.mark.skipif(
    not (REAL / MINILM.file).exists(), reason="real/ has not the model: see the README"
)


def test_the_hidden_states_are_those_of_transformers():
    """Two layers, three heads, sentences of 4, 2 and 5 tokens; written by support/tiny_bert.py."""
    expected = np.array(json.loads(FILE.read_text(encoding="utf-8")))
    h = encoder(tiny_weights(), TOKENS, MASK, HEADS)
    np.testing.assert_allclose(h[MASK], expected, rtol=0, atol=1e-13)
    assert np.all(h[~MASK] == 0)
    single = encoder(tiny_weights(np.float32), TOKENS, MASK, HEADS)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single[MASK], expected, rtol=0, atol=2e-6)


def test_transformers_still_says_so():
    """Skipped without the extra [peft]. Also with a mask that has holes, and padding first."""
    pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[peft]'")
    pytest.importorskip("transformers", reason="transformers comes with pip install -e '.[peft]'")
    weights = tiny_weights()
    mask = np.array([[1, 0, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 1]], bool)
    for own in (MASK, mask):
        expected = hidden_states(weights, TOKENS, own, HEADS)
        found = encoder(weights, TOKENS, own, HEADS)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


@needs_real
def test_all_minilm_agrees_with_transformers_on_a_hundred_sentences():
    """In float32, to 2e-6; skipped without the two packages in real/ and without [peft]."""
    pytest.importorskip("transformers", reason="transformers comes with pip install -e '.[peft]'")
    bert = read_bert(REAL / MINILM.file)
    texts = read_ratings(REAL / RATINGS.file).texts[:100]
    tokens, mask = tokenize(texts, bert.vocabulary, 64)
    h = hidden_states(bert.weights, tokens.astype(int), mask, bert.heads)
    expected = h.sum(axis=1) / mask.sum(axis=1, keepdims=True)
    found = sentence_vectors(bert.weights, tokens, mask, bert.heads)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def test_the_depth_is_read_from_the_weights(rng):
    for depth in (1, 3):
        weights = init_encoder(rng, **{**SIZES, "depth": depth})
        assert encoder(weights, TOKENS, MASK, HEADS).shape == (3, 5, 6)


def test_a_sentence_does_not_see_the_others_nor_its_padding(rng):
    weights = tiny_weights()
    together = encoder(weights, TOKENS, MASK, HEADS)
    for tokens, mask, h in zip(TOKENS, MASK, together):
        length = mask.sum()
        alone = encoder(weights, tokens[None, :length], mask[None, :length], HEADS)
        np.testing.assert_allclose(h[:length], alone[0], rtol=0, atol=1e-13)
    other = np.where(MASK, TOKENS, rng.integers(SIZES["vocabulary"], size=MASK.shape))
    np.testing.assert_array_equal(encoder(weights, other, MASK, HEADS), together)


def test_the_vector_of_a_sentence_is_the_mean_over_its_tokens():
    h = encoder(tiny_weights(), TOKENS, MASK, HEADS)
    vectors = sentence_vectors(tiny_weights(), TOKENS, MASK, HEADS)
    for vector, own, mask in zip(vectors, h, MASK):
        np.testing.assert_allclose(vector, own[mask].mean(axis=0), rtol=0, atol=1e-14)


def test_the_head_is_affine(rng):
    weights = with_head(rng, tiny_weights(), classes=2)
    weights["classifier.bias"] += [0.5, -1]
    vectors = sentence_vectors(weights, TOKENS, MASK, HEADS)
    expected = [
        [sum(c * x for c, x in zip(row, vector)) + b for row, b in zip(C, b_all)]
        for vector in vectors
        for C, b_all in [(weights["classifier.weight"], weights["classifier.bias"])]
    ]
    found = sentence_logits(weights, TOKENS, MASK, HEADS)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def loss_of(weights):
    return cross_entropy(sentence_logits(weights, TOKENS, MASK, HEADS), LABELS)


def test_every_weight_has_the_gradient_of_finite_differences(rng):
    weights = with_head(rng, tiny_weights(), classes=2)
    names = list(weights)
    check_grads(lambda *arrays: loss_of(dict(zip(names, arrays))), modes=["rev"], order=1)(
        *weights.values()
    )
    _, grads = value_and_grad(loss_of, weights)
    for name, grad in grads.items():
        if name.endswith("key.bias"):  # it adds the same to all scores of a query
            assert np.max(np.abs(grad)) < 1e-15
        else:
            assert np.max(np.abs(grad)) > 1e-6


@pytest.mark.parametrize(
    "adapter",
    [LoRA(2), SBoRAFA(2), SBoRAFB(2), HRA(2), HRAStrict(2), CondLoRA(2), Full()],
    ids=repr,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_adapter_fits_every_linear_map(adapter, dtype, rng):
    """Forward and merge agree, and every parameter has a gradient; one map is in four bits."""
    weights = with_head(rng, tiny_weights(dtype), classes=2)
    weights["encoder.layer.0.output.dense.weight"] = quantize(
        weights["encoder.layer.0.output.dense.weight"]
    )
    patterns = {"encoder.*.self.*.weight": adapter, "encoder.*.dense.weight": adapter}
    if isinstance(adapter, Full):
        weights["encoder.layer.0.output.dense.weight"] = np.asarray(
            weights["encoder.layer.0.output.dense.weight"]
        )
    attached = attach(weights, patterns, rng=rng, key=kind)
    params = {
        key: {
            name: (array + 0.3 * rng.standard_normal(array.shape)).astype(dtype)
            for name, array in own.items()
        }
        for key, own in attached.params.items()
    }
    value, grads = value_and_grad(lambda own: loss_of(attached.bind(own)), params)
    merged = loss_of(attached.merge(params))
    assert value.dtype == merged.dtype == dtype
    assert abs(value - merged) < (1e-4 if dtype == np.float32 else 1e-12)
    for own in grads.values():
        assert all(np.any(grad) and grad.dtype == dtype for grad in own.values())


def test_a_random_encoder_is_drawn_as_bert_is(rng):
    weights = init_encoder(rng, 300, 200, 100, 2, 150)
    assert {name: W.shape for name, W in weights.items()} == encoder_shapes(300, 200, 100, 2, 150)
    for name, array in weights.items():
        assert array.dtype == np.float32
        if array.ndim == 2 and len(array) > 2:
            assert_normal(array, 0.02)
        elif array.ndim == 2:  # the two segments
            assert 0.018 < np.std(array) < 0.022
        else:
            assert np.all(array == (1 if name.endswith("LayerNorm.weight") else 0))
    head = with_head(rng, weights, 70)
    assert_normal(head["classifier.weight"], 0.02)
    assert set(head) - set(weights) == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"tokens": TOKENS + 9}, r"^tokens must lie in 0 … 10, got 9 … 19"),
        ({"tokens": TOKENS - 1}, r"^tokens must lie in 0 … 10, got -1 … 9"),
        ({"tokens": TOKENS * 1.0}, r"^tokens must be integers, got float64"),
        (
            {"tokens": TOKENS[0]},
            r"^tokens \(B, T\) and mask \(B, T\), of booleans, B ≥ 1, must fit, got",
        ),
        ({"tokens": TOKENS[:0], "mask": MASK[:0]}, r"B ≥ 1, must fit, got int64 \(0, 5\)"),
        ({"mask": MASK[:2]}, r"^tokens \(B, T\) and mask"),
        ({"mask": MASK * 1}, r"^tokens \(B, T\) and mask"),
        ({"mask": MASK & [[True], [False], [True]]}, r"but sentence 1 has none$"),
        ({"heads": 4}, r"^heads must divide the width 6, got 4"),
        ({"heads": True}, r"^heads must divide the width 6, got True"),
        (
            {"tokens": np.tile(TOKENS, 2), "mask": np.tile(MASK, 2)},
            r"^tokens must be 1 to 7 on the last axis",
        ),
        ({"weights": {}}, r"^weights must have the names of the model: missing \['embeddings"),
        ({"weights": None}, r"^weights must be a dict"),
    ],
    ids=repr,
)
def test_wrong_arguments_are_refused_by_name(change, message):
    arguments = {"weights": tiny_weights(), "tokens": TOKENS, "mask": MASK, "heads": HEADS}
    with pytest.raises(ValueError, match=message):
        encoder(**{**arguments, **change})


def test_a_weight_too_many_or_too_few_is_refused_by_name():
    weights = tiny_weights()
    with pytest.raises(ValueError, match=r"unknown \['pooler.dense.weight'\]"):
        encoder({**weights, "pooler.dense.weight": anp.eye(6)}, TOKENS, MASK, HEADS)
    del weights["encoder.layer.1.output.LayerNorm.bias"]
    with pytest.raises(ValueError, match=r"missing \['encoder.layer.1.output.LayerNorm.bias'\]"):
        encoder(weights, TOKENS, MASK, HEADS)
    with pytest.raises(ValueError, match=r"^weights must have a head, classifier.weight and"):
        sentence_logits(tiny_weights(), TOKENS, MASK, HEADS)


# ---- The real model in PEFT

QUERY_AND_VALUE = ("encoder.*.query.weight", "encoder.*.value.weight")


@needs_real
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("adapter", [LoRA(8), HRA(8), HRAStrict(8), SBoRAFA(16)], ids=repr)
def test_an_adapter_from_here_gives_the_same_logits_in_peft(adapter, rng, tmp_path):
    """On the real model in float32, to 1e-5, with random parameters and a trained head."""
    peft = pytest.importorskip("peft", reason="peft is not installed: pip install -e '.[peft]'")
    bert = read_bert(REAL / MINILM.file)
    weights = with_head(rng, bert.weights, 2)
    patterns = {**dict.fromkeys(QUERY_AND_VALUE, adapter), "classifier.*": Full()}
    attached = attach(weights, patterns, rng=rng)
    params = {key: moved(rng, own, 0.02) for key, own in attached.params.items()}
    tokens, mask = tokenize(SENTENCES, bert.vocabulary, 16)
    logits = sentence_logits(attached.bind(params), tokens, mask, bert.heads)
    assert np.max(np.abs(logits - sentence_logits(weights, tokens, mask, bert.heads))) > 1e-2
    write_peft(tmp_path, attached, params)
    model = peft.PeftModel.from_pretrained(classifier_of(weights, bert.heads), tmp_path)
    np.testing.assert_allclose(peft_logits(model, tokens, mask), logits, rtol=0, atol=1e-5)


@needs_real
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ["LoRA", "HRA"])
def test_an_adapter_from_peft_gives_the_same_logits_here(name, rng, tmp_path):
    """Three steps of torch's Adam on the real model in PEFT, in float32, read here: to 1e-5."""
    peft = pytest.importorskip("peft", reason="peft is not installed: pip install -e '.[peft]'")
    import torch

    bert = read_bert(REAL / MINILM.file)
    weights = with_head(rng, bert.weights, 2)
    options = {"target_modules": ["query", "value"], "modules_to_save": ["classifier"], "r": 4}
    config = peft.LoraConfig(**options) if name == "LoRA" else peft.HRAConfig(**options)
    torch.manual_seed(0)
    model = peft.get_peft_model(classifier_of(weights, bert.heads), config)
    tokens, mask = tokenize(SENTENCES, bert.vocabulary, 16)
    before = peft_logits(model, tokens, mask)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-2)
    for _ in range(3):
        logits = model(torch.tensor(tokens).long(), torch.tensor(mask))
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 1]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(tmp_path)
    attached = read_peft(tmp_path, weights)
    logits = sentence_logits(attached.bind(), tokens, mask, bert.heads)
    expected = peft_logits(model, tokens, mask)
    assert np.max(np.abs(expected - before)) > 0.1
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)


def test_positions_are_columns_and_the_mean_is_over_tokens_alone():
    """Also where a sentence begins with padding or has a hole."""
    weights = tiny_weights()
    name = "embeddings.position_embeddings.weight"
    tokens = np.array([[0, 1, 2, 3]])
    mask = np.array([[False, True, True, True]])
    later = {**weights, name: weights[name][1:]}
    found = encoder(weights, tokens, mask, HEADS)[0, 1:]
    expected = encoder(later, tokens[:, 1:], mask[:, 1:], HEADS)[0]
    np.testing.assert_allclose(found, expected, atol=1e-13)
    mask = np.array([[False, True, True, False]])
    mean = encoder(weights, tokens, mask, HEADS)[mask].mean(axis=0)
    np.testing.assert_allclose(sentence_vectors(weights, tokens, mask, HEADS)[0], mean, atol=1e-13)


def test_a_new_head_replaces_one_that_is_there(rng):
    weights = with_head(rng, with_head(rng, tiny_weights(), classes=2), classes=3)
    assert len(weights["classifier.weight"]) == 3
