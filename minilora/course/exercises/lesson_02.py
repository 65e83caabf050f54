"""Lesson 2: the factors of an update, α as a learning rate, the best adapter of a lower rank."""

import tracemalloc

import numpy as np

from minilora.course.exercise import exercise

_STEPS = 5


@exercise(
    "2.1",
    "other_factors(A, B, M)",
    hint="put M and its inverse between B and A.",
)
def other_factors(case):
    """Returns (A', B') with B' = B M and B' A' = B A, for A (r, d_in), B (d_out, r) and an
    invertible M (r, r)."""
    r = case.integer("r", 1, 4)
    d_out, d_in = case.integer("d_out", 1, 5), case.integer("d_in", 1, 5)
    A, B = case.matrix("A", r, d_in), case.matrix("B", d_out, r)
    # |M_ii| is more than the rest of its row, so M is invertible.
    M = case.show("M", case.rng().integers(-1, 2, (r, r)) + (r + 1.0) * np.eye(r))
    found = case.call(A, B, M)
    case.true(type(found) is tuple and len(found) == 2, "it must return the two matrices (A', B')")
    case.same("B'", found[1], _product(B, M))
    case.same("the shape and size of A'", np.zeros_like(found[0]), np.zeros_like(A))
    case.same("the update B' A'", _product(found[1], found[0]), _product(B, A), within=1e-7)


@exercise(
    "2.2",
    "rate_factors(c)",
    hint="at every step, the new B has to be the old one divided by c. What are its gradients?",
)
def rate_factors(case):
    """Returns (a, b, adam_a, adam_b, adam_eps): by what to multiply the learning rates of A and of
    B for gradient descent, the two rates for Adam, and Adam's epsilon for B, so that B A trained
    with the scale c s is what it was with s."""
    c = case.choice("c", [2.0, 4.0, 0.5, 8.0, 3.0])
    found = case.call(c)
    case.true(type(found) is tuple and len(found) == 5, "it must return five numbers")
    for factor in found:
        case.true(type(factor) in (float, int) and factor > 0, "every factor must be positive")
    a, b, adam_a, adam_b, adam_eps = found
    A, B, T = case.normal("A", 2, 3), np.zeros((3, 2)), case.normal("target", 3, 3)
    for title, step, factors in (
        ("gradient descent", _descend, (a, b, 1.0)),
        ("Adam", _adam, (adam_a, adam_b, adam_eps)),
    ):
        usual = _train(A, B, T, 0.5, step, (1.0, 1.0, 1.0))
        scaled = _train(A, B, T, 0.5 * c, step, factors)
        case.same(f"W' after {_STEPS} steps of {title}", scaled, usual, within=1e-7)


@exercise(
    "2.3",
    "compress(adapters, r)",
    hint="QR of the stacked B and of A transposed; the SVD of the small matrix in the middle.",
)
def compress(case):
    """Returns the (A, B) of rank r whose B A is closest to the sum of B_i A_i over the pairs
    (A_i, B_i) of a list, without ever making a matrix of the shape (d_out, d_in)."""
    sizes = [(3, 2), (2, 4), (5, 5), (1, 3), (400, 600)]
    d_out, d_in = case.choice("(d_out, d_in)", sizes)
    count = case.integer("adapters", 1, 3)
    ranks = [case.integer(f"rank of adapter {i}", 1, 2) for i in range(count)]
    r = case.integer("r", 1, min(d_out, d_in, sum(ranks)))
    rng = case.rng()
    pairs = [(rng.standard_normal((k, d_in)), rng.standard_normal((d_out, k))) for k in ranks]
    tracemalloc.start()
    try:
        found = case.call(pairs, r)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    case.true(type(found) is tuple and len(found) == 2, "it must return the two matrices (A, B)")
    A, B = found
    case.same("the shape of A", np.zeros_like(A), np.zeros((r, d_in)))
    case.same("the shape of B", np.zeros_like(B), np.zeros((d_out, r)))
    total = sum(B_i @ A_i for A_i, B_i in pairs)
    sigma = np.linalg.svd(total, compute_uv=False)
    distance = float(np.linalg.norm(total - B @ A))
    case.same("the distance of B A to the sum", distance, float(np.linalg.norm(sigma[r:])), 1e-7)
    limit = d_out * d_in * 8 * 0.8
    case.true(d_out < 400 or peak < limit, "it makes a matrix of the shape (d_out, d_in)")


def _product(B, A):
    """B A in loops."""
    rows, columns = range(B.shape[0]), range(A.shape[1])
    return np.array(
        [[sum(B[i, k] * A[k, j] for k in range(B.shape[1])) for j in columns] for i in rows]
    ).reshape(B.shape[0], A.shape[1])


def _train(A, B, T, s, step, factors):
    """s B A after a few steps towards T, where the loss is half the squared distance."""
    memory = [np.zeros_like(M) for M in (A, A, B, B)]
    for t in range(1, _STEPS + 1):
        G = s * B @ A - T
        A, B = step(A, B, s * B.T @ G, s * G @ A.T, memory, t, factors)
    return s * B @ A


def _descend(A, B, for_a, for_b, memory, t, factors):
    return A - 0.05 * factors[0] * for_a, B - 0.05 * factors[1] * for_b


def _adam(A, B, for_a, for_b, memory, t, factors):
    moved = []
    for i, (M, G, lr, eps) in enumerate(
        ((A, for_a, 0.05 * factors[0], 1e-3), (B, for_b, 0.05 * factors[1], 1e-3 * factors[2]))
    ):
        memory[2 * i] = 0.9 * memory[2 * i] + 0.1 * G
        memory[2 * i + 1] = 0.999 * memory[2 * i + 1] + 0.001 * G**2
        mean, square = memory[2 * i] / (1 - 0.9**t), memory[2 * i + 1] / (1 - 0.999**t)
        moved.append(M - lr * mean / (np.sqrt(square) + eps))
    return moved
