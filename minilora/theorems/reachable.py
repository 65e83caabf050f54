"""How near to a target can each adapter bring one matrix? What it reaches, and the best of that, without training.

    frozen W and target T (d_out, d_in);   E = T − W,   G = WᵀT,   error = ‖W' − T‖_F,   s = 1

    adapter      reaches W' = W + ΔW or W' = W Q with      comes nearest with                          trained numbers
    LoRA         ΔW of rank ≤ r                            the r largest singular triples of E         r (d_out + d_in)
    CondLoRA     … in the column and the row space of W    the r largest triples of W W⁺ E W⁺ W        r (d_out + d_in)
    SBoRA-FA     ΔW in r columns                           the r longest columns of E                  r d_out
    SBoRA-FB     ΔW in r rows                              the r longest rows of E                     r d_in
    HRA strict   Q = I − 2P, P a projection of rank r      P on the r lowest eigenvectors of G + Gᵀ    r d_in
    HRA          Q orthogonal, rank(Q − I) = r, r − 2, …   r = 1: as strict; r ≥ d_in: `procrustes`    r d_in

Every `best_…` returns (adapter, params, frozen), and adapter.merge(params, frozen) is this nearest W'.

The first two are Eckart & Young's theorem (1936), once E is projected on what ΔW can be (W⁺ is the pseudo-inverse); the
next two split ‖E‖²_F into columns or rows. HRA turns and never stretches: ‖W Q − T‖² = ‖W‖² + ‖T‖² − 2 tr(QᵀG), so all
that counts is tr(QᵀG). For 1 < r < d_in we know no closed form, but for a single u while the others stay there is one:
Q = A (I − 2 u uᵀ) B has tr(QᵀG) = tr K − 2 uᵀK u with K = Aᵀ G Bᵀ, and the best unit vector u is the lowest eigenvector
of K + Kᵀ. `descend` takes the columns in turn; the error never rises, but it may come to rest above the smallest
possible one.

Parity matters: every reflection changes the sign of the determinant, and if det H = −det Q, then H is far from Q in
some direction: ‖W H − W Q‖ ≥ 2 σ_min(W), where σ_min is 0 if W has more columns than rows.

LoRA: Hu et al., 2021, arXiv 2106.09685. CondLoRA: Kim et al., 2024, arXiv 2403.14946. SBoRA: Po et al., 2024, arXiv
2407.05413. HRA: Yuan, Liu & Xu, 2024, arXiv 2405.17484. That k = rank(Q − I) reflections give Q, and no fewer: Scherk,
1950. The nearest Q: Schönemann, 1966; with a given determinant: Kabsch, 1976. The comparison itself is ours.
"""

import numpy as np

from minilora.adapters import HRA, CondLoRA, HRAStrict, LoRA, SBoRAFA, SBoRAFB
from minilora.linalg import check_rank, reflect
from minilora.theorems.linear import matrix


def best_lora(W, T, rank):
    """LoRA with B A = E_r, the r largest singular triples of E: error² = Σ_{i>r} σ_i(E)².

    Raises ValueError when W is no finite matrix, T is not like W, or r not a whole number from 1 to min(d_out, d_in).
    """
    B, A = truncated(checked(W, T) - W, rank)
    return LoRA(rank), {"A": A, "B": B}, {"W": W}


def best_condlora(W, T, rank):
    """CondLoRA with W Θ_Bᵀ Θ_A W = F_r, where F = W W⁺ E W⁺ W: error² = ‖E‖² − Σ_{i≤r} σ_i(F)².

    F = E when W is invertible. Raises ValueError as `best_lora` does.
    """
    E = checked(W, T) - W
    inverse = np.linalg.pinv(W, rcond=rounding(W))
    B, A = truncated(W @ inverse @ E @ inverse @ W, rank)
    return CondLoRA(rank), {"Theta_A": A @ inverse, "Theta_B": (inverse @ B).T}, {"W": W}


def best_sbora_fa(W, T, rank):
    """SBoRA-FA whose `cols` are the r longest columns of E, and B those columns: error² = Σ ‖the others‖².

    Raises ValueError when W is no finite matrix, T is not like W, or r not a whole number from 1 to d_in.
    """
    E = checked(W, T) - W
    check_rank(rank, most=E.shape[1])
    cols = np.argsort(-np.linalg.norm(E, axis=0))[:rank].tolist()
    return SBoRAFA(rank, cols=tuple(cols)), {"B": E[:, cols]}, {"W": W, "cols": np.array(cols)}


def best_sbora_fb(W, T, rank):
    """SBoRA-FB whose `rows` are the r longest rows of E, and A those rows: error² = Σ ‖the others‖².

    What SBoRA-FA is for Wᵀ and Tᵀ. Raises ValueError when W is no finite matrix, T is not like W, or r not a whole
    number from 1 to d_out.
    """
    adapter, params, _ = best_sbora_fa(W.T, checked(W, T).T, rank)
    return SBoRAFB(rank, rows=adapter.cols), {"A": params["B"].T}, {"W": W, "rows": np.array(adapter.cols)}


def best_hra_strict(W, T, rank):
    """Strict HRA on the r lowest eigenvectors of (G + Gᵀ)/2: error² = ‖W‖² + ‖T‖² − 2 tr G + 4 Σ their eigenvalues.

    No reflection can be left out, so every positive eigenvalue among those r makes the error larger.

    Raises ValueError when W is no finite matrix, T is not like W, or r not a whole number from 1 to d_in.
    """
    G = W.T @ checked(W, T)
    check_rank(rank, most=len(G))
    return HRAStrict(rank), {"U": np.linalg.eigh(G + G.T)[1][:, :rank]}, {"W": W}


def best_hra(W, T, rank, rng, starts=2, sweeps=50):
    """HRA, of odd rank too. The nearest W' for r = 1, for r ≥ d_in, and if T = W Q is in reach and W invertible.

    In general a good W': the nearest that so many sweeps of `descend` find from the first r reflections of
    `procrustes`, and from `starts` random starts as training has them (W itself, if r is even).

    Raises ValueError when W is no finite matrix, T is not like W, or r not a whole number of at least 1.
    """
    check_rank(rank)
    adapter = HRA(rank, odd=rank % 2 == 1)
    nearest = factor(procrustes(W, T, adapter.odd))
    candidates = [padded(nearest[:, :rank], rank), *(adapter.init(rng, W)[0]["U"] for _ in range(starts))]
    if rank < W.shape[1]:
        candidates = [descend(W.T @ T, U, sweeps) for U in candidates]
    errors = [np.linalg.norm(adapter.merge({"U": U}, {"W": W}) - T) for U in candidates]
    return adapter, {"U": candidates[np.argmin(errors)]}, {"W": W}


def descend(G, U, sweeps):
    """U (d, r) after so many sweeps: each column in turn becomes its best while the others stay. G = WᵀT (d, d)."""
    U, chain = np.array(U), HRA(U.shape[1], odd=True)
    for _ in range(sweeps):
        K = chain.merge({"U": U[:, ::-1]}, {"W": G})  # G H_r … H_1
        for i in range(U.shape[1]):
            K = reflect(K, U[:, i])  # H_{i−1} … H_1 G H_r … H_{i+1}: the old u_i is out
            U[:, i] = np.linalg.eigh(K + K.T)[1][:, 0]
            K = reflect(K.T, U[:, i]).T  # the new one is in, on the other side
    return U


def procrustes(W, T, odd):
    """The orthogonal Q (d_in, d_in) with the least ‖W Q − T‖_F of those with det Q = −1 if odd, else 1.

    Raises ValueError when W is no finite matrix or T is not like W.
    """
    left, _, right = np.linalg.svd(W.T @ checked(W, T))
    if (np.linalg.det(left @ right) < 0) != odd:
        left[:, -1] *= -1  # the smallest singular value pays for the sign
    return left @ right


def factor(Q):
    """U (d, k) with H_1 … H_k = Q, an orthogonal matrix (d, d), and k = rank(Q − I), the fewest possible.

    Each reflection sends Q x back to x for one x, the basis vector that Q moves furthest, which fixes one direction
    more. All of it happens inside the range of Q − I, where rounding cannot disturb what Q fixes already. Angles below
    1e-9 (in float64) count as none.

    Raises ValueError when Q is not an orthogonal matrix.
    """
    exact, d = matrix("Q", Q), len(Q)
    if exact.shape != (d, d) or np.linalg.norm(exact.T @ exact - np.eye(d), 2) > rounding(Q):
        raise ValueError(f"Q must be orthogonal, with QᵀQ = I, got a matrix {exact.shape} that is not")
    left, values, _ = np.linalg.svd(exact - np.eye(d))
    k = np.sum(values > rounding(Q))
    k += np.linalg.det(exact) * (-1) ** k < 0  # a tiny rotation has two equal values: both count, or neither
    V, U = left[:, :k], np.zeros((d, k), Q.dtype)
    q = V.T @ exact @ V
    for i in range(k):
        moves = q - np.eye(k)
        u = moves[:, np.argmax(np.sum(moves * moves, axis=0))]
        q = reflect(q.T, u).T
        U[:, i] = V @ u
    return U


def padded(U, rank):
    """U (d, k) and then equal columns, `rank` in all: the product of reflections stays, for they cancel in pairs.

    Raises ValueError unless rank is k, k + 2, k + 4, …: fewer are too few, and one more turns the sign of det H.
    """
    d, k = U.shape
    if rank < k or (rank - k) % 2:
        raise ValueError(f"rank must be {k}, {k + 2}, {k + 4} or so on for {k} reflections, got {rank}")
    return np.concatenate([U, np.ones((d, rank - k), U.dtype)], axis=1)


def shared_conversion(Ws, deltas):
    """(M, residual) with M (d_in, d_out) and the least residual, √(Σ_n ‖W_n M W_n − ΔW_n‖²_F / Σ_n ‖ΔW_n‖²_F).

    CondLoRA shares Θ_A and Θ_B, so its M = Θ_Bᵀ Θ_A is one for all layers, and of rank r besides: it does no better.
    For invertible W_n the residual is 0 if and only if the conversion matrices W_n⁻¹ ΔW_n W_n⁻¹ agree.

    Row by row, W M W is (W ⊗ Wᵀ) M: a linear system of N d_out d_in equations, for small matrices only.

    Raises ValueError unless Ws and deltas are equally many finite matrices of one shape and dtype.
    """
    if len(Ws) != len(deltas) or len({W.shape for W in Ws}) != 1:
        raise ValueError(f"Ws must be matrices of one shape and as many as deltas ({len(deltas)}), got {len(Ws)}")
    wanted = np.ravel([checked(W, delta, "deltas") for W, delta in zip(Ws, deltas)])
    system = np.concatenate([np.kron(W, W.T) for W in Ws])
    M = np.linalg.lstsq(system, wanted, rcond=None)[0]
    residual = np.linalg.norm(system @ M - wanted) / (np.linalg.norm(wanted) or 1.0)
    return M.reshape(Ws[0].shape[::-1]), float(residual)


def truncated(E, rank):
    """B (d_out, r) and A (r, d_in) with B A = E_r. Raises ValueError unless r is from 1 to min(d_out, d_in)."""
    check_rank(rank, most=min(E.shape))
    left, values, right = np.linalg.svd(E, full_matrices=False)
    return left[:, :rank] * values[:rank], right[:rank]


def checked(W, T, name="T"):
    """T. Raises ValueError unless W is a finite matrix and T another of the same shape and dtype."""
    if matrix("W", W).shape != matrix(name, T).shape or W.dtype != T.dtype:
        raise ValueError(f"{name} must be like W, {W.dtype} {W.shape}, got {T.dtype} {T.shape}")
    return T


def rounding(M):
    """What counts as zero relative to 1 in a matrix of this dtype: 1.5e-9 for float64, 3.5e-5 for float32."""
    return 0.1 * np.finfo(M.dtype).eps ** 0.5
