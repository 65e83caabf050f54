"""Fine-tune a pretrained encoder on sentences of film reviews, with any adapter, and measure it.

Every method trains a new head; all but one also adapt the encoder. LoRA, SBoRA and HRA here have
the same number of trainable parameters. CondLoRA has once as many and once LoRA's rank.
"""

import tracemalloc
from typing import NamedTuple

import numpy as np

from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.analysis import singular_spectrum
from minilora.attachment import kind
from minilora.cli.comparison import Method, adapt
from minilora.data.bert import MINILM, Bert, read_bert
from minilora.data.packages import locate
from minilora.data.reviews import RATINGS, read_ratings, split_by_sentiment
from minilora.data.wordpiece import tokenize
from minilora.models.encoder import sentence_logits, with_head
from minilora.ops import cross_entropy
from minilora.train import accuracy, value_and_grad
from minilora.weight import dense

BATCH = 16
LONGEST = 48  # tokens of a sentence; 4 % of the sentences are longer and lose their end
HEAD = {"classifier.*": Full()}
ATTENTION = ("encoder.*.query.weight", "encoder.*.value.weight")
LINEAR = ("encoder.*.self.*.weight", "encoder.*.dense.weight")


def method_on(family, size, adapter, lr, names=ATTENTION, **options):
    """A method that adapts the weights of these names and trains the head."""
    return Method(family, size, {**dict.fromkeys(names, adapter), **HEAD}, lr, **options)


# The rates: the best of three by accuracy on validation sentences, see tests/bench/reviews.py.
METHODS = (
    Method("head alone", "", HEAD, lr=1e-2),
    method_on("full fine-tuning", "", Full(), 1e-4, names=LINEAR),
    method_on("LoRA", "r=8", LoRA(rank=8), 5e-3),
    method_on("SBoRA-FA", "r=16", SBoRAFA(rank=16), 5e-3),
    method_on("SBoRA-FB", "r=16", SBoRAFB(rank=16), 5e-3),
    method_on("QSBoRA-FA", "r=16", SBoRAFA(rank=16), 5e-3, four_bits=True),
    method_on("HRA", "r=16", HRA(rank=16), 2e-3),
    method_on("HRA strict", "r=16", HRAStrict(rank=16), 2e-3),
    method_on("CondLoRA", "r=8", CondLoRA(rank=8), 2e-3, key=kind),
    method_on("CondLoRA", "r=48", CondLoRA(rank=48), 2e-3, key=kind),
)
_NARROWEST = max(  # the width that the largest rank asks for
    getattr(adapter, "rank", 1) for method in METHODS for adapter in method.adapters.values()
)


class Reviews(NamedTuple):
    """A pretrained encoder, and sentences as (tokens, mask, labels), in three parts."""

    bert: Bert
    train: tuple
    validation: tuple
    test: tuple


class Outcome(NamedTuple):
    """What one method did, with one seed."""

    trainable: int  # parameters, with the head
    fraction: float  # of the model's parameters
    accuracy: float  # on test sentences, from 0 to 1
    seconds: float  # for training
    megabytes: float  # the most that a training step takes, beside the weights
    spectra: list  # the singular values of ΔW of each query and value


def load_reviews(files, model=None):
    """`Reviews` from the two packages in a folder, or with the BERT of another folder.

    Raises ValueError when a file is missing or another one, or the BERT is too narrow for METHODS.
    """
    bert = read_bert(locate(MINILM, files) if model is None else model)
    width = bert.weights["embeddings.LayerNorm.bias"].size
    if width < _NARROWEST:
        raise ValueError(f"{model} has the width {width}, the methods need {_NARROWEST} at least")
    return Reviews(bert, *tokenized_parts(bert, read_ratings(locate(RATINGS, files))))


def tokenized_parts(bert, rated):
    """The three parts of a corpus, train, validation and test, as (tokens, mask, labels)."""
    split = split_by_sentiment(rated.texts, rated.ratings)
    longest = min(LONGEST, bert.context)
    return [(*tokenize(part.texts, bert.vocabulary, longest), part.labels) for part in split]


def measure(method, reviews, test, seed, steps, task="film reviews"):
    """Train a method with one seed on the training sentences; returns its Outcome on test ones."""
    rng = np.random.default_rng(seed)
    weights = with_head(rng, reviews.bert.weights, classes=2)
    loss = review_loss(reviews.bert.heads)
    attached, params, seconds = adapt(
        method, weights, loss, reviews.train, rng=rng, steps=steps, batch=BATCH, task=task
    )
    merged = attached.merge(params)
    return Outcome(
        trainable=attached.trainable,
        fraction=attached.fraction,
        accuracy=accuracy(logits_of(merged, *test[:2], reviews.bert.heads), test[2]),
        seconds=seconds,
        megabytes=_megabytes_of_a_step(attached, params, loss, reviews.train),
        spectra=[singular_spectrum(delta) for _, _, delta in updates(attached, merged)],
    )


def updates(attached, merged):
    """(name, W, ΔW) of every adapted query and value. merged: the weights that merge gives."""
    for name in attached.adapters:
        if name.endswith(("query.weight", "value.weight")):
            W = dense(attached.weights[name])
            yield name, W, merged[name] - W


def review_loss(heads):
    """The loss of a step: weights, tokens, mask, labels -> mean cross-entropy."""

    def loss(weights, tokens, mask, labels):
        return cross_entropy(sentence_logits(weights, tokens, mask, heads), labels)

    return loss


def logits_of(weights, tokens, mask, heads, batch=64):
    """Logits (N, classes) of many sentences, computed batch by batch."""
    starts = range(0, len(tokens), batch)
    rows = [slice(start, start + batch) for start in starts]
    return np.concatenate([sentence_logits(weights, tokens[i], mask[i], heads) for i in rows])


def _megabytes_of_a_step(attached, params, loss, data):
    """The most memory that loss and gradient of one batch take at a time, in units of 10⁶ bytes."""
    rows = [array[:BATCH] for array in data]
    tracemalloc.start()
    try:
        value_and_grad(lambda own: loss(attached.bind(own), *rows), params)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak / 1e6
