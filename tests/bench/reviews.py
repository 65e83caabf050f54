"""What tutorial 14 shows: every adapter on a pretrained Transformer, five seeds, two lengths.

    pip install -e '.[bench]'
    python tests/bench/reviews.py --files real --runs FOLDER      hours; may be stopped and resumed

Each run is a file in the folder --runs, so that what is there is not done again. First the rates:
three of each method with a seed that is used for nothing else, by accuracy on validation
sentences. Then five seeds at the best rate, by accuracy on test sentences.

When all runs are there, the table goes to tutorials/results/real.json, with the processor and the
BLAS kernel. At the end one adapter is read by PEFT itself.
"""

import json
import os
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from machine import machine
from results import resumable_parser, write_results

from minilora.adapters import LoRA
from minilora.analysis import effective_rank, intruder_dimensions, mean_similarity
from minilora.attachment import attach
from minilora.cli.comparison import Method, adapt
from minilora.cli.reviews import (
    BATCH,
    LINEAR,
    METHODS,
    Reviews,
    load_reviews,
    logits_of,
    method_on,
    review_loss,
    tokenized_parts,
    updates,
)
from minilora.data.packages import locate
from minilora.data.reviews import EDITORIALS, PRODUCTS, RATINGS, read_ratings
from minilora.data.wordpiece import tokenize
from minilora.models.encoder import sentence_vectors, with_head
from minilora.peft import write_peft
from minilora.quantization import quantize
from minilora.train import accuracy
from minilora.weight import dense

SEEDS = range(5)
FEWER_SEEDS = range(3)  # for LoRA in other places, and on reviews of products
RATE_SEEDS = (100,)
RATE_STEPS = 100
FACTORS = (0.4, 1, 2.5)  # of the rate that a method has in METHODS
LENGTHS = (100, 300)  # steps
TEST = 2000  # sentences
FIRST = (1, 2, 4, 8)  # directions
KEYS = ("A", "B", "A_0")
INTRUDERS = (10, 0.5)  # among how many singular vectors of W', and below which |cosine|


def _layers(which):
    """Patterns for the queries and values of some of the layers."""
    return [f"encoder.layer.{which}.*.{part}.weight" for part in ("query", "value")]


# Which matrices and layers: with fewer of them, more rank for each.
PLACES = (
    method_on("LoRA", "r=2, all six", LoRA(2), 2e-3, names=LINEAR),
    method_on("LoRA", "r=16, layers 1-3", LoRA(16), 2e-3, names=_layers("[0-2]")),
    method_on("LoRA", "r=16, layers 4-6", LoRA(16), 2e-3, names=_layers("[3-5]")),
)


class Run(NamedTuple):
    """One training."""

    method: Method
    lr: float
    steps: int
    seed: int
    corpus: str = "films"

    @property
    def key(self):
        """What the files call it."""
        key = f"{self.method.name} {self.lr:g} {self.steps} {self.seed}"
        return (key if self.corpus == "films" else f"{key} {self.corpus}").replace(" ", "_")


class Results:
    """Finished runs, each a file of JSON in a folder."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, run):
        """The result of a run, or None."""
        file = self.folder / f"{run.key}.json"
        return json.loads(file.read_text("utf-8")) if file.exists() else None

    def put(self, run, result):
        """Keep the result of a run."""
        aside = self.folder / f"{run.key}.part"
        aside.write_text(json.dumps(result), "utf-8")
        aside.replace(self.folder / f"{run.key}.json")


def main():
    """Read the command line, do what is missing, write the table when nothing is."""
    chosen = resumable_parser(__doc__).parse_args()
    end = time.time() + 3600 * chosen.hours
    films = load_reviews(chosen.files)
    ratings = locate(RATINGS, chosen.files)
    products = Reviews(films.bert, *tokenized_parts(films.bert, read_ratings(ratings, PRODUCTS)))
    reviews = {"films": films, "products": products}
    editorials = read_ratings(ratings, EDITORIALS)
    results = Results(chosen.runs)
    for run in rate_runs():
        if results.get(run) is None and time.time() < end:
            results.put(run, validate(run, reviews[run.corpus]))
            print(run.key, results.get(run), flush=True)
    for run in test_runs(results):
        if results.get(run) is None and time.time() < end:
            results.put(run, test(run, reviews[run.corpus], editorials, chosen.runs))
            print(run.key, results.get(run)["accuracy"], flush=True)
    if any(results.get(run) is None for run in test_runs(results)):
        return print("not all runs are there yet")
    table = {
        "test sentences": TEST,
        "methods": [row_of(runs, results) for runs in grouped(test_runs(results))],
        "conversion": {
            corpus: conversion(films.bert, test_runs(results), chosen.runs, corpus)
            for corpus in reviews
        },
        "weak directions": weak_directions(films.bert),
        "four bits": four_bits(films.bert, editorials),
        "in PEFT": in_peft(films, test_runs(results), chosen.runs),
        "machine": machine(),
    }
    write_results("real.json", table)


def grouped(runs):
    """The runs that differ by their seed alone, together."""
    groups = {}
    for run in runs:
        groups.setdefault((run.method.name, run.steps, run.corpus), []).append(run)
    return groups.values()


def row_of(runs, results):
    """What the seeds of one method and length gave: lists by seed, and means over the layers."""
    found = [results.get(run) for run in runs]
    row = {"method": runs[0].method.name, "lr": runs[0].lr, "steps": runs[0].steps}
    row |= {"corpus": runs[0].corpus, "trainable": found[0]["trainable"]}
    for name in ("accuracy", "related"):
        row[name] = [round(one[name], 5) for one in found]
    row["seconds"] = round(float(np.median([one["seconds"] for one in found])), 1)
    for part in ("query", "value"):
        updates = [
            update
            for one in found
            for name, update in one["updates"].items()
            if name.endswith(f"{part}.weight")
        ]
        if updates:
            row[part] = summary(updates)
    return row


def summary(updates):
    """Means over seeds and layers: of ‖ΔW‖ / ‖W‖, the movement of W's spectrum, and σ / ‖ΔW‖."""
    spectra = [np.array(own["delta"][:32]) / own["sizes"][1] for own in updates]
    return {
        "relative size": float(np.mean([own["sizes"][1] / own["sizes"][0] for own in updates])),
        "spectrum moved": float(np.mean([own["moved"] for own in updates])),
        "shares": np.mean(np.square(spectra), axis=0).round(6).tolist(),
        "intruders": float(np.mean([own["intruders"] for own in updates])),
        "effective rank": float(np.mean([effective_rank(np.array(o["delta"])) for o in updates])),
    }


def conversion(bert, runs, folder, corpus):
    """Mean φ over pairs of layers, by seed, of what LoRA of rank 8 learned: {row: {part: lists}}.

    Θ_B and Θ_A with the layer's own W, with the W of the next layer, and of random B and A; the raw
    factors; and what of A was learned, A − A_0.
    """
    found = {}
    for run in runs:
        if (run.method.name, run.steps, run.corpus) != ("LoRA r=8", LENGTHS[-1], corpus):
            continue
        stored = np.load(folder / f"{run.key}.npz")
        rng = np.random.default_rng(run.seed)
        for part in ("query", "value"):
            names = [f"encoder.layer.{i}.attention.self.{part}.weight" for i in range(6)]
            Ws = [bert.weights[name] for name in names]
            A, B, A_0 = ([stored[f"{name}|{letter}"] for name in names] for letter in KEYS)
            learned = [one - start for one, start in zip(A, A_0)]
            random = [rng.standard_normal(b.shape).astype(b.dtype) for b in B]
            rows = {
                "B": B,
                "Theta_B": [_theta_b(W, b) for W, b in zip(Ws, B)],
                "Theta_B, next W": [_theta_b(W, b) for W, b in zip(Ws[1:] + Ws[:1], B)],
                "Theta_B, random B": [_theta_b(W, b) for W, b in zip(Ws, random)],
                "A - A_0": [one.T for one in learned],
                "Theta_A": [_theta_a(W, one) for W, one in zip(Ws, learned)],
                "Theta_A, next W": [_theta_a(W, one) for W, one in zip(Ws[1:] + Ws[:1], learned)],
                "Theta_A, random A": [_theta_a(W, b.T) for W, b in zip(Ws, random)],
            }
            for name, matrices in rows.items():
                values = [round(mean_similarity(matrices, k), 5) for k in FIRST]
                found.setdefault(name, {}).setdefault(part, []).append(values)
    return {"k": FIRST, "rows": found}


def _theta_b(W, B):
    """Θ_Bᵀ (d_in, r)."""
    return np.linalg.solve(W.astype(float), B.astype(float))


def _theta_a(W, A):
    """Θ_Aᵀ (d_out, r)."""
    return np.linalg.solve(W.T.astype(float), A.T.astype(float))


def weak_directions(bert):
    """Mean φ over pairs of layers of the last k singular vectors of W: {part: {side: values}}."""
    found = {"k": FIRST}
    for part in ("query", "key", "value"):
        names = [f"encoder.layer.{i}.attention.self.{part}.weight" for i in range(6)]
        inverses = [np.linalg.inv(bert.weights[name].astype(float)) for name in names]
        found[part] = {
            "right": [round(mean_similarity(inverses, k), 5) for k in FIRST],
            "left": [round(mean_similarity([M.T for M in inverses], k), 5) for k in FIRST],
        }
    return found


def four_bits(bert, editorials):
    """NF4 of one kind of matrices at a time: the error of W and of the sentences' vectors."""
    rows = {}
    for part in (
        "query",
        "key",
        "value",
        "attention.output",
        "intermediate",
        "layer output",
        "all",
    ):
        names = [name for name in bert.weights if _is_kind(name, part)]
        weights = {**bert.weights, **{name: quantize(bert.weights[name]) for name in names}}
        errors = [
            np.linalg.norm(dense(weights[name]) - bert.weights[name])
            / np.linalg.norm(bert.weights[name])
            for name in names
        ]
        before, after = (
            editorial_vectors(own, bert, editorials) for own in (bert.weights, weights)
        )
        change = np.linalg.norm(after - before, axis=1)  # of unit vectors
        rows[part] = {
            "matrices": len(names),
            "error of W": float(np.mean(errors)),
            "change of vectors": float(np.mean(change)),
            "related": related(weights, bert, editorials),
        }
    return rows | {"none": {"related": related(bert.weights, bert, editorials)}}


def _is_kind(name, part):
    """Whether a weight is a matrix of this part of a layer."""
    if not name.startswith("encoder.layer") or not name.endswith((".weight",)) or "Norm" in name:
        return False
    own = name.split(".", 3)[3].removesuffix(".weight").removesuffix(".dense")
    own = own.removeprefix("attention.self.").replace("output", "layer output")
    return part in ("all", own.replace("attention.layer output", "attention.output"))


def in_peft(reviews, runs, folder, sentences=100):
    """The logits of a trained LoRA in PEFT, on the real model, beside those here."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    import peft
    from support.bert_in_peft import classifier_of, peft_logits

    run = next(run for run in runs if (run.method.name, run.steps) == ("LoRA r=8", LENGTHS[-1]))
    weights = with_head(np.random.default_rng(run.seed), reviews.bert.weights, classes=2)
    attached = attach(weights, run.method.adapters, rng=np.random.default_rng(0))
    stored = np.load(folder / f"{run.key}.npz")
    params = {
        key: {name: stored[f"{key}|{name}"] for name in own} for key, own in attached.params.items()
    }
    tokens, mask = (array[:sentences] for array in reviews.test[:2])
    logits = logits_of(attached.bind(params), tokens, mask, reviews.bert.heads)
    with tempfile.TemporaryDirectory() as adapter:
        write_peft(adapter, attached, params)
        model = peft.PeftModel.from_pretrained(classifier_of(weights, reviews.bert.heads), adapter)
        found = peft_logits(model, tokens, mask)
    return {
        "peft": version("peft"),
        "transformers": version("transformers"),
        "sentences": sentences,
        "largest logit": float(np.max(np.abs(logits))),
        "difference": float(np.max(np.abs(found - logits))),
    }


def rate_runs():
    """Every method with three rates."""
    return [
        Run(method, method.lr * factor, RATE_STEPS, seed)
        for seed in RATE_SEEDS
        for method in METHODS
        for factor in FACTORS
    ]


def test_runs(results):
    """Every method, and LoRA in other places, at the best rate of the validation sentences."""
    best = {}
    for method in METHODS:
        scores = {}
        for run in rate_runs():
            if run.method == method and (found := results.get(run)):
                scores.setdefault(run.lr, []).append(found["accuracy"])
        best[method.name] = max(scores, key=lambda lr: np.mean(scores[lr])) if scores else method.lr
    runs = []
    for seed in SEEDS:
        for steps in LENGTHS:
            runs += [Run(method, best[method.name], steps, seed) for method in METHODS]
    lora = next(method for method in METHODS if method.name == "LoRA r=8")
    for seed in FEWER_SEEDS:
        fixed = (best[lora.name], LENGTHS[-1], seed)
        runs += [*(Run(method, *fixed) for method in PLACES), Run(lora, *fixed, "products")]
    return runs


def trained(run, reviews):
    """(attached, params, seconds) of a run."""
    rng = np.random.default_rng(run.seed)
    weights = with_head(rng, reviews.bert.weights, classes=2)
    method = run.method._replace(lr=run.lr)
    loss = review_loss(reviews.bert.heads)
    return adapt(
        method, weights, loss, reviews.train, rng=rng, steps=run.steps, batch=BATCH, task="films"
    )


def validate(run, reviews):
    """The accuracy on validation sentences."""
    attached, params, seconds = trained(run, reviews)
    tokens, mask, labels = reviews.validation
    logits = logits_of(attached.merge(params), tokens, mask, reviews.bert.heads)
    return {"accuracy": accuracy(logits, labels), "seconds": seconds}


def test(run, reviews, editorials, folder):
    """Accuracy on test sentences, and what became of the weights and of the sentences' vectors."""
    attached, params, seconds = trained(run, reviews)
    merged = attached.merge(params)
    tokens, mask, labels = (array[:TEST] for array in reviews.test)
    logits = logits_of(merged, tokens, mask, reviews.bert.heads)
    if run.method.name == "LoRA r=8":
        arrays = {f"{key}|{name}": own[name] for key, own in params.items() for name in own}
        starts = {f"{key}|A_0": own["A"] for key, own in attached.params.items() if "A" in own}
        np.savez(folder / f"{run.key}.npz", **arrays, **starts)
    return {
        "accuracy": accuracy(logits, labels),
        "seconds": seconds,
        "trainable": attached.trainable,
        "related": related(merged, reviews.bert, editorials),
        "updates": {name: spectrum(W, delta) for name, W, delta in updates(attached, merged)},
    }


def spectrum(W, delta):
    """Singular values of W and of its update, and how far those of W moved."""
    before, after = (np.linalg.svd(M, compute_uv=False) for M in (W, W + delta))
    return {
        "sizes": [float(np.linalg.norm(W)), float(np.linalg.norm(delta))],
        "delta": np.linalg.svd(delta, compute_uv=False)[:64].round(6).tolist(),
        "moved": float(np.linalg.norm(after - before) / np.linalg.norm(before)),
        "intruders": len(intruder_dimensions(W, W + delta, *INTRUDERS)),
    }


def editorial_vectors(weights, bert, editorials):
    """Unit vectors of the first four sentences of 60 editorials, (240, d)."""
    reviews_of = {}
    for name, text in zip(editorials.ids, editorials.texts):
        reviews_of.setdefault(name.split("_")[0], []).append(text)
    long = [texts[:4] for texts in reviews_of.values() if len(texts) >= 4][:60]
    tokens, mask = tokenize([text for texts in long for text in texts], bert.vocabulary, 48)
    encoder = {name: W for name, W in weights.items() if not name.startswith("classifier")}
    parts = np.array_split(np.arange(len(tokens)), 4)
    vectors = [sentence_vectors(encoder, tokens[i], mask[i], bert.heads) for i in parts]
    vectors = np.concatenate(vectors)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def related(weights, bert, editorials):
    """How often two sentences of one editorial are closer than two of different reviews.

    The area under the ROC curve, of cosines between sentences' vectors: what the model was trained
    for, before it was fine-tuned for something else.
    """
    vectors = editorial_vectors(weights, bert, editorials)
    first, second = np.triu_indices(len(vectors), 1)
    cosines = np.sum(vectors[first] * vectors[second], axis=1)
    same = first // 4 == second // 4
    ranks = np.argsort(np.argsort(cosines)) + 1.0
    wins = np.sum(ranks[same]) - np.sum(same) * (np.sum(same) + 1) / 2
    return float(wins / (np.sum(same) * np.sum(~same)))


if __name__ == "__main__":
    main()
