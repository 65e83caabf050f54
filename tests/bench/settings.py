"""What tutorial 15 shows: learning rates, ranks, places, and other settings, on three tasks.

    python tests/bench/settings.py --files real --runs FOLDER     hours; may be stopped and resumed

The tasks: Fraktur letters, Python code for a language model of English prose, and, where the folder
--files has the two packages, film reviews for a pretrained Transformer. Every run trains LoRA (or
all matrices) once, from one setting of which one question changes one or two parts. Each is a line
in a file of the folder --runs. When all are there, they go to tutorials/results/settings.json.

A score is the accuracy on held-out letters or reviews, in %, and on text the bits per character, of
which fewer are better.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import autograd.numpy as anp
import numpy as np
from machine import machine
from results import resumable_parser, write_results

from minilora.adapters import Full, LoRA
from minilora.attachment import attach
from minilora.cli import letters, reviews, text
from minilora.data.glyphs import FRAKTUR, draw_letters
from minilora.data.text import code, encode, prose, split
from minilora.models.encoder import with_head
from minilora.models.mlp import mlp
from minilora.train import accuracy, fit
from minilora.weight import linear, normal

SEEDS = {"letters": range(5), "text": range(3), "films": range(3)}
FACTORS = (1 / 9, 1 / 3, 1, 3, 9)  # of a task's usual rate


@dataclass(frozen=True)
class Tuned(LoRA):
    """LoRA with two more choices: which of A and B starts at zero, and dropout before A."""

    zero: str = "B"
    dropout: float = 0.0
    rng: np.random.Generator | None = None

    def init(self, rng, W):
        """As LoRA's; for zero="A" the other way round, with B from N(0, 1/r)."""
        params, frozen = super().init(rng, W)
        if self.zero == "A":
            B = normal(rng, params["B"].shape, self.rank**-0.5, W.dtype)
            params = {"A": np.zeros_like(params["A"]), "B": B}
        return params, frozen

    def forward(self, params, frozen, x):
        """As LoRA's, where A sees x with a share of its entries dropped and the others enlarged."""
        if not self.dropout:
            return super().forward(params, frozen, x)
        kept = (self.rng.random(x.shape) >= self.dropout) / (1 - self.dropout)
        low = self.scale * linear(params["A"], kept.astype(np.float32) * x)
        return linear(frozen["W"], x) + linear(params["B"], low)


class Setting(NamedTuple):
    """How to adapt: LoRA of a rank on the weights of some names, or these weights themselves."""

    names: tuple
    lr: float
    steps: int
    batch: int
    rank: int = 8  # 0: train the matrices themselves
    scale: float = 1.0  # α / r
    zero: str = "B"
    dropout: float = 0.0
    decay: float = 0.0  # λ of λ/2 (‖A‖² + ‖B‖²) in the loss
    examples: int = 0  # of the training set; 0: all


class Task(NamedTuple):
    """A pretrained network, data to adapt it to, and its usual setting."""

    weights: dict
    loss: Callable
    data: tuple
    score: Callable
    always: dict  # adapters in every run
    usual: Setting
    places: dict  # other sets of names, with the rank that has about as many parameters


def letters_task():
    """Fraktur letters: 40 images of each to adapt to."""
    rng = np.random.default_rng(0)
    network = letters.pretrain(rng, letters.USUAL)
    held_out = draw_letters(rng, FRAKTUR, 100)
    return Task(
        network,
        letters.mlp_loss,
        draw_letters(rng, FRAKTUR, 40),
        lambda weights: 100 * accuracy(mlp(weights, held_out[0]), held_out[1]),
        {},
        Setting((letters.HIDDEN,), lr=1e-2, steps=200, batch=64),
        {
            "first two layers": (("layers.[01].W",), 16),
            "last two of four": (("layers.[23].W",), 16),
            "all four": ((letters.HIDDEN,), 8),
        },
    )


def text_task():
    """Python code, after English prose."""
    rng = np.random.default_rng(0)
    known, _ = split(encode(prose())[:400_000])
    to_learn, held_out = split(encode(code())[:200_000])
    writer = text.pretrain_writer(rng, known, text.USUAL.pretrain_steps)
    return Task(
        writer,
        text.next_character_loss,
        text.all_windows(to_learn),
        lambda weights: text.bits_per_character(weights, held_out),
        {},
        Setting((text.LINEAR,), lr=1e-2, steps=200, batch=16),
        {
            "attention": (("blocks.*.attention.*.W",), 18),
            "feed-forward": (("blocks.*.ffn.*.W",), 14),
            "first two blocks": (("blocks.[01].*.W",), 16),
            "last two of four": (("blocks.[23].*.W",), 16),
            "all": ((text.LINEAR,), 8),
        },
    )


def films_task(files):
    """Film reviews, for all-MiniLM-L6-v2 with a new head."""
    found = reviews.load_reviews(files)
    tokens, mask, labels = (array[:1000] for array in found.test)
    heads = found.bert.heads
    return Task(
        with_head(np.random.default_rng(0), found.bert.weights, classes=2),
        reviews.review_loss(heads),
        found.train,
        lambda weights: 100 * accuracy(reviews.logits_of(weights, tokens, mask, heads), labels),
        reviews.HEAD,
        Setting(reviews.ATTENTION, lr=5e-3, steps=100, batch=reviews.BATCH),
        {},
    )


def train(task, setting, seed):
    """The score of one run."""
    rng = np.random.default_rng(seed)
    adapter = Full()
    if setting.rank:
        alpha = setting.scale * setting.rank
        adapter = Tuned(setting.rank, alpha, zero=setting.zero, dropout=setting.dropout, rng=rng)
    attached = attach(
        task.weights, {**dict.fromkeys(setting.names, adapter), **task.always}, rng=rng
    )
    chosen = slice(None)
    if setting.examples:
        chosen = rng.choice(len(task.data[0]), setting.examples, replace=False)

    def loss(params, *rows):
        value = task.loss(attached.bind(params), *rows)
        if setting.decay:
            squares = [anp.sum(M**2) for own in params.values() for M in own.values()]
            value = value + setting.decay / 2 * sum(squares)
        return value

    data = tuple(array[chosen] for array in task.data)
    how = {"steps": setting.steps, "batch": setting.batch, "lr": setting.lr}
    params = fit(loss, attached.params, data, rng=rng, **how)
    return task.score(attached.merge(params))


def questions(task):
    """{question: {option: Setting}}: what is asked of a task."""
    usual = task.usual
    slow = bool(task.always)  # a large model: fewer questions, and fewer options of each
    full_lr = usual.lr / (10 if slow else 3)
    few = 32 if slow else 104
    factors = FACTORS[1:-1] if slow else FACTORS

    def rates(setting):
        """The setting with each of the rates around its own."""
        return {f"lr {setting.lr * f:.2g}": setting._replace(lr=setting.lr * f) for f in factors}

    asked = {"rate of full fine-tuning": rates(usual._replace(rank=0, lr=full_lr))}
    for rank in (1, 8, 32):
        asked[f"rate of rank {rank}"] = rates(usual._replace(rank=rank))
    asked["rate with A = 0"] = rates(usual._replace(zero="A"))
    for scale in () if slow else (0.25, 4):
        asked[f"rate with scale {scale:g}"] = rates(usual._replace(scale=scale))
    asked["dropout"] = {
        f"{share:g}, {n or 'all'} examples": usual._replace(dropout=share, examples=n)
        for n in (few, 0)
        for share in (0, 0.1, 0.3)
    }
    asked["decay"] = {f"λ {x:g}": usual._replace(decay=x) for x in (0, 1e-4, 1e-3, 1e-2)}
    asked["batch"] = {
        f"{name}, {batch}": usual._replace(rank=rank, lr=lr, batch=batch)
        for name, rank, lr in (("LoRA", usual.rank, usual.lr), ("full", 0, full_lr))
        for batch in (4, 16, 64)
    }
    if slow:
        return asked
    asked["examples"] = {
        f"r={rank}, {n} examples": usual._replace(rank=rank, examples=n)
        for rank in (1, 8, 32)
        for n in (few, 4 * few, 8 * few)
    }
    asked["steps"] = {
        f"{steps} steps, {few} examples": usual._replace(steps=steps, examples=few)
        for steps in (usual.steps // 4, usual.steps, 4 * usual.steps)
    }
    asked["places"] = {
        where: usual._replace(names=names, rank=rank)
        for where, (names, rank) in task.places.items()
    }
    return asked


class Scores:
    """Finished runs, one a line of a file: [task, setting, seed, score]."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "settings.jsonl"
        lines = self.file.read_text("utf-8").splitlines() if self.file.exists() else []
        self.found = {tuple(map(str, line[:3])): line[3] for line in map(json.loads, lines)}

    def get(self, *run):
        """The score of (task, setting, seed), or None."""
        return self.found.get(tuple(map(str, run)))

    def put(self, name, setting, seed, score):
        """Keep a score."""
        self.found[name, str(setting), str(seed)] = score
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, str(setting), seed, score]) + "\n")


def main():
    """Read the command line, do what is missing, write the table when nothing is."""
    parser = resumable_parser(__doc__)
    parser.add_argument("--only", choices=SEEDS, help="one task")
    chosen = parser.parse_args()
    end = time.time() + 3600 * chosen.hours
    makers = {
        "letters": letters_task,
        "text": text_task,
        "films": lambda: films_task(chosen.files),
    }
    scores = Scores(chosen.runs)
    table = {}
    for name in [chosen.only] if chosen.only else SEEDS:
        task = makers[name]()
        table[name] = {"before": task.score(task.weights), "usual": str(task.usual)}
        for question, options in questions(task).items():
            row = table[name][question] = {}
            for option, setting in options.items():
                for seed in SEEDS[name]:
                    if scores.get(name, setting, seed) is None and time.time() < end:
                        score = train(task, setting, seed)
                        scores.put(name, setting, seed, score)
                        print(name, question, option, seed, round(score, 3), flush=True)
                row[option] = [scores.get(name, setting, seed) for seed in SEEDS[name]]
    missing = any(None in row for found in table.values() for row in _rows(found))
    if missing or chosen.only:
        return print("not all runs are there yet" if missing else "one task: nothing is written")
    write_results("settings.json", {**table, "machine": machine()})


def _rows(found):
    """All lists of scores of a task."""
    return [own for row in found.values() if isinstance(row, dict) for own in row.values()]


if __name__ == "__main__":
    main()
