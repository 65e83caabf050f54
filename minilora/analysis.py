"""Look at an update after training: how many directions it has, which ones, and what it kept of the weight's geometry.

    spectrum     the singular values σ₁ ≥ σ₂ ≥ … of ΔW; its best rank-k part holds the share Σ_{i≤k} σᵢ² / Σ σᵢ²
    similarity   φ(i, j) = ‖U₁ᵀ U₂‖²_F / min(i, j), with U₁ (d, i), U₂ (d, j) the first singular vectors of two matrices
    conversion   A = Θ_A W and B = W Θ_Bᵀ, with Θ_A (r, d_out), Θ_B (r, d_in): what makes LoRA's matrices out of W
    energy       Σ_{i≠j} 1 / ‖ŵᵢ − ŵⱼ‖ over the rows of W, the output neurons, at unit length

φ is 1 when one subspace holds the other and 0 when they are orthogonal, but that of two random subspaces is about
max(i, j) / d, not 0: `random_similarity` says what chance alone gives, so that it is not taken for a finding.

φ: Hu et al., 2021, arXiv 2106.09685, section 7.2. Conversion: Kim et al., 2024, arXiv 2403.14946; least squares finds
it here, for a W of any shape. Energy: Liu et al., 2018, arXiv 1805.09298, with the exponent 1; HRA's W' = W H with H
orthogonal keeps it: Yuan et al., 2024, arXiv 2405.17484.
"""

import numpy as np

from minilora.linalg import check_matrix

ROUNDINGS = 100  # numbers that differ by no more than this many times eps, relative to the largest, count as equal


def singular_spectrum(delta):
    """The singular values σ₁ ≥ σ₂ ≥ … of ΔW. Raises ValueError when ΔW is not a finite matrix."""
    check_matrix(delta, "delta")
    return np.linalg.svd(delta, compute_uv=False)


def energy_captured(delta):
    """The shares of ‖ΔW‖²_F in its best approximations: entry k is Σ_{i≤k} σᵢ² / Σ σᵢ², from 0 at k = 0 to 1.

    No matrix of rank k comes closer to ΔW (Eckart & Young, 1936), so 1 − entry k is what LoRA of rank k must miss.
    Raises ValueError when ΔW is zero or not a finite matrix.
    """
    squares = singular_spectrum(delta) ** 2
    if not np.any(squares):
        raise ValueError("delta must not be zero: there is nothing to have a share of")
    return np.insert(np.cumsum(squares), 0, 0) / np.sum(squares)


def subspace_similarity(M1, M2, i, j):
    """φ(i, j) = ‖U₁ᵀ U₂‖²_F / min(i, j), with U₁ (d, i), U₂ (d, j) the first left singular vectors of M1 and M2.

    M1 is (d, n₁), M2 (d, n₂). With ΔW for M these are directions of the output; for those of the input pass ΔW.T.

    Raises ValueError when M1 or M2 is not a finite matrix, when their d differ, and when i or j is above the rank or
    cuts a tie of singular values: which vectors come first would then be decided by rounding.
    """
    U1 = leading("M1", M1, "i", i)
    U2 = leading("M2", M2, "j", j)
    if len(U1) != len(U2):
        raise ValueError(f"M2 must have {len(U1)} rows, as M1 has, but has shape {M2.shape}")
    return float(np.sum((U1.T @ U2) ** 2)) / min(i, j)


def random_similarity(d, i, j):
    """(mean, standard deviation) of φ(i, j) for two random subspaces of d dimensions, independent and uniform (Haar).

        mean = max(i, j) / d        deviation = √(2 i j (d−i) (d−j) / (d² (d−1) (d+2))) / min(i, j)

    Raises ValueError unless d, i and j are whole numbers, i and j from 1 to d.
    """
    if not {d, i, j} <= set(range(1, int(d) + 1)):
        raise ValueError(f"d, i and j must be whole numbers, i and j from 1 to d, got {d!r}, {i!r} and {j!r}")
    # d = 1 has a single subspace: the numerator is 0, and dividing by 1 instead of 0 makes the deviation 0.
    variance = 2 * i * j * (d - i) * (d - j) / (d * d * max(d - 1, 1) * (d + 2))
    return max(i, j) / d, variance**0.5 / min(i, j)


def conversion_matrices(W, A, B):
    """(Θ_A, Θ_B) with A = Θ_A W and B = W Θ_Bᵀ, for W (d_out, d_in), A (r, d_in), B (d_out, r).

    For an invertible W they are A W⁻¹ and (W⁻¹ B)ᵀ, and no others. For any other W each is of least error, and of
    least norm among those:
    Θ_A is exact when A lies in the row space of W (always when rank W = d_in), and unique when rank W = d_out;
    Θ_B is exact when B lies in the column space of W (always when rank W = d_out), and unique when rank W = d_in.

    Raises ValueError when W, A or B is not finite or their shapes do not fit.
    """
    d_out, d_in = check_matrix(W)
    for name, M, shape in (("A", A, (len(A), d_in)), ("B", B, (d_out, len(A)))):
        if np.shape(M) != shape or not np.all(np.isfinite(M)):
            raise ValueError(f"{name} must be finite, of shape {shape} for W {W.shape}; its shape is {np.shape(M)}")
    return np.linalg.lstsq(W.T, A.T, rcond=None)[0].T, np.linalg.lstsq(W, B, rcond=None)[0].T


def hyperspherical_energy(W):
    """Σ_{i≠j} 1 / ‖ŵᵢ − ŵⱼ‖ over the rows of W at unit length: smaller the more evenly they spread over the sphere.

    Raises ValueError when W is not a finite matrix, has a zero row, or two rows of equal direction (infinite energy).
    """
    check_matrix(W)
    norms = np.linalg.norm(W, axis=1, keepdims=True)
    units = W / (norms + (norms == 0))  # a zero row stays zero here, and is refused below
    distances = np.concatenate([np.linalg.norm(units[:i] - units[i], axis=1) for i in range(len(W))])
    if np.any(norms == 0) or np.any(distances <= ROUNDINGS * np.finfo(W.dtype).eps):
        raise ValueError("W must have no zero row, which has no direction, and no two rows of equal direction")
    return 2 * float(np.sum(1 / distances))


def leading(name, M, letter, i):
    """The first i left singular vectors of M (d, n), in columns (d, i). Raises ValueError where they are not unique."""
    check_matrix(M, name)
    U, values, _ = np.linalg.svd(M, full_matrices=False)
    drops = -np.diff(values, append=0)
    ends = np.flatnonzero(drops > ROUNDINGS * np.finfo(values.dtype).eps * values[0]) + 1
    if i not in ends.tolist():
        raise ValueError(f"{letter} must be one of {ends}, after which the singular values of {name} drop, got {i!r}")
    return U[:, : int(i)]
