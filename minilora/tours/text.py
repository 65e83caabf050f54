"""The tour on text: pretrain a small language model on English prose, then adapt it to Python code in several ways.

The measure is bits per character on held-out text: the mean of −log₂ of the probability that the model gives to the
character that comes next. 96 characters by pure guess are 6.58 bits; less is better.
"""

import math

import numpy as np

from minilora.adapters import HRA, CondLoRA, Full, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.attach import kind
from minilora.data import text
from minilora.models.transformer import init_transformer, sample, transformer
from minilora.tables import aligned
from minilora.tours.method import Length, Method, adapt
from minilora.train import cross_entropy, fit

CONTEXT, WIDTH, DEPTH, HEADS = 32, 64, 4, 4
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


def next_character_loss(weights, inputs, targets):
    """Cross-entropy of the next character at every place of every window, in nats."""
    logits = transformer(weights, inputs, HEADS)
    return cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def bits_per_character(weights, tokens):
    """The loss in bits on 300 windows of held-out tokens, the same ones for every model."""
    inputs, targets = text.windows(np.random.default_rng(0), tokens, 300, CONTEXT)
    return float(next_character_loss(weights, inputs, targets)) / math.log(2)


def all_windows(tokens):
    """Inputs and targets (n, CONTEXT) of every window: a view, so it takes no memory."""
    places = np.lib.stride_tricks.sliding_window_view(tokens, CONTEXT)
    return places[:-1], places[1:]


def run(seed, length, say=print, start="def read(self, "):
    """The whole tour: prints its story, its table and samples.

    Returns {method name: (trained numbers, bits on code, bits on prose, seconds)}.
    """
    rng = np.random.default_rng(seed)
    prose, held_prose = text.split(text.encode(text.prose())[:400_000])
    code, held_code = text.split(text.encode(text.code())[:200_000])
    first = init_transformer(rng, len(text.ALPHABET), CONTEXT, WIDTH, DEPTH, tied=False)
    data, steps = all_windows(prose), length.pretrain_steps
    weights = fit(next_character_loss, first, data, rng, steps=steps, batch=16, lr=4e-3, label="pretraining")
    before = bits_per_character(weights, held_code), bits_per_character(weights, held_prose)
    say(f"A Transformer of {sum(W.size for W in weights.values()):,} numbers has learnt to continue English prose:")
    say(f"  {before[1]:.2f} bits per character on prose that it has not seen.")
    say(f"  {before[0]:.2f} bits per character on Python code, which it has not met.\n")
    outcomes, shown = {}, {"before": weights}
    data, settings = all_windows(code), {"steps": length.adapt_steps, "batch": 16, "task": "code"}
    rows = [("bits per character", "trained", "share", "code", "prose kept", "seconds")]
    for method in METHODS:
        attached, params, seconds = adapt(method, weights, next_character_loss, data, rng, **settings)
        merged = attached.merge(params)
        after = bits_per_character(merged, held_code), bits_per_character(merged, held_prose)
        outcomes[method.name] = (attached.trained, *after, seconds)
        gains = [f"{early:.2f} → {late:.2f}" for early, late in zip(before, after)]
        rows.append((method.name, f"{attached.trained:,}", f"{attached.share:.1%}", *gains, f"{seconds:.1f}"))
        if method.family in ("full fine-tuning", "LoRA"):
            shown[f"after {method.name}"] = merged
    say(aligned(rows))
    for name, known in shown.items():
        tokens = sample(known, text.encode(start), 120, HEADS, np.random.default_rng(seed), temperature=0.7)
        say(f"\n--- {name}: {start!r} continued ---\n{text.decode(tokens)}")
    return outcomes
