"""Look at an update after training: how many directions it has, which ones, and what of W it keeps.

    spectrum     σ₁ ≥ σ₂ ≥ …, the singular values of ΔW
    captured     Σ_{i≤k} σᵢ² / Σ σᵢ², the share of ‖ΔW‖²_F in its best approximation of rank ≤ k
    effective    exp(−Σ pᵢ log pᵢ) with pᵢ = σᵢ² / Σ σⱼ²: how many directions ΔW uses in effect
    stable       ‖ΔW‖²_F / σ₁² = Σ σᵢ² / σ₁², the stable rank
    similarity   φ(i, j) = ‖U₁ᵀ U₂‖²_F / min(i, j), with U₁ (d, i), U₂ (d, j) the first left
                 singular vectors of two matrices
    conversion   A = Θ_A W and B = W Θ_Bᵀ, with Θ_A (r, d_out), Θ_B (r, d_in): what makes LoRA's
                 matrices out of W
    intruder     one of the first k left singular vectors of W', when its largest |cosine| to those
                 of W is below a threshold
    energy       Σ_{i≠j} 1 / ‖ŵᵢ − ŵⱼ‖ over the rows of W, the output neurons, at unit length

φ is 1 if and only if one subspace contains the other, and 0 if and only if they are orthogonal. For
two random subspaces it is max(i, j) / d on average, not 0: `random_similarity` says what chance
gives, so that it is not taken for a finding.

The update of LoRA or HRA is a product, ΔW = B A with B (d_out, r) and A (r, d_in), which
`product_factors` gives. Neither its spectrum nor its singular vectors need a (d_out, d_in) array:
`product_spectrum` gives the spectrum, and `narrow_product` a small matrix with the same vectors.

A float16 matrix is converted to float32, and the results are float32.

φ: Hu et al., 2021, arXiv 2106.09685, section 7.2. Conversion: Kim et al., 2024, arXiv 2403.14946.
Intruder dimensions: Shuttleworth et al., 2024, arXiv 2410.21228. Energy: Liu et al., 2018, arXiv
1805.09298, with the exponent 1; HRA's W' = W H with H orthogonal keeps it: Yuan et al., 2024, arXiv
2405.17484. Effective rank: Roy & Vetterli, 2007, who take pᵢ = σᵢ / Σ σⱼ; with the squares, pᵢ are
the shares of `energy_captured`. How chance, ties and singular matrices are treated is our own.
"""

import numpy as np

from minilora.adapters import HRA, HRAStrict, LoRA
from minilora.checks import check_count, check_matrix, check_positive
from minilora.weight import dense

_ROUNDINGS = 100  # values closer than this many times eps, relative to the largest, count as equal


def singular_spectrum(delta):
    """The singular values σ₁ ≥ σ₂ ≥ … of ΔW. Raises ValueError when ΔW is not a finite matrix."""
    delta = _as_array("delta", delta)
    return np.linalg.svd(delta, compute_uv=False)


def energy_captured(delta):
    """The shares of ‖ΔW‖²_F in its best approximations of rank at most 0, 1, 2, …

    Entry k is Σ_{i≤k} σᵢ² / Σ σᵢ²: 0 at k = 0, 1 at the end. No matrix of rank at most k comes
    closer to ΔW in this norm (Eckart & Young, 1936): LoRA of rank k misses the share 1 − entry k or
    more.

    Raises ValueError when ΔW is zero or not a finite matrix.
    """
    values = singular_spectrum(delta)
    if not np.any(values):
        raise ValueError("delta must not be zero: there is nothing to have a share of")
    sums = np.cumsum(_near_one(values) ** 2)
    return np.insert(sums, 0, 0) / sums[-1]


def effective_rank(values):
    """exp(−Σ pᵢ log pᵢ) with pᵢ = σᵢ² / Σ σⱼ², for the singular values σ of a matrix in any order.

    It is k for k equal values beside zeros, and between `stable_rank` and the rank for all others.

    Raises ValueError unless values is a vector of finite numbers ≥ 0, not all of them 0.
    """
    squares = _near_one(_check_spectrum(values)) ** 2
    shares = squares[squares > 0] / np.sum(squares)
    return float(np.exp(-np.sum(shares * np.log(shares))))


def stable_rank(values):
    """Σ σᵢ² / σ₁² for the singular values σ of a matrix, in any order, with σ₁ the largest.

    It is ‖ΔW‖²_F / ‖ΔW‖², from 1 to the rank, and 1 / stable_rank is the share of ‖ΔW‖²_F
    in the first direction.

    Raises ValueError as `effective_rank` does.
    """
    squares = _near_one(_check_spectrum(values)) ** 2
    return float(np.sum(squares) / np.max(squares))


def product_factors(adapter, params, W=None):
    """(B, A) with B (d_out, r), A (r, d_in) and ΔW = W' − W = B A, for LoRA, HRA or HRAStrict.

    LoRA's are s B and A, and need no W. HRA's W' is W H, and H differs from I on the span of U
    alone. With U = Q R by QR, column uᵢ of U is Q rᵢ, a reflection along rᵢ in the coordinates Q:

        H − I = Q (h − I) Qᵀ,   h the product of the reflections along r₁, r₂, …
        B = W Q (h − I),   A = Qᵀ

    The same with HRAStrict's h. Without W they are the factors of H − I. As H is orthogonal, its
    eigenvalues are cos θ ± i sin θ, and the singular values of H − I are 2 sin(θ/2). H rotates a
    plane by θ; or it reverses a direction, with θ = 180°, as for any odd number of reflections.

    Raises ValueError for another adapter, and when W or one of params is not a finite matrix.
    """
    if isinstance(adapter, LoRA):
        B = _as_array("B", params["B"])
        return _scaled("s B", adapter.scale, B), _as_array("A", params["A"])
    if not isinstance(adapter, (HRA, HRAStrict)):
        raise ValueError(f"adapter must be LoRA, HRA or HRAStrict, got {adapter!r:.80}")
    Q, R = np.linalg.qr(_as_array("U", params["U"]))
    identity = np.eye(len(R), dtype=R.dtype)
    turned = adapter.merge({"U": R}, {"W": identity}) - identity
    B = Q @ turned
    return B if W is None else _as_array("W", dense(W)) @ B, Q.T


def narrow_product(B, A):
    """M (d_out, min(r, d_in)) with the singular values and left singular vectors of B A.

    With Aᵀ = P T by QR, B A = B Tᵀ Pᵀ = M Pᵀ, and the orthonormal columns of P change neither. So
    a function of left singular vectors gives the same for M as for B A. For those on the right use
    narrow_product(A.T, B.T).

    Raises ValueError unless B (d_out, r) and A (r, d_in) are finite matrices, and so is M.
    """
    B = _as_array("B", B)
    A = _as_array("A", A)
    if B.shape[1] != len(A):
        raise ValueError(f"B must have shape (d_out, {len(A)}) for A {A.shape}, got {B.shape}")
    triangle = np.linalg.qr(A.T, mode="r")
    with np.errstate(over="ignore", invalid="ignore"):  # an error in the next line
        return _as_array("B A", B @ triangle.T)


def product_spectrum(B, A, scale=1.0):
    """The singular values σ₁ ≥ σ₂ ≥ … of ΔW = s B A, the first min(d_out, r, d_in); others are 0.

    With B = Q R and Aᵀ = P T by QR they are those of s R Tᵀ, a matrix of at most (r, r). That takes
    of the order of (d_out + d_in) r² operations, and ΔW itself d_out d_in min(d_out, d_in).

    Raises ValueError as `narrow_product` does, and unless scale is a positive number.
    """
    check_positive("scale", scale)
    core = np.linalg.qr(narrow_product(B, A), mode="r")
    return singular_spectrum(_scaled("s B A", scale, core))


def subspace_similarity(M1, M2, i, j):
    """φ(i, j) = ‖U₁ᵀ U₂‖²_F / min(i, j) of two matrices M1 (d, n₁) and M2 (d, n₂).

    U₁ (d, i) and U₂ (d, j) are their first left singular vectors. With ΔW for M these are
    directions of the output; for those of the input pass ΔW.T.

    Raises ValueError when M1 or M2 is not a finite matrix, when their d differ, and when i or j is
    above the rank or cuts a tie of singular values: rounding would then decide which vectors come
    first. Neighbours within 100 eps σ₁ count as tied, and what is tied with 0 counts as 0, with the
    eps of the matrix's dtype.
    """
    U1 = _first_singular_vectors("M1", M1, "i", i)
    U2 = _first_singular_vectors("M2", M2, "j", j)
    if len(U1) != len(U2):
        raise ValueError(f"M2 must have {len(U1)} rows, as M1 has, but has shape {M2.shape}")
    return float(np.sum((U1.T @ U2) ** 2)) / min(i, j)


def mean_similarity(matrices, i):
    """The mean of φ(i, i) over all pairs of two or more matrices (d, n), as of all layers.

    For independent random subspaces its mean is that of `random_similarity`.

    Raises ValueError as `subspace_similarity` does, and for fewer than two matrices.
    """
    count = len(matrices)
    check_count("the number of matrices", count, least=2)
    bases = [_first_singular_vectors("matrices", M, "i", i) for M in matrices]
    if len({len(U) for U in bases}) > 1:
        raise ValueError(f"matrices must have equally many rows, got {[len(U) for U in bases]}")
    together = np.hstack(bases)
    # Within one basis the squared cosines are the i ones on the diagonal.
    between = np.sum((together.T @ together) ** 2) - count * i
    return float(between) / (count * (count - 1) * i)


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


def conversion_matrices(W, A, B, A_0=None):
    """(Θ_A, Θ_B) with A = Θ_A W and B = W Θ_Bᵀ, for W (d_out, d_in), A (r, d_in), B (d_out, r).

    With A_0, where A started, Θ_A is that of A − A_0, which is what training made. LoRA's A starts
    at random, anew in each layer, so without A_0 two layers' Θ_A may differ by their starts alone:

        conversion_matrices(W, **params[name], A_0=attached.params[name]["A"])

    For an invertible W they are A W⁻¹ and (W⁻¹ B)ᵀ, and no others. For any other W each has the
    least error, and among those the least norm:

        Θ_A is exact when A lies in the row space of W (always when rank W = d_in),
        and unique when rank W = d_out
        Θ_B is exact when B lies in the column space of W (always when rank W = d_out),
        and unique when rank W = d_in

    A singular value of W counts as zero up to eps max(d_out, d_in) σ₁, with the eps of W's dtype.

    Raises ValueError when W, A, B or A_0 is not a finite matrix or their shapes do not fit.
    """
    W, A, B, learned = _check_update(W, A, B, A_0)
    return _quotient("A", W.T, learned.T).T, _quotient("B", W, B).T


def published_conversion_matrices(W, A, B, A_0=None):
    """{"A": W⁻¹ Aᵀ (d, r), "B": W⁻¹ B (d, r), "BA": W⁻¹ B A (d, d)} for a square W (d, d).

    These are the three that the authors of CondLoRA compare between layers: each by
    `subspace_similarity`, transposed (.T) for right singular vectors. "B" is Θ_Bᵀ and "BA" is
    Θ_Bᵀ A. "A" is not Θ_A: it belongs to A = Θ Wᵀ, which the authors' adapter computes.

    If W⁻¹ B and A have rank r, the first r left singular vectors of "BA" span what those of "B"
    span, and its first r right ones the rows of A, without W. So "BA" says something new only for
    i < r. There it is the only one of the three that stays the same when B R⁻¹, R A replace B, A,
    for any invertible R.

    Departures: with A_0, "A" is that of A − A_0, as in `conversion_matrices` ("BA" starts at zero
    by itself). A singular W is allowed: least squares and least norm. `subspace_similarity`
    refuses an i above the rank, where the authors' code goes on with arbitrary directions.

    Raises ValueError as `conversion_matrices` does, and when W is not square.
    """
    W, A, B, learned = _check_update(W, A, B, A_0)
    if W.shape[0] != W.shape[1]:
        raise ValueError(f"W must be square, so that W⁻¹ Aᵀ can be computed, got {W.shape}")
    for_A = _quotient("A", W, learned.T)
    for_B = _quotient("B", W, B)
    with np.errstate(over="ignore", invalid="ignore"):  # an error below, and so no warning here
        for_BA = for_B @ A
    return {"A": for_A, "B": for_B, "BA": _check_quotient("A", for_BA)}


def intruder_dimensions(W, W_adapted, k, threshold):
    """Which of the first k left singular vectors of W' are intruders, as indices from 0.

    A unit vector u of W' is one when |cos(u, v)| < threshold for all left singular vectors v of W.
    Where singular values of W tie, all vectors of their space count as v, and the largest |cosine|
    is the length of u's projection on it. Those with σ = 0 do not count (with the authors they do):
    a direction outside the column space of W is an intruder.

    When rank W = d_out, the largest |cosine| is at least 1/√d_out: no threshold below that finds
    any. At a threshold near 1 rounding alone makes intruders.

    Raises ValueError when W or W' is not a finite matrix, their shapes differ, threshold is not in
    (0, 1], and when one of the first k singular values of W' is zero or tied: its vector is then
    not unique. What is zero and tied is as for `subspace_similarity`.
    """
    check_positive("threshold", threshold, most=1)
    U, ends = _left_singular_vectors("W", W)
    U_adapted, ends_adapted = _left_singular_vectors("W_adapted", W_adapted)
    if W_adapted.shape != W.shape:
        raise ValueError(f"W_adapted must have the shape {W.shape} of W, got {W_adapted.shape}")
    unique = np.sum(ends_adapted == np.arange(1, len(ends_adapted) + 1))  # as far as none is tied
    if unique == 0:
        raise ValueError("W_adapted must have a first singular value that is neither zero nor tied")
    check_count("k", k, most=unique)
    first = U_adapted[:, :k]
    spaces = np.split(U, ends, axis=1)[:-1]  # one for each singular value; without the rest, σ = 0
    cosines = [np.linalg.norm(V.T @ first, axis=0) for V in spaces]
    return np.flatnonzero(np.max([np.zeros(k), *cosines], axis=0) < threshold)


def hyperspherical_energy(W):
    """Σ_{i≠j} 1 / ‖ŵᵢ − ŵⱼ‖ over the rows of W at unit length: large when two nearly agree.

    Raises ValueError when W is not a finite matrix, has a zero row, or two rows of equal direction
    (infinite energy): of unit vectors no more than 100 eps apart, with the eps of W's dtype.
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


def _check_update(W, A, B, A_0):
    """W, A, B and the learned A − A_0, or A without A_0, as arrays.

    Raises ValueError when one is not a finite matrix or does not fit.
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
    if A_0 is None:
        return W, A, B, A
    A_0 = _as_array("A_0", A_0)
    if A_0.shape != A.shape:
        raise ValueError(f"A_0 must have the shape {A.shape} of A, got {A_0.shape}")
    return W, A, B, _as_array("A - A_0", A - A_0)


def _quotient(name, W, M):
    """W⁻¹ M; for a W without an inverse the least error, and among those the least norm."""
    smallest = np.finfo(W.dtype).eps * max(W.shape)
    return _check_quotient(name, np.linalg.lstsq(W, M, rcond=smallest)[0])


def _check_quotient(name, Theta):
    """Theta. Raises ValueError unless it is finite."""
    if not np.all(np.isfinite(Theta)):
        raise ValueError(f"{name} must be smaller, or W larger: their quotient overflows")
    return Theta


def _first_singular_vectors(name, M, letter, i):
    """The first i left singular vectors of M (d, n), in columns (d, i).

    Raises ValueError where the space that they span is not unique.
    """
    check_count(letter, i)
    U, ends = _left_singular_vectors(name, M)
    if i not in ends.tolist():
        where = f"after which the singular values of {name} drop"
        raise ValueError(f"{letter} must be one of {ends}, {where}, got {i!r}")
    return U[:, :i]


def _left_singular_vectors(name, M):
    """The left singular vectors of M (d, n), in columns, and all i after which σ drops.

    The last such i is the rank.
    """
    U, values, _ = np.linalg.svd(_as_array(name, M), full_matrices=False)
    drops = -np.diff(values, append=0)
    ends = np.flatnonzero(drops > _ROUNDINGS * np.finfo(values.dtype).eps * values[0]) + 1
    return U, ends


def _as_array(name, M):
    """M, any weight, as an array; float16 as float32.

    Raises ValueError unless it is a finite matrix.
    """
    if isinstance(M, np.ndarray) and M.dtype == np.float16:
        M = M.astype(np.float32)
    check_matrix(name, M)
    M = np.asarray(M)
    d_out, d_in = check_matrix(name, M)
    largest = np.finfo(M.dtype).max / (d_out * d_in) ** 0.5
    if np.max(np.abs(M)) > largest:
        why = "its norm would overflow"
        raise ValueError(f"{name} must not have entries above {largest:.1e}: {why}")
    return M


def _scaled(name, scale, M):
    """scale M, under this name. Raises ValueError when it overflows."""
    with np.errstate(over="ignore"):
        return _as_array(name, scale * M)


def _check_spectrum(values):
    """values. Raises ValueError unless it holds finite numbers ≥ 0, not all of them 0."""
    where = f"values must be a vector of singular values, got {values!r:.80}"
    if getattr(values, "ndim", None) != 1:
        raise ValueError(where)
    values = _as_array("values", values[None])[0]
    if np.min(values) < 0 or not np.any(values):
        raise ValueError(f"{where}: they are never negative, and of a zero matrix all are 0")
    return values


def _near_one(x, axis=None):
    """x times the power of two (for axis=1, one for each row) that brings its largest entry near 1.

    A power of two rounds nothing, and squares then neither overflow nor underflow to zero.
    """
    largest = np.max(np.abs(x), axis=axis, keepdims=True)
    _, exponent = np.frexp(largest)
    return np.ldexp(x, -exponent)
