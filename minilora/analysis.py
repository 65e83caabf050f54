"""Look at an update after training: how many directions it has, which ones, and what of W it keeps.

    spectrum     σ₁ ≥ σ₂ ≥ …, the singular values of ΔW
    captured     Σ_{i≤k} σᵢ² / Σ σᵢ², the share of ‖ΔW‖²_F in its best approximation of rank k
    similarity   φ(i, j) = ‖U₁ᵀ U₂‖²_F / min(i, j), with U₁ (d, i), U₂ (d, j) the first singular
                 vectors of two matrices
    conversion   A = Θ_A W and B = W Θ_Bᵀ, with Θ_A (r, d_out), Θ_B (r, d_in): what makes LoRA's
                 matrices out of W
    energy       Σ_{i≠j} 1 / ‖ŵᵢ − ŵⱼ‖ over the rows of W, the output neurons, at unit length

φ is 1 when one subspace holds the other and 0 when they are orthogonal, but that of two random
subspaces is about max(i, j) / d, not 0: `random_similarity` says what chance alone gives, so that
it is not taken for a finding.

φ: Hu et al., 2021, arXiv 2106.09685, section 7.2. Conversion: Kim et al., 2024, arXiv 2403.14946;
least squares finds it here, for a W of any shape. Energy: Liu et al., 2018, arXiv 1805.09298, with
the exponent 1; HRA's W' = W H with H orthogonal keeps it: Yuan et al., 2024, arXiv 2405.17484.
"""

import numpy as np

from minilora.checks import check_count, check_matrix

_ROUNDINGS = 100  # values closer than this many times eps, relative to the largest, count as equal


def singular_spectrum(delta):
    """The singular values σ₁ ≥ σ₂ ≥ … of ΔW. Raises ValueError when ΔW is not a finite matrix."""
    delta = _as_array("delta", delta)
    return np.linalg.svd(delta, compute_uv=False)


def energy_captured(delta):
    """The shares of ‖ΔW‖²_F in its best approximations of rank 0, 1, 2, …

    Entry k is Σ_{i≤k} σᵢ² / Σ σᵢ², from 0 at k = 0 to 1. No matrix of rank k comes closer to ΔW
    (Eckart & Young, 1936), so 1 − entry k is what LoRA of rank k must miss.

    Raises ValueError when ΔW is zero or not a finite matrix.
    """
    values = singular_spectrum(delta)
    if not np.any(values):
        raise ValueError("delta must not be zero: there is nothing to have a share of")
    squares = _near_one(values) ** 2
    return np.insert(np.cumsum(squares), 0, 0) / np.sum(squares)


def subspace_similarity(M1, M2, i, j):
    """φ(i, j) = ‖U₁ᵀ U₂‖²_F / min(i, j) of two matrices M1 (d, n₁) and M2 (d, n₂).

    U₁ (d, i) and U₂ (d, j) are their first left singular vectors. With ΔW for M these are
    directions of the output; for those of the input pass ΔW.T.

    Raises ValueError when M1 or M2 is not a finite matrix, when their d differ, and when i or j is
    above the rank or cuts a tie of singular values: rounding would then decide which vectors come
    first.
    """
    U1 = _first_singular_vectors("M1", M1, "i", i)
    U2 = _first_singular_vectors("M2", M2, "j", j)
    if len(U1) != len(U2):
        raise ValueError(f"M2 must have {len(U1)} rows, as M1 has, but has shape {M2.shape}")
    return float(np.sum((U1.T @ U2) ** 2)) / min(i, j)


def random_similarity(d, i, j):
    """(mean, standard deviation) of φ(i, j) for two random subspaces of d dimensions.

        mean = max(i, j) / d        deviation = √(2 i j (d−i) (d−j) / (d² (d−1) (d+2))) / min(i, j)

    The subspaces are independent and uniform (Haar).

    Raises ValueError unless d, i and j are integers, i and j from 1 to d.
    """
    check_count("d", d)
    check_count("i", i, most=d)
    check_count("j", j, most=d)
    d = int(d)  # an integer of NumPy would overflow in d⁴
    i = int(i)
    j = int(j)
    # For d = 1 there is one subspace only: the numerator is 0, and so must be the deviation.
    variance = 2 * i * j * (d - i) * (d - j) / (d * d * max(d - 1, 1) * (d + 2))
    return max(i, j) / d, variance**0.5 / min(i, j)


def conversion_matrices(W, A, B):
    """(Θ_A, Θ_B) with A = Θ_A W and B = W Θ_Bᵀ, for W (d_out, d_in), A (r, d_in), B (d_out, r).

    For an invertible W they are A W⁻¹ and (W⁻¹ B)ᵀ, and no others. For any other W each is of least
    error, and of least norm among those:

        Θ_A is exact when A lies in the row space of W (always when rank W = d_in),
        and unique when rank W = d_out
        Θ_B is exact when B lies in the column space of W (always when rank W = d_out),
        and unique when rank W = d_in

    Raises ValueError when W, A or B is not a finite matrix or their shapes do not fit.
    """
    W = _as_array("W", W)
    A = _as_array("A", A)
    B = _as_array("B", B)
    d_out, d_in = W.shape
    r = len(A)
    if A.shape != (r, d_in):
        raise ValueError(f"A must have shape (r, {d_in}) for W {W.shape}, got {A.shape}")
    if B.shape != (d_out, r):
        given = f"W {W.shape} and A {A.shape}"
        raise ValueError(f"B must have shape {(d_out, r)} for {given}, got {B.shape}")
    Theta_A = np.linalg.lstsq(W.T, A.T, rcond=None)[0].T
    Theta_B = np.linalg.lstsq(W, B, rcond=None)[0].T
    for name, Theta in (("A", Theta_A), ("B", Theta_B)):
        if not np.all(np.isfinite(Theta)):
            raise ValueError(f"{name} must be smaller, or W larger: their quotient overflows")
    return Theta_A, Theta_B


def hyperspherical_energy(W):
    """Σ_{i≠j} 1 / ‖ŵᵢ − ŵⱼ‖ over the rows of W at unit length: smaller for an even spread.

    Raises ValueError when W is not a finite matrix, has a zero row, or two rows of equal direction
    (infinite energy).
    """
    W = _near_one(_as_array("W", W), axis=1)
    norms = np.linalg.norm(W, axis=1, keepdims=True)
    units = W / np.where(norms == 0, 1, norms)  # a zero row stays zero here, and is refused below
    to_earlier_rows = [np.linalg.norm(units[:i] - units[i], axis=1) for i in range(len(W))]
    distances = np.concatenate(to_earlier_rows)
    if np.any(norms == 0) or np.any(distances <= _ROUNDINGS * np.finfo(W.dtype).eps):
        why = "which has no direction, and no two rows of equal direction"
        raise ValueError(f"W must have no zero row, {why}")
    return 2 * float(np.sum(1 / distances))


def _first_singular_vectors(name, M, letter, i):
    """The first i left singular vectors of M (d, n), in columns (d, i).

    Raises ValueError where they are not unique.
    """
    M = _as_array(name, M)
    check_count(letter, i)
    U, values, _ = np.linalg.svd(M, full_matrices=False)
    drops = -np.diff(values, append=0)
    ends = np.flatnonzero(drops > _ROUNDINGS * np.finfo(values.dtype).eps * values[0]) + 1
    if i not in ends.tolist():
        where = f"after which the singular values of {name} drop"
        raise ValueError(f"{letter} must be one of {ends}, {where}, got {i!r}")
    return U[:, :i]


def _as_array(name, M):
    """M, any weight, as an array. Raises ValueError unless it is a finite matrix."""
    check_matrix(name, M)
    M = np.asarray(M)
    d_out, d_in = check_matrix(name, M)
    largest = np.finfo(M.dtype).max / (d_out * d_in) ** 0.5
    if np.max(np.abs(M)) > largest:
        why = "its norm would overflow"
        raise ValueError(f"{name} must not have entries above {largest:.1e}: {why}")
    return M


def _near_one(x, axis=None):
    """x times the power of two (for axis=1, one for each row) that brings its largest entry near 1.

    A power of two rounds nothing, and squares then neither overflow nor underflow to zero.
    """
    largest = np.max(np.abs(x), axis=axis, keepdims=True)
    _, exponent = np.frexp(largest)
    return np.ldexp(x, -exponent)
