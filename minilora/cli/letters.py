"""Compare adapters on images of letters: pretrain an MLP, see it fail on unseen domains, adapt it.

Five linear layers learn sans-serif letters of 12 × 12 pixels. Then each method adapts that one
network to Fraktur, to uneven light and to letters rotated by 90°, from 40 images of each letter.
"""

import time
from typing import NamedTuple

import numpy as np

from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.attachment import attach, kind
from minilora.cli.arguments import add_out_option, add_training_options, check_folder
from minilora.cli.comparison import Length, Method, adapt
from minilora.cli.output import PatientPrinter, print_line, table
from minilora.cli.plots import plot_accuracy, plot_predictions
from minilora.data.glyphs import ALPHABET, FRAKTUR, LIGHTING, ROTATED, SOURCE, draw_letters
from minilora.models.mlp import init_mlp, mlp
from minilora.ops import cross_entropy
from minilora.train import accuracy, fit

WIDTHS = (144, 144, 144, 144, 144, 26)
HIDDEN = "layers.[0-3].W"

METHODS = (
    Method("full fine-tuning", "", {"*": Full()}, lr=3e-3),
    Method("head only", "", {"layers.4.*": Full()}, lr=3e-2),
    Method("LoRA", "r=1", {HIDDEN: LoRA(rank=1)}, lr=3e-2),
    Method("LoRA", "r=4", {HIDDEN: LoRA(rank=4)}, lr=1e-2),
    Method("LoRA", "r=16", {HIDDEN: LoRA(rank=16)}, lr=1e-2),
    Method("SBoRA-FA", "r=8", {HIDDEN: SBoRAFA(rank=8)}, lr=3e-2),
    Method("SBoRA-FA", "r=32", {HIDDEN: SBoRAFA(rank=32)}, lr=1e-2),
    Method("SBoRA-FB", "r=8", {HIDDEN: SBoRAFB(rank=8)}, lr=3e-2),
    Method("SBoRA-FB", "r=32", {HIDDEN: SBoRAFB(rank=32)}, lr=3e-2),
    Method("QSBoRA-FA", "r=32", {HIDDEN: SBoRAFA(rank=32)}, lr=1e-2, four_bits=True),
    Method("HRA", "r=8", {HIDDEN: HRA(rank=8)}, lr=3e-2),
    Method("HRA", "r=32", {HIDDEN: HRA(rank=32)}, lr=1e-2),
    Method("HRA λ=0.01", "r=8", {HIDDEN: HRA(rank=8)}, lr=3e-2, strength=0.01),
    Method("HRA strict", "r=8", {HIDDEN: HRAStrict(rank=8)}, lr=3e-2),
    Method("CondLoRA", "r=4", {HIDDEN: CondLoRA(rank=4)}, lr=3e-2, key=kind),
    Method("CondLoRA", "r=16", {HIDDEN: CondLoRA(rank=16)}, lr=1e-2, key=kind),
)

USUAL = Length(pretrain_steps=1000, adapt_steps=400, images=308)
FAST = Length(pretrain_steps=300, adapt_steps=60, images=100)

_FIGURES = ("letters.png", "accuracy.png")
_SHOWN = "LoRA r=4"  # the method whose predictions the first figure shows


class Outcome(NamedTuple):
    """What one method did on one domain; accuracies from 0 to 1."""

    trainable: int  # parameters
    fraction: float  # of the model's parameters
    accuracy: float  # on the domain, after adapting
    source_accuracy: float  # on the source letters, after adapting
    merge_gap: float  # largest difference of two logits, merged and unmerged
    seconds: float
    predictions: np.ndarray  # the label predicted for each test image


class _Task(NamedTuple):
    """One domain: (images, labels) to adapt to and to test on, and the accuracy before adapting."""

    name: str
    to_adapt: tuple
    to_test: tuple
    before: float


def add_arguments(parser):
    """The options of this command."""
    add_out_option(parser, "minilora-tour")
    add_training_options(parser)


def run(options):
    """Run the command; a folder that takes no files is noticed before anything is trained."""
    check_folder(options.out, _FIGURES)
    started = time.perf_counter()
    show = PatientPrinter()
    compare_on_letters(options.out, options.seed, FAST if options.fast else USUAL, show)
    seconds = time.perf_counter() - started
    show(f"\n{seconds:.0f} seconds. To read on: README.md, or minilora/adapters/lora.py itself.")
    show.raise_error()


def compare_on_letters(out, seed, length, show=print_line):
    """Pretrain, adapt with every method to every domain; print a table, write two figures into out.

    show: called with each text to print. Returns {method name: {domain name: Outcome}}.
    """
    rng = np.random.default_rng(seed)
    source = draw_letters(rng, SOURCE, length.test_images)
    weights = pretrain(rng, length)
    known = _accuracy_on(weights, source)
    size = sum(W.size for W in weights.values())
    show(f"A network with {size:,} parameters has learned to classify {SOURCE.name} letters:")
    show(f"  {known:.1%} of new {SOURCE.name} letters are classified correctly.")
    tasks = []
    outcomes = {method.name: {} for method in METHODS}
    for domain in (FRAKTUR, LIGHTING, ROTATED):
        to_adapt = draw_letters(rng, domain, length.adapt_images)
        to_test = draw_letters(rng, domain, length.test_images)
        task = _Task(domain.name, to_adapt, to_test, _accuracy_on(weights, to_test))
        tasks.append(task)
        show(f"  {task.before:.1%} of {task.name} letters, an unseen domain.")
        for method in METHODS:
            outcome = _measure(method, weights, task, source, length.adapt_steps, rng=rng)
            outcomes[method.name][task.name] = outcome
    written = []
    try:
        for file in _draw_figures(out, weights, tasks, outcomes):
            written.append(file)
    finally:  # whatever becomes of the figures, the results are printed
        example = attach(weights, {HIDDEN: LoRA(rank=4)}, rng=rng)
        show(f"\nLoRA r=4 has these trainable parameters:\n{example}\n")
        show(_result_table(tasks, outcomes, known))
        for file in written:
            show(f"wrote {file}")
    return outcomes


def pretrain(rng, length):
    """The weights of an MLP that classifies the source letters."""
    data = draw_letters(rng, SOURCE, length.images)
    start = init_mlp(rng, WIDTHS)
    return fit(
        mlp_loss,
        start,
        data,
        rng=rng,
        steps=length.pretrain_steps,
        batch=128,
        lr=1e-3,
        label="pretraining",
    )


def mlp_loss(weights, x, labels):
    """Cross-entropy of the MLP's logits."""
    return cross_entropy(mlp(weights, x), labels)


def _accuracy_on(weights, data):
    images, labels = data
    return accuracy(mlp(weights, images), labels)


def _measure(method, weights, task, source, steps, *, rng):
    """Train one method on one task and measure it; returns an Outcome."""
    attached, params, seconds = adapt(
        method, weights, mlp_loss, task.to_adapt, rng=rng, steps=steps, batch=64, task=task.name
    )
    adapted = attached.bind(params)
    images, labels = task.to_test
    logits = mlp(adapted, images)
    merged_logits = mlp(attached.merge(params), images)
    return Outcome(
        trainable=attached.trainable,
        fraction=attached.fraction,
        accuracy=accuracy(logits, labels),
        source_accuracy=_accuracy_on(adapted, source),
        merge_gap=float(np.max(np.abs(logits - merged_logits))),
        seconds=seconds,
        predictions=np.argmax(logits, axis=1),
    )


def _result_table(tasks, outcomes, known):
    """Method by method: parameters, accuracy before → after on each domain and on the source."""
    head = ["accuracy in %", "trainable", "share"]
    head += [task.name for task in tasks]
    head += ["source accuracy", "|merged − unmerged|", "seconds"]
    rows = [head]
    for name, by_domain in outcomes.items():
        results = list(by_domain.values())
        source_accuracy = np.mean([result.source_accuracy for result in results])
        gap = max(result.merge_gap for result in results)
        seconds = sum(result.seconds for result in results)
        row = [name, f"{results[0].trainable:,}", f"{results[0].fraction:.1%}"]
        row += [_change(task.before, by_domain[task.name].accuracy) for task in tasks]
        row += [_change(known, source_accuracy), f"{gap:.0e}" if gap else "0", f"{seconds:.1f}"]
        rows.append(row)
    return (
        f"{table(rows)}\n"
        f"Before → after adapting. Source accuracy: {SOURCE.name} letters, mean over the domains.\n"
        "merged − unmerged: the largest difference of two logits. All in float32."
    )


def _change(before, after):
    """Two accuracies in percent."""
    return f"{100 * before:.1f} → {100 * after:.1f}"


def _draw_figures(out, weights, tasks, outcomes):
    """Write the predictions before and after one method, then accuracy against parameters."""
    out.mkdir(parents=True, exist_ok=True)
    letters = np.array(list(ALPHABET))
    panels = []
    points = {}
    for task in tasks:
        images, labels = task.to_test
        shown = np.arange(0, 26, 2) * (len(images) // 26)  # one image of every other letter
        before = np.argmax(mlp(weights, images[shown]), axis=1)
        outcome = outcomes[_SHOWN][task.name]
        after = outcome.predictions[shown]
        title = f"{task.name}\n{task.before:.0%} → {outcome.accuracy:.0%}"
        square = images[shown].reshape(-1, 12, 12)
        panels.append((title, square, letters[labels[shown]], letters[before], letters[after]))
        points[task.name] = []
        for method in METHODS:
            reached = outcomes[method.name][task.name]
            points[task.name].append((method.family, reached.trainable, reached.accuracy))
    predictions_file, accuracy_file = _FIGURES
    yield plot_predictions(panels, _SHOWN, out / predictions_file)
    baselines = {task.name: task.before for task in tasks}
    yield plot_accuracy(points, baselines, out / accuracy_file)
