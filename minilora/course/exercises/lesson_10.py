"""Lesson 10: tokens that hide the scores, the least error of a pair, keys that are shared."""

import numpy as np

from minilora.course.exercise import exercise


def _attention(X, W_Q, W_K, W_V):
    """The outputs of one head, token by token."""
    queries, keys, values = X @ W_Q.T, X @ W_K.T, X @ W_V.T
    outputs = []
    for query in queries:
        weights = np.exp(keys @ query - np.max(keys @ query))
        outputs.append(weights @ values / np.sum(weights))
    return np.array(outputs)


@exercise(
    "10.1",
    "blind_tokens(rng, n, D)",
    hint="a mixture of equal values is that value, whatever the shares.",
)
def blind_tokens(case):
    """Returns tokens X (n, D) without a zero row, drawn with rng, for which the output of attention
    does not depend on W_Q and W_K."""
    n, D = case.integer("n", 2, 5), case.integer("D", 2, 5)
    draws = [case.call(case.rng(f"draw {i}"), n, D) for i in range(6)]
    Xs = np.array([case.array("X", draw, n, D) for draw in draws])
    X = Xs[0]
    case.true(np.all(np.any(X != 0, axis=1)), "no row of X may be zero", got=X)
    case.true(np.any(Xs != X), "X is the same for every rng", got=X)
    case.show("X", X)
    W_V, size = case.rng("W_V").standard_normal((D, D)), np.max(np.abs(X))
    outputs = []
    for name in ("first", "second"):  # W X is of the size of W_V, however small X is
        W_Q, W_K = (case.rng(name + part).standard_normal((D, D)) / size for part in "QK")
        outputs.append(_attention(X, W_Q, W_K, W_V / size))
    case.same("the output with other W_Q and W_K", outputs[1], outputs[0])


def _invertible(case, label, D):
    """An integer D × D matrix in which |W_ii| is more than the rest of its row."""
    return case.show(label, case.rng(label).integers(-1, 2, (D, D)) + (D + 1.0) * np.eye(D))


@exercise(
    "10.2",
    "least_error(W_Q, W_K, goal, r_Q, r_K)",
    hint="only the sum of the ranks counts; the theorem of Eckart and Young says the rest.",
)
def least_error(case):
    """Returns the least spectral norm ‖W_K'ᵀ W_Q' − goal‖ that adapters of rank r_Q on W_Q and r_K
    on W_K reach, for D × D matrices of which W_Q and W_K are invertible."""
    D = case.integer("D", 1, 4)
    r_Q, r_K = case.integer("r_Q", 0, D), case.integer("r_K", 0, D)
    W_Q, W_K = (_invertible(case, name, D) for name in ("W_Q", "W_K"))
    goal = case.normal("goal", D, D)
    change = goal - W_K.T @ W_Q
    squares = np.clip(np.linalg.eigvalsh(change.T @ change), 0, None)[::-1]
    left = squares[min(r_Q + r_K, D) :]
    expected = float(np.sqrt(left[0])) if len(left) else 0.0
    case.same("the least error", case.call(W_Q, W_K, goal, r_Q, r_K), expected, within=1e-6)


@exercise(
    "10.3",
    "not_excluded(heads, D)",
    hint="count dimensions: H + 1 adapters of R (2D − R) each, for H products of D².",
)
def not_excluded(case):
    """Returns the smallest rank that the count of dimensions does not exclude, for adapters of
    equal rank on one W_K and on a W_Q for each head; each head alone needs D / 2."""
    heads, D = case.integer("heads", 1, 16), case.integer("D", 1, 24)
    rank = 1
    while (heads + 1) * rank * (2 * D - rank) < heads * D**2 or 2 * rank < D:
        rank += 1
    case.same("the rank", case.call(heads, D), rank)
