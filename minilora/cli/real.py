"""Compare adapters on a pretrained Transformer: sentences from film reviews, positive or negative.

all-MiniLM-L6-v2, a BERT with 22.6 million parameters, turns a sentence into a vector, and a head
tells positive from negative. Each method trains the head, and all but the first adapt the encoder.
Nothing is downloaded: two files from the Python package index must be in a folder.
"""

import time
from pathlib import Path

import numpy as np

from minilora.cli.arguments import (
    UsageError,
    add_out_option,
    add_training_options,
    check_folder,
    folder,
    positive,
)
from minilora.cli.comparison import Length
from minilora.cli.output import PatientPrinter, print_line, table
from minilora.cli.plots import plot_accuracy, plot_spectra
from minilora.cli.reviews import METHODS, load_reviews, measure
from minilora.data.bert import MINILM
from minilora.data.packages import problem_with
from minilora.data.reviews import RATINGS

USUAL = Length(pretrain_steps=0, adapt_steps=80, test_images=1000)
FAST = Length(pretrain_steps=0, adapt_steps=4, test_images=100)

_FIGURES = ("real-accuracy.png", "real-spectra.png")
_SHOWN = 24  # singular values of each update in the figure
_ROUNDING = 1e-5  # of the largest


def add_arguments(parser):
    """The options of this command."""
    parser.add_argument(
        "--files",
        type=folder,
        default=Path("real"),
        metavar="FOLDER",
        help="folder with the two packages (%(default)s)",
    )
    parser.add_argument(
        "--model",
        type=folder,
        metavar="FOLDER",
        help="another BERT: a folder with config.json, vocab.txt and model.safetensors",
    )
    add_out_option(parser, "minilora-real")
    parser.add_argument(
        "--seeds", type=positive, default=1, metavar="N", help="runs of each method (%(default)s)"
    )
    add_training_options(parser)


def run(options):
    """Run the command; missing files are noticed before anything is read or trained."""
    _check_packages(options.files, [RATINGS] if options.model else [MINILM, RATINGS])
    check_folder(options.out, _FIGURES)
    started = time.perf_counter()
    show = PatientPrinter()
    try:
        reviews = load_reviews(options.files, options.model)
    except ValueError as error:
        raise UsageError(str(error)) from error
    seeds = range(options.seed, options.seed + options.seeds)
    compare_on_reviews(options.out, reviews, seeds, FAST if options.fast else USUAL, show)
    if options.fast:
        show("--fast shows that it runs: after so few steps no method has learned the task.")
    seconds = time.perf_counter() - started
    show(f"\n{seconds:.0f} seconds. To read on: README.md, or minilora/models/encoder.py itself.")
    show.raise_error()


def _check_packages(files, packages):
    """Raise UsageError, with the commands to fetch them, unless all packages are in the folder."""
    problems = [problem_with(package, files) for package in packages]
    if any(problems):
        first = next(filter(None, problems))
        commands = "\n".join(f"    {package.command(files)}" for package in packages)
        advice = "These lines fetch what is needed, and install nothing:"
        raise UsageError(f"argument --files: {first}\n{advice}\n{commands}")


def compare_on_reviews(out, reviews, seeds, length, show=print_line, methods=METHODS):
    """Train every method with every seed; print a table, and write two figures into out.

    show: called with each text to print. Returns {method name: [Outcome of each seed]}.
    """
    test = [array[: length.test_images] for array in reviews.test]
    size = sum(W.size for W in reviews.bert.weights.values())
    show(f"A pretrained encoder with {size:,} parameters reads sentences of film reviews.")
    common = max(np.mean(test[2]), 1 - np.mean(test[2]))
    show(f"  {common:.1%} of {len(test[2]):,} test sentences have the more frequent label.")
    outcomes = {method.name: [] for method in methods}
    started = time.perf_counter()
    for i, (seed, method) in enumerate((seed, method) for seed in seeds for method in methods):
        task = f"film reviews{_time_left(started, i, len(seeds) * len(methods))}"
        outcome = measure(method, reviews, test, seed, length.adapt_steps, task)
        outcomes[method.name].append(outcome)
        show(f"  {outcome.accuracy:.1%} with {method.name}")
    show(f"\n{_result_table(outcomes, len(test[2]))}")
    for file in _draw_figures(out, methods, outcomes, len(test[2]), common):
        show(f"wrote {file}")
    return outcomes


def _time_left(started, done, runs):
    """How long the other runs will take if they are like those before, for the progress line."""
    if not done:
        return ""
    seconds = (time.perf_counter() - started) / done * (runs - done)
    return f" ({done} of {runs} runs done, about {seconds:.0f} s left)"


def _result_table(outcomes, sentences):
    """Method by method: parameters, accuracy, seconds and memory."""
    runs = len(next(iter(outcomes.values())))
    head = ["accuracy in %", "trainable", "share", "test", "seconds", "MB"]
    rows = [[*head, "over seeds"] if runs > 1 else head]
    for name, results in outcomes.items():
        scores = [result.accuracy for result in results]
        row = [name, f"{results[0].trainable:,}", f"{results[0].fraction:.2%}"]
        row.append(f"{100 * np.mean(scores):.1f} ± {100 * _error(np.mean(scores), sentences):.1f}")
        row.append(f"{np.mean([result.seconds for result in results]):.1f}")
        row.append(f"{np.mean([result.megabytes for result in results]):.0f}")
        rows.append([*row, f"{100 * np.std(scores, ddof=1):.1f}"] if runs > 1 else row)
    lines = [
        table(rows),
        f"± the standard error that {sentences:,} test sentences leave, √(p (1 − p) / n).",
        "MB: the most that a training step takes beside the weights. Trainable: with the head.",
    ]
    if runs > 1:
        lines.append(f"Means of {runs} seeds; over seeds: the standard deviation between them.")
    return "\n".join(lines)


def _shown(values):
    """The first singular values, without those that are rounding."""
    return values[values > _ROUNDING * values[0]][:_SHOWN]


def _error(share, count):
    """The standard error of a share of this many."""
    return (share * (1 - share) / count) ** 0.5


def _draw_figures(out, methods, outcomes, sentences, common):
    """Write accuracy against parameters, then the singular values of each update."""
    out.mkdir(parents=True, exist_ok=True)
    points = []
    for method in methods:
        results = outcomes[method.name]
        mean = np.mean([result.accuracy for result in results])
        points.append((method.family, results[0].trainable, mean))
    spectra = {
        name: [_shown(values) for values in results[0].spectra]
        for name, results in outcomes.items()
        if results[0].spectra
    }
    accuracy_file, spectra_file = _FIGURES
    best = max(mean for _, _, mean in points)
    yield plot_accuracy(
        {"film reviews": points},
        {"film reviews": common},
        out / accuracy_file,
        error=_error(best, sentences),
    )
    yield plot_spectra(spectra, "Singular values of ΔW, query and value", out / spectra_file)
