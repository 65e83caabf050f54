"""What tutorial 19 shows: the family on letters and on a pretrained Transformer, five seeds each.

    python tests/bench/family.py --files real --runs FOLDER     hours; may be stopped and resumed

Every method has about as many trainable parameters as LoRA of rank 4 on letters and of rank 8 on
film reviews, or as many as it can have when those are fewer. First its rate, on seeds and data that
decide nothing else: from its guess to the neighbours on a grid, until the best is between two
others. Then five seeds at that rate, on held-out letters and test sentences.

Each run is a line of a file in the folder --runs. When all are there, the table goes to
tutorials/results/family.json. On film reviews the methods of tutorial 14 are not run again: their
accuracies are those of tutorials/results/real.json, after as many steps.
"""

import json
import os
import time
from functools import cache

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from machine import machine
from results import RESULTS, resumable_parser, write_results

from minilora import family
from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.attachment import kind
from minilora.cli import letters, reviews
from minilora.cli.comparison import Method, adapt
from minilora.data.glyphs import FRAKTUR, LIGHTING, ROTATED, SOURCE, draw_letters
from minilora.models.encoder import with_head
from minilora.models.mlp import mlp
from minilora.train import accuracy
from minilora.weight import linear

SEEDS = range(5)
RATE_SEEDS = {"letters": (100, 101), "films": (100,)}
STEPS = {"letters": 180, "films": 100}  # as in tutorials 13 and 14
TEST = 2000  # sentences, as in tutorial 14
# Rates are powers of this, so that a neighbour is 2.5 times as far.
GRID = 2.5
DOMAINS = (FRAKTUR, LIGHTING, ROTATED)


class MergedSHiRA(family.SHiRA):
    """SHiRA whose forward multiplies by W' itself: five times as fast on this model, with the same
    numbers up to rounding. It keeps a matrix of W's size, which the class does not.
    """

    def forward(self, params, frozen, x):
        """y = W' x."""
        return linear(self.merge(params, frozen), x)


def on_letters(name, size, adapter, lr, names=letters.HIDDEN, **options):
    """A method on the hidden matrices of the network that reads letters."""
    return Method(name, size, {names: adapter}, lr, **options)


# At LoRA's number, 1,152 for each matrix (144, 144); the rates are where the search begins.
ON_LETTERS = (
    Method("full fine-tuning", "", {"*": Full()}, 3e-3),
    on_letters("LoRA", "r=4", LoRA(4), 3e-2),
    on_letters("LoRA-FA", "r=8", family.LoRAFA(8), 3e-2),
    on_letters("SBoRA-FA", "r=8", SBoRAFA(8), 3e-2),
    on_letters("SBoRA-FB", "r=8", SBoRAFB(8), 3e-2),
    on_letters("LoRA-XS", "r=33", family.LoRAXS(33), 1e-2),
    on_letters("PiSSA", "r=4", family.PiSSA(4), 1e-2),
    on_letters("VeRA", "r=144", family.VeRA(144), 3e-2),
    on_letters("CondLoRA", "r=16", CondLoRA(16), 1e-2, key=kind),
    on_letters("RandLoRA", "r=24", family.RandLoRA(24), 3e-2),
    on_letters("LoHa", "r=2", family.LoHa(2), 3e-2),
    on_letters("LoKr", "r=12", family.LoKr(12), 1e-2),
    on_letters("SHiRA", "r=4", family.SHiRA(4), 1e-2),
    on_letters("DoRA", "r=3", family.DoRA(3), 3e-2),
    on_letters("IA3", "", family.IA3(), 3e-2),
    on_letters("SVF", "", family.SVF(), 3e-2),
    on_letters("OFT", "b=16", family.OFT(16), 1e-2),
    on_letters("BOFT", "b=4, m=5", family.BOFT(4, 5), 1e-2),
    on_letters("HRA", "r=8", HRA(8), 3e-2),
    on_letters("HRA strict", "r=8", HRAStrict(8), 3e-2),
    on_letters("BitFit", "", family.BitFit(), 3e-2, names="layers.[0-3].b"),
)

# At LoRA's number, 6,144 for each query and value (384, 384).
ON_FILMS = (
    reviews.method_on("LoRA-FA", "r=16", family.LoRAFA(16), 5e-3),
    reviews.method_on("LoRA-XS", "r=78", family.LoRAXS(78), 5e-3),
    reviews.method_on("PiSSA", "r=8", family.PiSSA(8), 1e-3),
    reviews.method_on("VeRA", "r=384", family.VeRA(384), 1e-2),
    reviews.method_on("RandLoRA", "r=28", family.RandLoRA(28), 1e-2),
    reviews.method_on("LoHa", "r=4", family.LoHa(4), 5e-3),
    reviews.method_on("LoKr", "r=24", family.LoKr(24), 5e-3),
    reviews.method_on("SHiRA", "r=8", MergedSHiRA(8), 2e-3),
    reviews.method_on("DoRA", "r=7", family.DoRA(7), 5e-3),
    reviews.method_on("IA3", "", family.IA3(), 2e-2),
    reviews.method_on("SVF", "", family.SVF(), 2e-2),
    reviews.method_on("OFT", "b=32", family.OFT(32), 1e-3),
    reviews.method_on("BOFT", "b=8, m=4", family.BOFT(8, 4), 1e-3),
    reviews.method_on("BitFit", "", family.BitFit(), 2e-3, names=("encoder.*.bias",)),
)


class Runs:
    """Finished runs, one a line of a file: [task, method, rate, seed, result]."""

    def __init__(self, folder, end):
        folder.mkdir(parents=True, exist_ok=True)
        self.end = end
        self.file = folder / "family.jsonl"
        lines = self.file.read_text("utf-8").splitlines() if self.file.exists() else []
        self.found = {tuple(line[:4]): line[4] for line in map(json.loads, lines)}

    def result(self, task, method, lr, seed):
        """The accuracies of a run; it is done when it is not there, unless time is up."""
        run = task.name, method.name, lr, seed
        if run not in self.found:
            if time.time() > self.end:
                raise SystemExit("not all runs are there yet")
            self.found[run] = task.run(method._replace(lr=lr), seed)
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps([*run, self.found[run]]) + "\n")
            print(*run, self.found[run], flush=True)
        return self.found[run]


class Letters:
    """The network and the letters of tutorial 13, and its run of one method."""

    name = "letters"

    def __init__(self):
        rng = np.random.default_rng(0)
        self.network = letters.pretrain(rng, letters.USUAL)
        draw_letters(rng, SOURCE, 40)  # tutorial 13 draws these first
        self.held_out = [draw_letters(rng, domain, 100) for domain in DOMAINS]

    def run(self, method, seed):
        """{"trainable", kind of letters: accuracy}; of validation letters for seeds from 100."""
        found = {}
        for domain, held_out in zip(DOMAINS, self.held_out):
            if seed >= min(RATE_SEEDS[self.name]):
                held_out = draw_letters(np.random.default_rng([6, seed]), domain, 40)
            attached, params, _ = adapt(
                method,
                self.network,
                letters.mlp_loss,
                draw_letters(np.random.default_rng([1, seed]), domain, 40),
                rng=np.random.default_rng([2, seed]),
                steps=STEPS[self.name],
                batch=64,
                task=domain.name,
            )
            logits = mlp(attached.merge(params), held_out[0])
            found[domain.name] = accuracy(logits, held_out[1])
        return {"trainable": attached.trainable, **found}


class Films:
    """The pretrained Transformer and the reviews of tutorial 14, and its run of one method."""

    name = "films"

    def __init__(self, files):
        self.reviews = reviews.load_reviews(files)

    def run(self, method, seed):
        """{"trainable", "films": the accuracy}; on validation sentences for seeds from 100."""
        rng, bert = np.random.default_rng(seed), self.reviews.bert
        validates = seed >= min(RATE_SEEDS[self.name])
        part = self.reviews.validation if validates else self.reviews.test
        tokens, mask, labels = part if validates else (array[:TEST] for array in part)
        attached, params, _ = adapt(
            method,
            with_head(rng, bert.weights, classes=2),
            reviews.review_loss(bert.heads),
            self.reviews.train,
            rng=rng,
            steps=STEPS[self.name],
            batch=reviews.BATCH,
            task="films",
        )
        logits = reviews.logits_of(attached.merge(params), tokens, mask, bert.heads)
        return {"trainable": attached.trainable, "films": accuracy(logits, labels)}


def choose_rate(task, method, runs):
    """The rate with the best mean accuracy on validation data, with a worse one on either side."""

    @cache
    def score(lr):
        results = [runs.result(task, method, lr, seed) for seed in RATE_SEEDS[task.name]]
        return np.mean([result[name] for result in results for name in accuracies(result)])

    best = method.lr
    while True:
        near = [float(f"{best * factor:.3g}") for factor in (1, 1 / GRID, GRID)]
        if (better := max(near, key=score)) == best:
            return best
        best = better


def accuracies(result):
    """The names under which a result has accuracies."""
    return [name for name in result if name != "trainable"]


def rows(task, methods, runs):
    """The table of a task: each method's rate, its number of parameters, and its accuracies."""
    table = []
    for method in methods:
        lr = choose_rate(task, method, runs)
        found = [runs.result(task, method, lr, seed) for seed in SEEDS]
        row = {"method": method.family, "size": method.size, "lr": lr}
        row["trainable"] = found[0]["trainable"]
        for name in accuracies(found[0]):
            row[name] = [round(result[name], 5) for result in found]
        table.append(row)
    return table


def films_of_tutorial_14():
    """The rows of tutorial 14 that are adapters at LoRA's number, or full fine-tuning."""
    stored = json.loads((RESULTS / "real.json").read_text("utf-8"))["methods"]
    table = []
    for row in stored:
        name, _, size = row["method"].partition(" r=")
        at_number = row["trainable"] == 74_498 and not name.startswith("Q")
        wanted = row["corpus"] == "films" and row["steps"] == STEPS["films"]
        if wanted and (at_number or name == "full fine-tuning"):
            own = {"method": name, "size": size and f"r={size}", "lr": row["lr"]}
            table.append({**own, "trainable": row["trainable"], "films": row["accuracy"]})
    return table


def main():
    """Read the command line, do what is missing, write the table when nothing is."""
    parser = resumable_parser(__doc__)
    parser.add_argument("--only", choices=STEPS, help="one task; writes no table")
    chosen = parser.parse_args()
    runs = Runs(chosen.runs, end=time.time() + 3600 * chosen.hours)
    table = {}
    if chosen.only != "films":
        table["letters"] = rows(Letters(), ON_LETTERS, runs)
    if chosen.only != "letters":
        table["films"] = films_of_tutorial_14() + rows(Films(chosen.files), ON_FILMS, runs)
    if not chosen.only:
        write_results("family.json", {**table, "steps": STEPS, "machine": machine()})


if __name__ == "__main__":
    main()
