"""Lesson 7: what sharing saves, the similarity of two spaces, one Θ for all layers."""

import numpy as np

from minilora.course.exercise import exercise


@exercise(
    "7.1",
    "counts(layers, kinds, d, rank)",
    hint="LoRA has a pair of factors for each layer and kind, CondLoRA one pair for each kind.",
)
def counts(case):
    """Returns (LoRA's parameters, CondLoRA's, the largest rank with which CondLoRA trains no more
    than LoRA) for d × d matrices, one of each kind in each layer."""
    layers, kinds = case.integer("layers", 1, 6), case.integer("kinds", 1, 3)
    d, rank = case.integer("d", 1, 9), case.integer("rank", 1, 5)
    found = case.parts(case.call(layers, kinds, d, rank), 3)
    lora = sum(np.zeros((rank, d)).size + np.zeros((d, rank)).size for _ in range(layers * kinds))
    shared = sum(np.zeros((rank, d)).size * 2 for _ in range(kinds))
    case.same("LoRA's number", found[0], lora)
    case.same("CondLoRA's number", found[1], shared)
    most = rank
    while kinds * 2 * d * (most + 1) <= lora:
        most += 1
    case.same("CondLoRA's rank", found[2], most)


@exercise(
    "7.2",
    "space_similarity(M1, M2)",
    hint="np.linalg.qr has an orthonormal basis of the columns.",
)
def space_similarity(case):
    """Returns ‖Q1ᵀ Q2‖² / k, where the columns of Q1 and Q2 are orthonormal bases of the spaces of
    the k columns of M1 and of M2."""
    k = case.integer("k", 1, 3)
    d = case.integer("d", k, 6)
    M1, M2 = (case.show(name, case.rng(name).standard_normal((d, k))) for name in ("M1", "M2"))
    if case.choice("spaces", ["two", "one"]) == "one":
        M2 = case.show("M2", M1 @ (np.eye(k) + np.triu(np.ones((k, k)))))
    P1, P2 = M1 @ np.linalg.pinv(M1), M2 @ np.linalg.pinv(M2)
    case.same("the similarity", case.call(M1, M2), float(np.trace(P1 @ P2)) / k, within=1e-7)


@exercise(
    "7.3",
    "one_theta(Ws, As)",
    hint="transpose, put the layers below each other, and solve one least-squares problem.",
)
def one_theta(case):
    """Returns Θ (r, d_out) for which the sum of ‖Θ W_l − A_l‖² over the layers is smallest."""
    d_out, d_in = case.integer("d_out", 1, 4), case.integer("d_in", 1, 4)
    r = case.integer("r", 1, 2)
    layers = range(case.integer("layers", 1, 3))
    Ws = [case.normal(f"W_{i}", d_out, d_in) for i in layers]
    As = [case.normal(f"A_{i}", r, d_in) for i in layers]
    Theta = case.array("Θ", case.call(Ws, As), r, d_out)
    case.show("Θ, as returned", Theta)
    slope = sum((Theta @ W - A) @ W.T for W, A in zip(Ws, As))  # 0 exactly where it is smallest
    size = sum(float(np.sum(W**2)) for W in Ws) + 1
    case.same("the gradient of the sum at Θ", slope / size, np.zeros((r, d_out)), within=1e-7)
