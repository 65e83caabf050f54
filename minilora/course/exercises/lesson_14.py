"""Lesson 14: how many test sentences, ranks of equal numbers, matrices alike without learning."""

import math

import numpy as np

from minilora.course.exercise import exercise


@exercise(
    "14.1",
    "sentences(p, q)",
    hint="the variances of two independent accuracies add up.",
)
def sentences(case):
    """Returns n, a float, for which |q − p| is twice its standard error when the accuracies p and q
    each come from n sentences of their own."""
    p = case.show("p", case.integer("100 p", 1, 99) / 100)
    q = case.show("q", case.integer("100 q", 1, 99) / 100)
    if p == q:
        return
    n = case.call(p, q)
    case.true(isinstance(n, float) and n > 0, "it must return a positive number", got=n)
    error = math.sqrt(p * (1 - p) / n + q * (1 - q) / n)
    case.same("|q − p| over its standard error at this n", abs(q - p) / error, 2.0)


@exercise(
    "14.2",
    "equal_ranks(layers, r)",
    hint="LoRA trains 2 r d numbers a matrix; who shares, who has one factor, who one U?",
)
def equal_ranks(case):
    """Returns the ranks of SBoRA, of HRA and of CondLoRA with as many trainable parameters as LoRA
    of rank r, on d × d matrices, one of each kind in each layer."""
    layers, r = case.integer("layers", 1, 8), case.integer("r", 1, 5)
    found = case.parts(case.call(layers, r), 3)
    d, kinds = 4, 2
    lora = sum(np.zeros((r, d)).size + np.zeros((d, r)).size for _ in range(kinds * layers))
    of_rank_1 = {"SBoRA": kinds * layers * d, "HRA": kinds * layers * d, "CondLoRA": kinds * 2 * d}
    for (name, one), rank in zip(of_rank_1.items(), found):
        expected = 0
        while (expected + 1) * one <= lora:
            expected += 1
        case.same(f"the rank of {name}", rank, expected)


def _nearest(U, V):
    """The largest |cos| between a column of U and one of V."""
    return max(abs(float(u @ v)) for u in U.T for v in V.T)


def _overlap(W1, W2):
    """Largest |cos| of the weakest right singular vectors, of the other right ones, of the left."""
    U1, _, Vt1 = np.linalg.svd(W1)
    U2, _, Vt2 = np.linalg.svd(W2)
    weakest = abs(float(Vt1[-1] @ Vt2[-1]))
    return weakest, _nearest(Vt1[:-1].T, Vt2[:-1].T), _nearest(U1, U2)


@exercise(
    "14.3",
    "alike_pair(rng, d)",
    hint="build W from its singular value decomposition, with one shared right vector.",
    cases=30,
)
def alike_pair(case):
    """Returns two random W1, W2 (d, d) with nothing in common but their weakest right singular
    vector, for which W1⁻¹ B1 and W2⁻¹ B2 are alike whatever B1 and B2 are."""
    d = case.integer("d", 16, 32)
    W1, W2 = case.parts(case.call(case.rng(), d), 2)
    for name, W in (("W1", W1), ("W2", W2)):
        case.array(name, W, d, d)
        sigma = np.linalg.svd(W, compute_uv=False)
        case.true(sigma[-1] > 1e-9 * sigma[0], f"{name} must be invertible, up to rounding")
    again, _ = case.parts(case.call(case.rng("other generator"), d), 2)
    case.true(not np.array_equal(W1, again), "W1 is the same for two generators")
    weakest, right, left = _overlap(W1, W2)
    case.same("|cos| of the weakest right singular vectors", weakest, 1.0, within=1e-6)
    case.true(left < 0.98, "W1 and W2 have a left singular vector in common", got=left)
    case.true(right < 0.98, "W1 and W2 have another right singular vector in common", got=right)
    draw = case.rng("B").standard_normal
    similar = []
    for _ in range(20):
        first, second = (np.linalg.svd(np.linalg.solve(W, draw((d, 4))))[0][:, 0] for W in (W1, W2))
        similar.append(float(first @ second) ** 2)
    median = float(np.median(similar))
    case.true(median > 0.9, "φ(1, 1) must be above 0.9 in most draws of B1 and B2", got=median)
