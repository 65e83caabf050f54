"""The matrix products of a step on MiniLM and nothing else: what no faster loop could save.

Same shapes and same counts as in the step, for the tokens without their padding, on random numbers.
Of the first layer neither query, key and value send a gradient on, nor does the key have one:
nothing before them is trained. Not counted: the head, and matrices without a side of d or more.
"""

import numpy as np
from cells import RANK

DEPTH, WIDTH, HIDDEN, HEADS = 6, 384, 1536, 12
ATTENTION = ("query", "key", "value", "output")


class Trainer:
    """batches: as those of real_here.py, of which the lengths of the sentences are used."""

    def __init__(self, method, batches):
        self.lengths = np.sum(batches[1], axis=2)
        self.adapter = {"LoRA": lora, "HRA": hra}[method]
        draws = np.random.default_rng(1)
        rows = int(self.lengths.sum(axis=1).max())
        longest = int(self.lengths.max())

        def draw(*shape):
            return draws.standard_normal(shape, np.float32)

        self.layers = [
            {
                **{part: draw(WIDTH, WIDTH) for part in ATTENTION},
                "up": draw(HIDDEN, WIDTH),
                "down": draw(WIDTH, HIDDEN),
            }
            for _ in range(DEPTH)
        ]
        self.x, self.inside = draw(rows, WIDTH), draw(rows, HIDDEN)
        self.p, self.thin = draw(HEADS * longest**2), draw(RANK, WIDTH)
        self.rng = np.random.default_rng(0)

    def train(self, steps):
        """The products of so many steps."""
        for _ in range(steps):
            row = self.rng.integers(len(self.lengths), size=1)[0]
            for layer, matrices in enumerate(self.layers):
                self.layer(matrices, self.lengths[row], first=layer == 0)

    def layer(self, matrices, lengths, first):
        """Forward and backward through one layer."""
        n = int(np.sum(lengths))
        x, inside = self.x[:n], self.inside[:n]
        for part, W in matrices.items():
            before, after = (inside, x) if part == "down" else (x, inside if part == "up" else x)
            before @ W.T
            adapted = part in ("query", "value")
            through = adapted and self.adapter is hra  # to what stands before W
            if through or not (first and part in ("query", "key", "value")):
                after @ W
            if adapted:
                self.adapter(x, self.thin, first)
        starts = np.cumsum(lengths) - lengths
        for start, T in zip(starts, lengths):
            rows = x[start : start + T].reshape(T, HEADS, WIDTH // HEADS).swapaxes(0, 1)
            attend(rows, self.p[: HEADS * T * T].reshape(HEADS, T, T), first)


def attend(rows, p, first):
    """Forward, p = q kᵀ and p v; backward, g vᵀ and pᵀ g, then S k and Sᵀ q."""
    rows @ rows.swapaxes(1, 2)
    p @ rows
    rows @ rows.swapaxes(1, 2)
    p.swapaxes(1, 2) @ rows
    p @ rows
    if not first:
        p.swapaxes(1, 2) @ rows


def lora(x, A, first):
    """Forward, A x and B (A x); backward, to B, to A x, to A, to x."""
    low = x @ A.T
    low @ A
    x.T @ low
    x @ A.T
    low.T @ x
    if not first:
        low @ A


def hra(x, U, first):
    """Forward, UᵀU, Uᵀx and U (Γ Uᵀ x); backward, to U twice, to Γ Uᵀ x, and to x."""
    U @ U.T
    low = x @ U.T
    low @ U
    x.T @ low
    x @ U.T
    x.T @ low
    if not first:
        low @ U
