"""The tour on letters: pretrain an MLP, see it fail on letters it has not met, adapt it in several ways, compare.

Five linear layers learn sans-serif letters of 12 × 12 pixels. Then each method adapts that one network to Fraktur, to
uneven light and to letters turned by 90°, from 40 pictures of each letter.
"""

from collections import namedtuple

import numpy as np

from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.attach import attach, kind
from minilora.data.glyphs import ALPHABET, FRAKTUR, LIGHTING, SOURCE, TURNED, draw_letters
from minilora.models.mlp import init_mlp, mlp
from minilora.plots import plot_accuracy, plot_readings
from minilora.tables import aligned
from minilora.tours.method import Length, Method, adapt
from minilora.train import accuracy, cross_entropy, fit

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


USUAL = Length(pretrain_steps=1000, adapt_steps=400, pictures=308)
FAST = Length(pretrain_steps=300, adapt_steps=60, pictures=100)


class Outcome(namedtuple("Outcome", "trained share after kept merge_gap seconds read")):
    """What one method did on one domain: accuracies (after, kept) from 0 to 1 and what the adapted network reads."""


def pretrain(rng, length):
    """An MLP that reads the source letters."""
    pictures = draw_letters(rng, SOURCE, length.pictures)
    start = init_mlp(rng, WIDTHS)
    return fit(mlp_loss, start, pictures, rng, steps=length.pretrain_steps, batch=128, lr=1e-3, label="pretraining")


def mlp_loss(weights, x, labels):
    """Cross-entropy of the MLP's logits."""
    return cross_entropy(mlp(weights, x), labels)


def measure(method, weights, domain, to_adapt, to_test, old, length, rng):
    """Train one method on one domain and measure it."""
    steps, task = length.adapt_steps, domain.name
    attached, params, seconds = adapt(method, weights, mlp_loss, to_adapt, rng, steps=steps, batch=64, task=task)
    adapted = attached.bind(params)
    logits, merged_logits = mlp(adapted, to_test[0]), mlp(attached.merge(params), to_test[0])
    after, kept = accuracy(logits, to_test[1]), accuracy(mlp(adapted, old[0]), old[1])
    merge_gap = float(np.max(np.abs(logits - merged_logits)))
    return Outcome(attached.trained, attached.share, after, kept, merge_gap, seconds, np.argmax(logits, axis=1))


def run(out, seed, length, say=print):
    """The whole tour: prints its story and its table, and writes two figures into the folder `out`, a Path.

    Returns the outcomes, {method name: {domain name: Outcome}}.
    """
    rng = np.random.default_rng(seed)
    old = draw_letters(rng, SOURCE, 100)
    weights = pretrain(rng, length)
    known = accuracy(mlp(weights, old[0]), old[1])
    say(f"A network of {sum(W.size for W in weights.values()):,} numbers has learnt to read {SOURCE.name} letters:")
    say(f"  {known:.1%} of new {SOURCE.name} letters are read rightly.")
    before, tests, outcomes = {}, {}, {method.name: {} for method in METHODS}
    for domain in (FRAKTUR, LIGHTING, TURNED):
        to_adapt, to_test = draw_letters(rng, domain, 40), draw_letters(rng, domain, 100)
        tests[domain.name], before[domain.name] = to_test, accuracy(mlp(weights, to_test[0]), to_test[1])
        say(f"  {before[domain.name]:.1%} of {domain.name} letters, which it has not met.")
        for method in METHODS:
            outcomes[method.name][domain.name] = measure(method, weights, domain, to_adapt, to_test, old, length, rng)
    say(f"\nLoRA r=4 trains this:\n{attach(weights, {HIDDEN: LoRA(rank=4)}, rng)}\n")
    say(result_table(before, outcomes, known))
    say("\n".join(f"wrote {file}" for file in draw_figures(out, weights, before, tests, outcomes)))
    return outcomes


def result_table(before, outcomes, known):
    """Method by method: what is trained, accuracy before → after on each domain, what is kept, merging, seconds."""
    rows = [("accuracy in %", "trained", "share", *before, "old kept", "|merged − unmerged|", "seconds")]
    for name, by_domain in outcomes.items():
        results = list(by_domain.values())
        gains = [f"{100 * before[domain]:.1f} → {100 * result.after:.1f}" for domain, result in by_domain.items()]
        kept = f"{100 * known:.1f} → {100 * np.mean([result.kept for result in results]):.1f}"
        gap, seconds = max(result.merge_gap for result in results), sum(result.seconds for result in results)
        counts = f"{results[0].trained:,}", f"{results[0].share:.1%}"
        rows.append((name, *counts, *gains, kept, f"{gap:.0e}" if gap else "0", f"{seconds:.1f}"))
    note = "old kept: the letters it knew, mean over the domains. merged: largest difference of two logits. float32."
    return f"{aligned(rows)}\n{note}"


def draw_figures(out, weights, before, tests, outcomes, shown="LoRA r=4"):
    """The letters with what is read before and after the method `shown`, and accuracy against trained numbers."""
    alphabet, some = np.array(list(ALPHABET)), np.arange(0, 26, 2) * 100
    panels, points = [], {}
    for name, (images, labels) in tests.items():
        late, early = outcomes[shown][name], np.argmax(mlp(weights, images[some]), axis=1)
        characters = alphabet[[labels[some], early, late.read[some]]]
        panels.append((f"{name}\n{before[name]:.0%} → {late.after:.0%}", images[some].reshape(-1, 12, 12), *characters))
        points[name] = [(m.family, outcomes[m.name][name].trained, outcomes[m.name][name].after) for m in METHODS]
    return [plot_readings(panels, shown, out / "letters.png"), plot_accuracy(points, before, out / "accuracy.png")]
