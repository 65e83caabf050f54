"""Compare adapters on text: pretrain a small language model on English prose, adapt it to code.

The measure is bits per character on held-out text: the mean of −log₂ of the probability that the
model gives to the next character. Guessing among 96 characters takes 6.58 bits; less is better.
"""

import math
import time
from typing import NamedTuple

import numpy as np

from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.attachment import kind
from minilora.cli.arguments import add_training_options
from minilora.cli.comparison import Length, Method, adapt
from minilora.cli.output import print_line, table
from minilora.data.text import CHARACTERS, code, decode, encode, prose, split, windows
from minilora.models.transformer import init_transformer, sample, transformer
from minilora.ops import cross_entropy
from minilora.train import fit

CONTEXT = 32
WIDTH = 64
DEPTH = 4
HEADS = 4
LINEAR = "blocks.*.W"

METHODS = (
    Method("full fine-tuning", "", {"*": Full()}, lr=3e-3),
    Method("head only", "", {"head.W": Full()}, lr=1e-2),
    Method("LoRA", "r=8", {LINEAR: LoRA(rank=8)}, lr=1e-2),
    Method("SBoRA-FA", "r=16", {LINEAR: SBoRAFA(rank=16)}, lr=1e-2),
    Method("SBoRA-FB", "r=16", {LINEAR: SBoRAFB(rank=16)}, lr=1e-2),
    Method("QSBoRA-FA", "r=16", {LINEAR: SBoRAFA(rank=16)}, lr=1e-2, four_bits=True),
    Method("HRA", "r=16", {LINEAR: HRA(rank=16)}, lr=3e-3),
    Method("HRA λ=0.001", "r=16", {LINEAR: HRA(rank=16)}, lr=3e-3, strength=0.001),
    Method("HRA strict", "r=16", {LINEAR: HRAStrict(rank=16)}, lr=3e-3),
    Method("CondLoRA", "r=16", {LINEAR: CondLoRA(rank=16)}, lr=1e-2, key=kind),
)

USUAL = Length(pretrain_steps=2000, adapt_steps=400)
FAST = Length(pretrain_steps=60, adapt_steps=5)


class TextOutcome(NamedTuple):
    """What one method did."""

    trainable: int  # parameters
    code_bits: float  # bits per character on held-out code, after adapting
    prose_bits: float  # the same on held-out prose
    seconds: float


def add_arguments(parser):
    """The options of this command."""
    add_training_options(parser)


def run(options):
    """Run the command."""
    started = time.perf_counter()
    compare_on_text(options.seed, FAST if options.fast else USUAL)
    seconds = time.perf_counter() - started
    print_line(
        f"\n{seconds:.0f} seconds. To read on: README.md, or minilora/adapters/lora.py itself."
    )


def compare_on_text(seed, length, show=print_line, start="def read(self, "):
    """Pretrain on prose, adapt to code with every method; print a table and samples.

    show: called with each text to print. start: what the samples continue. Returns
    {method name: TextOutcome}.
    """
    rng = np.random.default_rng(seed)
    prose_tokens, held_prose = split(encode(prose())[:400_000])
    code_tokens, held_code = split(encode(code())[:200_000])
    weights = pretrain_writer(rng, prose_tokens, length.pretrain_steps)
    prose_before = bits_per_character(weights, held_prose)
    code_before = bits_per_character(weights, held_code)
    size = sum(W.size for W in weights.values())
    show(f"A Transformer with {size:,} parameters has learned to continue English prose:")
    show(f"  {prose_before:.2f} bits per character on held-out prose.")
    show(f"  {code_before:.2f} bits per character on Python code, an unseen domain.\n")
    outcomes = {}
    shown = {"before": weights}
    rows = [("bits per character", "trainable", "share", "code", "prose", "seconds")]
    data = all_windows(code_tokens)
    settings = {"steps": length.adapt_steps, "batch": 16, "task": "code"}
    for method in METHODS:
        attached, params, seconds = adapt(
            method, weights, next_character_loss, data, rng=rng, **settings
        )
        merged = attached.merge(params)
        code_after = bits_per_character(merged, held_code)
        prose_after = bits_per_character(merged, held_prose)
        outcomes[method.name] = TextOutcome(attached.trainable, code_after, prose_after, seconds)
        row = [method.name, f"{attached.trainable:,}", f"{attached.fraction:.1%}"]
        row += [f"{code_before:.2f} → {code_after:.2f}", f"{prose_before:.2f} → {prose_after:.2f}"]
        rows.append([*row, f"{seconds:.1f}"])
        if method.family in ("full fine-tuning", "LoRA"):
            shown[f"after {method.name}"] = merged
    show(table(rows))
    for name, known in shown.items():
        show(_continuation(name, known, start, seed))
    return outcomes


def next_character_loss(weights, inputs, targets):
    """Cross-entropy, in nats, of the next character at every position of every window."""
    logits = transformer(weights, inputs, HEADS)
    return cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def bits_per_character(weights, tokens):
    """The loss in bits on 300 windows of held-out tokens, the same ones for every model."""
    inputs, targets = windows(np.random.default_rng(0), tokens, 300, CONTEXT)
    return float(next_character_loss(weights, inputs, targets)) / math.log(2)


def all_windows(tokens):
    """Inputs and targets (n, CONTEXT) of every window: views, so they take no memory."""
    found = np.lib.stride_tricks.sliding_window_view(tokens, CONTEXT)
    return found[:-1], found[1:]


def pretrain_writer(rng, tokens, steps):
    """The weights of a Transformer that predicts the next of these tokens."""
    start = init_transformer(rng, len(CHARACTERS), CONTEXT, WIDTH, DEPTH, tied=False)
    return fit(
        next_character_loss,
        start,
        all_windows(tokens),
        rng=rng,
        steps=steps,
        batch=16,
        lr=4e-3,
        label="pretraining",
    )


def _continuation(name, weights, start, seed):
    """A text of 120 characters that the model writes after the start, under a heading."""
    rng = np.random.default_rng(seed)
    tokens = sample(weights, encode(start), 120, HEADS, rng=rng, temperature=0.7)
    return f"\n--- {name}: {start!r} continued ---\n{decode(tokens)}"
