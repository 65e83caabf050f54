"""Lesson 6: two reflections that turn the plane, an adapter taken out again, strict vectors."""

import math

import numpy as np

from minilora.course.exercise import exercise


def _reflected(v, u):
    """v reflected along u, entry by entry."""
    share = 2 * sum(a * b for a, b in zip(v, u)) / sum(b * b for b in u)
    return [a - share * b for a, b in zip(v, u)]


@exercise(
    "6.1",
    "turn_vectors(degrees)",
    hint="two reflections turn by twice the angle between their vectors; try both orders.",
)
def turn_vectors(case):
    """Returns two unit vectors (u1, u2), arrays (2,), for which H1 H2 turns every vector by so many
    degrees counter-clockwise."""
    degrees = case.integer("degrees", -180, 180)
    u1, u2 = case.parts(case.call(degrees), 2)
    for name, u in (("u1", u1), ("u2", u2)):
        case.array(name, u, 2)
        case.same(f"the length of {name}", math.hypot(*u), 1.0)
    angle = math.radians(degrees)
    expected = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    found = [_reflected(_reflected(v, u2), u1) for v in ([1.0, 0.0], [0.0, 1.0])]
    case.same("where (1, 0) and (0, 1) go", np.array(found), expected)


@exercise(
    "6.2",
    "take_out(merged, U)",
    hint="a reflection undoes itself. Which one was applied last?",
)
def take_out(case):
    """Returns W, in the dtype of merged, where merged = W H1 … Hr and the columns of U are the
    vectors, of any length, of the reflections."""
    d_out, d_in = case.integer("d_out", 1, 3), case.integer("d_in", 1, 4)
    r = 2 * case.integer("r / 2", 1, 2)
    dtype = case.choice("dtype", [np.float64, np.float32])
    W = case.normal("W", d_out, d_in, dtype=dtype)
    U = 2 * case.rng("U").standard_normal((d_in, r)).round(1)
    U = case.show("U", np.where(np.any(U, axis=0), U, 1.0).astype(dtype))
    merged = W.astype(np.float64)
    for k in range(r):
        merged = np.array([_reflected(row, U[:, k].astype(np.float64)) for row in merged])
    found = case.call(case.show("merged", merged.astype(dtype)), U)
    case.same("W", found, W, within=1e-9 if dtype == np.float64 else 1e-5)
    case.true(found.dtype == dtype, f"W must be {np.dtype(dtype)}", got=found)


@exercise(
    "6.3",
    "strict_vectors(H)",
    hint="on the columns of U, H is −1: what are its eigenvectors?",
)
def strict_vectors(case):
    """Returns U (d, r) with I − 2P = H, where P is the projection onto the columns of U and r is as
    small as it can be, for a symmetric orthogonal H that is not I."""
    d = case.integer("d", 1, 5)
    r = case.integer("eigenvalues −1", 1, d)
    kind = case.choice("kind of H", ["signs", "reversed order", "random"])
    if kind == "reversed order" and d > 1:
        H, r = np.eye(d)[::-1].copy(), d // 2
    elif kind == "random":
        basis, _ = np.linalg.qr(case.rng("H").standard_normal((d, d)))
        H = np.eye(d) - 2 * basis[:, :r] @ basis[:, :r].T
    else:
        H = np.diag([1.0] * (d - r) + [-1.0] * r)
    case.show("H", H)
    U = case.array("U", case.call(H), d, r)
    case.true(np.linalg.matrix_rank(U) == r, "the columns of U must be independent", got=U)
    P = U @ np.linalg.pinv(U)
    case.same("I − 2P", np.eye(d) - 2 * P, H)
