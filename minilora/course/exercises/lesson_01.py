"""Lesson 1: the SVD of a rotated image, the rank that removes noise, a cut for the outputs."""

import numpy as np

from minilora.course.exercise import exercise


@exercise(
    "1.1",
    "rotated_svd(U, sigma, Vt)",
    hint="np.rot90 transposes, and then reverses the order of the rows.",
)
def rotated_svd(case):
    """Returns a tuple (U', sigma', Vt') with U' diag(sigma') Vt' = np.rot90(W) where U diag(sigma)
    Vt = W; the columns of U' and the rows of Vt' are orthonormal."""
    d_out, d_in = case.integer("d_out", 1, 4), case.integer("d_in", 1, 4)
    W = case.normal("W", d_out, d_in)
    U, sigma, Vt = np.linalg.svd(W, full_matrices=False)
    found = case.parts(case.call(U, sigma, Vt), 3)
    k = min(d_out, d_in)
    left = case.array("U'", found[0], d_in, k)
    right = case.array("Vt'", found[2], k, d_out)
    case.same("sigma'", found[1], sigma)
    rotated = np.empty((d_in, d_out))
    for i in range(d_in):
        for j in range(d_out):
            rotated[i, j] = W[j, d_in - 1 - i]
    case.same("U' diag(sigma') Vt'", left * sigma @ right, rotated)
    case.same("U'ᵀ U'", left.T @ left, np.eye(k))
    case.same("Vt' Vt'ᵀ", right @ right.T, np.eye(k))


@exercise(
    "1.2",
    "best_rank(noisy, clean)",
    hint="cut the noisy matrix, and compare with the clean one.",
)
def best_rank(case):
    """Returns (k, distance): cut to rank k, the noisy matrix is nearest to the clean one."""
    d_out, d_in = case.integer("d_out", 1, 6), case.integer("d_in", 1, 6)
    size = case.choice("size of the noise", [1.0, 3.0])  # with 3, there are several local minima
    clean = case.matrix("clean", d_out, d_in)
    noise = size * case.rng("noise").standard_normal((d_out, d_in))
    noisy = case.show("noisy", clean + noise.round(2))
    k, distance = case.parts(case.call(noisy, clean), 2)
    _, vectors = np.linalg.eigh(noisy.T @ noisy)  # ascending: the strongest come last
    most = min(d_out, d_in)
    distances = []
    for rank in range(1, most + 1):
        own = vectors[:, d_in - rank :]
        distances.append(float(np.sqrt(np.sum((noisy @ own @ own.T - clean) ** 2))))
    case.same("the distance", distance, min(distances), within=1e-7)
    case.true(type(k) is int and 1 <= k <= most, f"k must be an integer from 1 to {most}", got=k)
    case.same("the distance at rank k", distances[k - 1], min(distances), within=1e-7)


@exercise(
    "1.3",
    "best_for_outputs(X, delta, k)",
    hint="project onto the first k right singular vectors of X deltaᵀ.",
)
def best_for_outputs(case):
    """Returns M of rank k at most for which ‖X (delta − M)ᵀ‖ is smallest."""
    n, d_in = case.integer("n", 1, 6), case.integer("d_in", 1, 4)
    d_out = case.integer("d_out", 1, 4)
    k = case.integer("k", 1, min(d_out, d_in))
    X, delta = case.normal("X", n, d_in), case.normal("delta", d_out, d_in)
    M = case.array("M", case.call(X, delta, k), d_out, d_in)
    sigma = np.linalg.svd(M, compute_uv=False)
    small = np.all(sigma[k:] <= 1e-9 * max(1.0, sigma[0]))
    case.true(small, f"M must have rank {k} at most", got=M)
    case.show("M, as returned", M)
    outputs = X @ delta.T
    squares = np.clip(np.linalg.eigvalsh(outputs.T @ outputs), 0, None)  # ascending
    least = float(np.sqrt(np.sum(squares[: d_out - k])))
    missed = float(np.sqrt(np.sum((outputs - X @ M.T) ** 2)))
    case.same("the distance ‖X (delta − M)ᵀ‖", missed, least, within=1e-6)
