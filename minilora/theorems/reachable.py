"""How near to a target can each adapter bring one matrix? What it reaches, and the best of that.

    frozen W and target T (d_out, d_in);   E = T − W,   G = WᵀT,   error = ‖W' − T‖_F,   s = 1

    adapter      reaches W' = W + ΔW or W' = W Q with   best approximation        parameters
    LoRA         ΔW of rank ≤ r                         r largest singular        r (d_out + d_in)
                                                        triples of E
    CondLoRA     … in the column and row space of W     r largest triples         r (d_out + d_in)
                                                        of W W⁺ E W⁺ W
    SBoRA-FA     ΔW in r columns                        r longest columns of E    r d_out
    SBoRA-FB     ΔW in r rows                           r longest rows of E       r d_in
    HRA strict   Q = I − 2P, P a projection of rank r   P on r lowest             r d_in
                                                        eigenvectors of G + Gᵀ
    HRA          Q orthogonal,                          r = 1: as strict;         r d_in
                 rank(Q − I) = r, r − 2, …              r ≥ d_in − 1: `procrustes`

Every `best_…` returns (adapter, params, frozen), without training, and adapter.merge(params,
frozen) is the nearest W', up to rounding; `best_hra` between r = 1 and r = d_in − 1 gives a good W'
and not always the nearest. W and T may be any weights.

The first two are Eckart & Young's theorem (1936), once E is projected on what ΔW can be (W⁺ is the
pseudo-inverse); the next two split ‖E‖²_F into columns or rows. HRA rotates and reflects and never
stretches: ‖W Q − T‖² = ‖W‖² + ‖T‖² − 2 tr(QᵀG), so all that counts is tr(QᵀG). For 1 < r < d_in − 1
we know no closed form. There is one for a single u while the others stay fixed: Q = A (I − 2 u uᵀ)
B has tr(QᵀG) = tr K − 2 uᵀK u with K = Aᵀ G Bᵀ, and the best unit vector u is the lowest
eigenvector of K + Kᵀ. `descend` takes the columns in turn; the error never rises, but it may
converge to one above the smallest possible.

Parity matters: every reflection changes the sign of the determinant. If det H = −det Q, then
‖W H − W Q‖ ≥ 2 σ_min(W) in the spectral norm, so that for W of full column rank no H with this
determinant comes near to W Q, however large r is. (If W has more columns than rows, σ_min is 0.)

LoRA: Hu et al., 2021, arXiv 2106.09685. CondLoRA: Kim et al., 2024, arXiv 2403.14946. SBoRA: Po et
al., 2024, arXiv 2407.05413. HRA: Yuan, Liu & Xu, 2024, arXiv 2405.17484. That k = rank(Q − I)
reflections give Q, and no fewer: Scherk, 1950. The nearest Q: Schönemann, 1966; with a given
determinant: Kabsch, 1976. The comparison itself is ours.
"""

import numpy as np

from minilora.adapters import HRA, CondLoRA, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.checks import check_count, check_floats, check_matrix, check_rank, check_rng
from minilora.theorems.chain import check_array, check_list
from minilora.weight import dense, reflect


def best_lora(W, T, rank):
    """LoRA with B A = E_r, the r largest singular triples of E: error² = Σ_{i>r} σ_i(E)².

    Raises ValueError when W is not a finite matrix, T differs from W in shape or dtype or is not
    finite, or r is not an integer from 1 to min(d_out, d_in).
    """
    matrix, T = _dense_pair(W, T)
    B, A = _truncate(T - matrix, rank)
    return LoRA(rank), {"A": A, "B": B}, {"W": W}


def best_condlora(W, T, rank):
    """CondLoRA with W Θ_Bᵀ Θ_A W = F_r, where F = W W⁺ E W⁺ W: error² = ‖E‖² − Σ_{i≤r} σ_i(F)².

    F = E when W is invertible. Singular values of W below 1.5e-9 of the largest one count as 0, in
    float32 below 3.5e-5 of it. Raises ValueError as `best_lora` does.
    """
    matrix, T = _dense_pair(W, T)
    E = T - matrix
    inverse = np.linalg.pinv(matrix, rcond=_rounding(matrix))
    B, A = _truncate(matrix @ inverse @ E @ inverse @ matrix, rank)
    return CondLoRA(rank), {"Theta_A": A @ inverse, "Theta_B": (inverse @ B).T}, {"W": W}


def best_sbora_fa(W, T, rank):
    """SBoRA-FA whose `cols` are the r longest columns of E, and B those columns.

    error² = Σ ‖the others‖². Raises ValueError when W is not a finite matrix, T differs from W in
    shape or dtype or is not finite, or r is not an integer from 1 to d_in.
    """
    matrix, T = _dense_pair(W, T)
    cols, B = _longest_columns(T - matrix, rank)
    return SBoRAFA(rank, cols=cols), {"B": B}, {"W": W, "cols": np.array(cols)}


def best_sbora_fb(W, T, rank):
    """SBoRA-FB whose `rows` are the r longest rows of E, and A those rows.

    error² = Σ ‖the others‖². Raises ValueError when W is not a finite matrix, T differs from W in
    shape or dtype or is not finite, or r is not an integer from 1 to d_out.
    """
    matrix, T = _dense_pair(W, T)
    rows, A_transposed = _longest_columns((T - matrix).T, rank)
    return SBoRAFB(rank, rows=rows), {"A": A_transposed.T}, {"W": W, "rows": np.array(rows)}


def best_hra_strict(W, T, rank):
    """Strict HRA on the r lowest eigenvectors of (G + Gᵀ)/2.

    error² = ‖W‖² + ‖T‖² − 2 tr G + 4 Σ their eigenvalues. No reflection can be left out: the error
    falls from r − 1 to r if the r-th eigenvalue is negative, and rises if it is positive.

    Raises ValueError when W is not a finite matrix, T differs from W in shape or dtype or is not
    finite, or r is not an integer from 1 to d_in.
    """
    matrix, T = _dense_pair(W, T)
    G = matrix.T @ T
    check_rank(rank, most=len(G))
    _, eigenvectors = np.linalg.eigh(G + G.T)
    return HRAStrict(rank), {"U": eigenvectors[:, :rank]}, {"W": W}


def best_hra(W, T, rank, *, rng, starts=2, sweeps=50):
    """HRA, of odd rank too. The nearest W' for r = 1, for r ≥ d_in − 1, and some T = W Q.

    r = 1 takes at least one sweep. T = W Q is found for invertible W and r = k, k + 2, …, where k =
    rank(Q − I), to rounding, which grows with the condition number of W: about 1e-11 of ‖T − W‖ for
    1e4 and 1e-8 for 1e6 in the cases tried.

    In general a good W': the nearest that `sweeps` rounds of `descend` find from the first r
    reflections of `procrustes`, and from `starts` random starts as training has them (W itself, if
    r is even).

    Raises ValueError when W is not a finite matrix, T differs from W in shape or dtype or is not
    finite, r is not an integer of at least 1, starts or sweeps not one of at least 0, or rng is not
    a np.random.Generator.
    """
    matrix, T = _dense_pair(W, T)
    check_rank(rank)
    check_rng(rng)
    check_count("starts", starts, least=0)
    adapter = HRA(rank, odd=rank % 2 == 1)
    nearest = factor(procrustes(matrix, T, adapter.odd))
    candidates = [pad_reflections(nearest[:, :rank], rank)]
    for _ in range(starts):
        params, _ = adapter.init(rng, W)
        candidates.append(params["U"])
    if rank < W.shape[1]:
        candidates = [descend(matrix.T @ T, U, sweeps) for U in candidates]
    errors = [np.linalg.norm(adapter.merge({"U": U}, {"W": W}) - T) for U in candidates]
    return adapter, {"U": candidates[np.argmin(errors)]}, {"W": W}


def descend(G, U, sweeps):
    """U (d, r) after `sweeps` rounds of coordinate descent over its columns, for G = WᵀT (d, d).

    Raises ValueError when G or U are not finite matrices of such shapes, U has a zero column, or
    sweeps is not an integer of at least 0.
    """
    d, r = check_matrix("U", U)
    check_array("G", G, (d, d))
    check_count("sweeps", sweeps, least=0)
    U = np.array(U)
    reflections = HRA(r, odd=True)
    for _ in range(sweeps):
        K = reflections.merge({"U": U[:, ::-1]}, {"W": G})  # G H_r … H_1
        for i in range(r):
            K = reflect(K, U[:, i])  # H_{i−1} … H_1 G H_r … H_{i+1}: the old u_i is out
            _, eigenvectors = np.linalg.eigh(K + K.T)
            U[:, i] = eigenvectors[:, 0]
            K = reflect(K.T, U[:, i]).T  # the new one is in, on the other side
    return U


def procrustes(W, T, odd):
    """The orthogonal Q (d_in, d_in) with the least ‖W Q − T‖_F, det Q = −1 if odd, else 1.

    Raises ValueError when W is not a finite matrix, or T differs from W in shape or dtype or is not
    finite.
    """
    matrix, T = _dense_pair(W, T)
    left, _, right = np.linalg.svd(matrix.T @ T)
    is_odd = np.linalg.det(left @ right) < 0
    if is_odd != bool(odd):
        left[:, -1] *= -1  # the sign costs least at the smallest singular value
    return left @ right


def factor(Q):
    """U (d, k) with H_1 … H_k = Q, an orthogonal matrix (d, d), and k = rank(Q − I), the least.

    Each reflection sends Q x back to x for one x, the basis vector that Q moves furthest, which
    fixes one more direction. All of it happens inside the range of Q − I, where rounding cannot
    disturb what Q fixes already. Rotations by less than 1.5e-9 radians, in float32 3.5e-5, count as
    none.

    Raises ValueError when Q is not an orthogonal matrix.
    """
    d, _ = check_matrix("Q", Q)
    exact = np.array(Q, np.float64)
    if exact.shape != (d, d) or np.linalg.norm(exact.T @ exact - np.eye(d), 2) > _rounding(Q):
        raise ValueError(f"Q must be orthogonal, QᵀQ = I, got a matrix {exact.shape} that is not")
    left, values, _ = np.linalg.svd(exact - np.eye(d))
    k = np.sum(values > _rounding(Q))
    if np.linalg.det(exact) * (-1) ** k < 0:  # det Q = (−1)^k: rounding hid one of two equal values
        k += 1
    V = left[:, :k]
    U = np.zeros((d, k), Q.dtype)
    q = V.T @ exact @ V
    for i in range(k):
        moves = q - np.eye(k)
        furthest = np.argmax(np.sum(moves * moves, axis=0))
        u = moves[:, furthest]
        q = reflect(q.T, u).T
        U[:, i] = V @ u
    return U


def pad_reflections(U, rank):
    """U (d, k) and then equal columns, `rank` in all: they cancel in pairs, so H is unchanged.

    Raises ValueError unless U is a finite matrix and rank is k, k + 2, k + 4, …: fewer are too few,
    and one more changes the sign of det H.
    """
    check_floats("U", U)
    if U.ndim != 2:
        raise ValueError(f"U must be a matrix (d, k), got shape {U.shape}")
    d, k = U.shape
    check_count("rank", rank, least=k)
    if (rank - k) % 2:
        raise ValueError(f"rank must be {k}, {k + 2}, {k + 4}, … for {k} reflections, got {rank}")
    return np.concatenate([U, np.ones((d, rank - k), U.dtype)], axis=1)


def solve_shared_conversion(Ws, deltas):
    """(M, residual): M (d_in, d_out) with the least √(Σ_n ‖W_n M W_n − ΔW_n‖²_F / Σ_n ‖ΔW_n‖²_F).

    CondLoRA shares Θ_A and Θ_B, so its M = Θ_Bᵀ Θ_A is one for all layers, and of rank r besides:
    it does no better. For invertible W_n the residual is 0 if and only if the conversion matrices
    W_n⁻¹ ΔW_n W_n⁻¹ agree.

    Row by row, W M W is (W ⊗ Wᵀ) M: a linear system of N d_out d_in equations, for small matrices
    only.

    Raises ValueError unless Ws and deltas are equally many finite matrices of one shape and dtype.
    """
    check_list("Ws", Ws)
    check_list("deltas", deltas)
    if len(Ws) != len(deltas):
        raise ValueError(f"Ws must have as many matrices as deltas, {len(deltas)}, got {len(Ws)}")
    for n, (W, delta) in enumerate(zip(Ws, deltas)):
        _check_like(f"Ws[{n}]", W, "Ws[0]", Ws[0])
        _check_like(f"deltas[{n}]", delta, f"Ws[{n}]", W)
    wanted = np.ravel([dense(delta) for delta in deltas])
    Ws = [dense(W) for W in Ws]
    system = np.concatenate([np.kron(W, W.T) for W in Ws])
    M = np.linalg.lstsq(system, wanted, rcond=None)[0]
    residual = np.linalg.norm(system @ M - wanted) / (np.linalg.norm(wanted) or 1.0)
    return M.reshape(Ws[0].shape[::-1]), float(residual)


def _longest_columns(E, rank):
    """The indices of the r longest columns of E, and those columns (d_out, r)."""
    check_rank(rank, most=E.shape[1])
    cols = np.argsort(-np.linalg.norm(E, axis=0))[:rank].tolist()
    return tuple(cols), E[:, cols]


def _truncate(E, rank):
    """B (d_out, r) and A (r, d_in) with B A = E_r.

    Raises ValueError unless r is an integer from 1 to min(d_out, d_in).
    """
    check_rank(rank, most=min(E.shape))
    left, values, right = np.linalg.svd(E, full_matrices=False)
    return left[:, :rank] * values[:rank], right[:rank]


def _dense_pair(W, T):
    """The matrices of W and T. Raises ValueError unless they have one shape and dtype."""
    _check_like("T", T, "W", W)
    return dense(W), dense(T)


def _check_like(name, T, other, W):
    """Raise ValueError unless W is a finite matrix, and T another with its shape and dtype."""
    if check_matrix(other, W) != check_matrix(name, T) or T.dtype != W.dtype:
        wanted = f"{other}'s shape {W.shape} and dtype {W.dtype}"
        raise ValueError(f"{name} must have {wanted}, got {T.shape} and {T.dtype}")


def _rounding(M):
    """What counts as zero relative to 1 in the dtype of M.

    1.5e-9 for float64, 3.5e-5 for float32.
    """
    return 0.1 * np.finfo(M.dtype).eps ** 0.5
