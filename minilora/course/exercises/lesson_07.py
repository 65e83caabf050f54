"""Lesson 7: what sharing saves, spaces alike without one Θ, the M that all layers share."""

from itertools import combinations

import numpy as np

from minilora.course.exercise import exercise


@exercise(
    "7.1",
    "sharing_counts(layers, kinds, d, rank)",
    hint="LoRA has a pair of factors for each layer and kind, CondLoRA one pair for each kind.",
)
def sharing_counts(case):
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
    "alike_without_recipe(Ws, r)",
    hint="φ is the same for R_l A_l, for any invertible R_l. Even a number will do for R_l.",
)
def alike_without_recipe(case):
    """Returns a list of A_l (r, d) of rank r, one for each W_l (d, d), for which φ of any two of
    the A_l W_l⁻¹ is 1, but the best Θ for all layers leaves a residual (3) of at least 0.5."""
    d = case.integer("d", 2, 4)
    r = case.integer("r", 1, d - 1)
    Ws = []
    for i in range(case.integer("layers", 2, 4)):
        W = case.rng(f"W_{i}").integers(-1, 2, (d, d)) + (d + 1.0) * np.eye(d)
        Ws.append(case.show(f"W_{i}", W))  # the diagonal is large, so W is well-conditioned
    As = case.call(Ws, r)
    case.true(type(As) is list and len(As) == len(Ws), f"it must return a list of {len(Ws)}")
    spaces = []
    for i, (W, A) in enumerate(zip(Ws, As)):
        case.show(f"A_{i}, as returned", case.array(f"A_{i}", A, r, d))
        sigma = np.linalg.svd(A, compute_uv=False)
        case.true(sigma[-1] > 1e-6 * sigma[0], f"A_{i} must have rank {r}")
        Theta = A @ np.linalg.inv(W)
        spaces.append(np.linalg.pinv(Theta) @ Theta)  # the projection onto its rows
    for one, two in combinations(range(len(Ws)), 2):
        phi = float(np.sum(spaces[one] * spaces[two])) / r
        case.same(f"φ of A_{one} W_{one}⁻¹ and A_{two} W_{two}⁻¹", phi, 1.0, within=1e-6)
    # The best Θ, from the condition that the gradient is zero.
    best = np.linalg.solve(sum(W @ W.T for W in Ws), sum(W @ A.T for W, A in zip(Ws, As))).T
    missed = sum(np.sum((A - best @ W) ** 2) for W, A in zip(Ws, As))
    residual = float(np.sqrt(missed / sum(np.sum(A**2) for A in As)))
    sentence = "one Θ fits all layers too well: the residual must be at least 0.5"
    case.true(residual >= 0.5, sentence, got=residual)


@exercise(
    "7.3",
    "shared_recipe(Ws, deltas)",
    hint="W M W is linear in M: np.kron makes the matrix that maps M.ravel() to (W M W).ravel().",
)
def shared_recipe(case):
    """Returns an M (d_in, d_out) for which the sum of ‖W_l M W_l − delta_l‖² over the layers is
    smallest."""
    d_out, d_in = case.integer("d_out", 1, 3), case.integer("d_in", 1, 3)
    layers = range(case.integer("layers", 1, 3))
    Ws = [case.normal(f"W_{i}", d_out, d_in) for i in layers]
    deltas = [case.normal(f"delta_{i}", d_out, d_in) for i in layers]
    if case.choice("one M fits all", [False, True]):
        M = case.normal("M", d_in, d_out)
        deltas = [case.show(f"delta_{i}", W @ M @ W) for i, W in enumerate(Ws)]
    found = case.show("M, as returned", case.array("M", case.call(Ws, deltas), d_in, d_out))
    # A convex function is smallest just where its gradient is zero.
    slope = sum(W.T @ (W @ found @ W - delta) @ W.T for W, delta in zip(Ws, deltas))
    size = 1 + sum(float(np.sum(W**2)) ** 2 for W in Ws)
    case.same("the gradient of the sum at M", slope / size, np.zeros((d_in, d_out)), within=1e-7)
