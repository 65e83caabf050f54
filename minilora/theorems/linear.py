"""How close to a target can low-rank adapters bring a product of matrices, and which adapters do?

    frozen     P = W_{L−1} … W_0            target  W̄ (d_L, d_0),  E = W̄ − P
    adapted    P' = W'_{L−1} … W'_0         W'_l = W_l + B_l A_l,  B_l (d_out, R_l), A_l (R_l, d_in)

    ‖P' − W̄‖₂ ≥ σ_{k+1}(E),  k = Σ R_l      for any adapters; σ_1 ≥ σ_2 ≥ … are the singular values
                                            of E, then 0
    ‖P' − W̄‖₂ = σ_{k+1}(E)                  for some, if all W_l are square and invertible

So the ranks of all layers add up: P' = W̄ is reachable if and only if Σ R_l ≥ rank(E).

No adapters do better. Replace W_l by W'_l one layer at a time, the earliest first; the steps add up
(telescope) to

    P' − P = Σ_l S_l B_l A_l X_l        S_l = W_{L−1} … W_{l+1}, the later layers, frozen
                                        X_l = W'_{l−1} … W'_0, the earlier layers, adapted

of rank at most k. No matrix of rank k is closer to E than E_k, its k largest singular triples, in
the spectral and in the Frobenius norm (Eckart & Young, 1936; Mirsky, 1960).

Some do as well. Write E_k = Q C with Q (d_L, k) and C (k, d_0). Layer l takes R_l columns of Q and
the same rows of C, so that E_k = Σ_l Q_l C_l. Then P' = P + E_k if every layer, the earliest first,
solves

    S_l B_l = Q_l        A_l X_l = C_l

Left: S_l must carry Q_l. Which directions a layer takes is free, as E_k = (Q G)(G⁻¹ C) for every
invertible G. It leaves those that S_l carries worst to the later layers, whose own S is shorter;
for the last layer S = I.

Right: what X_l maps to 0, C_l must map to 0. If all W_l are square and invertible, it does for
almost every G. Proof: let X_l v = 0, and let < denote all layers before l. Then v = −P⁻¹ Q_< w with
w = C_< v, so K = I + C P⁻¹ Q sends (w, 0) to (0, −C_≥ v). But for almost every G, what K makes of
the earlier layers' directions meets the span of the other ones only in 0, as the two dimensions are
k together at most. So C_≥ v = 0. ∎

Other cases, by thousands of random tries: one singular layer does no harm if R_l ≥ its lost rank,
two often do; layers that are not square do none if no inner width is below max(d_0, d_L), whereas
the widths 4, 4, 8 do.

Zeng & Lee, 2023, arXiv 2310.17513, on linear models. They take all W_l and all P + E_r to be
invertible, hand out the singular triples largest first, and invert S_l and X_l. Departures: least
squares, which a singular layer does not stop; weak directions go to later layers, as the errors of
inverses multiply; a random G where G = I fails, as it does on the way from the identity to a
rotation by 90°.
"""

import operator
from typing import NamedTuple

import numpy as np

from minilora.checks import check_count, check_rng
from minilora.theorems.chain import Unsolvable, chain_product, check_chain


class _Attempt(NamedTuple):
    """Adapters for every layer, and by how much their product misses its goal."""

    error: float  # ‖P' − (P + E_k)‖₂
    params: list
    blame: str  # the layer and the reason for the largest part of the error


def predicted_error(Ws, target, ranks):
    """(σ_{k+1}(E), sqrt(Σ_{i>k} σ_i(E)²)): the bounds for the spectral and the Frobenius norm.

    No adapters have smaller ‖P' − W̄‖₂ and ‖P' − W̄‖_F, whatever the widths.

    Raises ValueError for Ws, target or ranks as `adapt_product` does.
    """
    Ws, target, ranks = check_chain(Ws, target, ranks)
    beyond = np.linalg.svd(target - chain_product(Ws), compute_uv=False)[sum(ranks) :]
    return float(np.max(beyond, initial=0.0)), float(np.linalg.norm(beyond))


def best_change(Ws, target, ranks):
    """Q (d_L, k) with orthonormal columns and C (k, d_0): Q C = E_k, k = min(Σ R_l, rank(E)).

    Raises ValueError for Ws, target or ranks as `adapt_product` does.
    """
    Ws, target, ranks = check_chain(Ws, target, ranks)
    left, values, right = np.linalg.svd(target - chain_product(Ws))
    size = np.prod([np.linalg.norm(W, 2) for W in Ws]) + np.linalg.norm(target, 2)
    rounding = max(target.shape) * np.finfo(np.float64).eps * size
    k = min(sum(ranks), np.sum(values > rounding))
    return left[:, :k], values[:k, None] * right[:k]


def adapt_product(Ws, target, ranks, *, rng=None, retries=4, best_effort=False):
    """Adapters with P' = P + E_k, the closest to the target: a list of {"A", "B"}, one a layer.

    Ws: the frozen matrices, the earliest layer first. target: W̄ (d_L, d_0). ranks: R_l ≥ 0 for
    every layer, or one for all; "A" is (R_l, d_in), "B" is (d_out, R_l).
    rng: a np.random.Generator for up to `retries` random G where G = I fails; None for G = I alone.
    best_effort: take any widths, and return the closest product found instead of raising
    Unsolvable.

    Computes in float64 and returns arrays of the dtype of each W. Digits are lost when ‖P‖ and ‖W̄‖
    differ by many powers of ten, and when the W_l are ill-conditioned: the error grows like
    eps · cond(W)^(1.4 (L−1)).

    Raises ValueError when Ws or target are not finite matrices of floats or do not chain, when a
    rank is not an integer from 0 to min(d_out, d_in), when an inner width is below max(d_0, d_L),
    so that the minimum may be out of reach; Unsolvable when no attempt attains it.
    """
    frozen, target, ranks = check_chain(Ws, target, ranks)
    check_count("retries", retries, least=0)
    if rng is not None:
        check_rng(rng)
    widest = max(target.shape)
    if not best_effort and any(len(W) < widest for W in frozen[:-1]):
        shapes = [W.shape for W in frozen]
        raise ValueError(f"Ws {shapes} needs inner widths ≥ {widest} or best_effort=True")
    attempt = _best_attempt(frozen, target, ranks, retries, best_effort, rng=rng)
    params = []
    for own, W in zip(attempt.params, Ws):
        params.append({name: array.astype(W.dtype) for name, array in own.items()})
    return params


def _best_attempt(Ws, target, ranks, retries, best_effort, *, rng):
    """The attempt with the smallest error: the first with G = I, the others with random G.

    Raises Unsolvable when that error is more than rounding, unless best_effort.
    """
    Q, C = best_change(Ws, target, ranks)
    enough = 1e-6 * max(np.linalg.norm(target, 2), np.linalg.norm(chain_product(Ws), 2))
    attempts = [_solve_layers(Ws, Q, C, ranks)]
    for retry in range(retries):
        if rng is None or not attempts[-1].error > enough:
            break
        G = rng.standard_normal((len(C), len(C)))
        # Every other time let chance choose the weak directions too.
        shuffle = rng if retry % 2 == 1 else None
        attempts.append(_solve_layers(Ws, Q @ G, np.linalg.solve(G, C), ranks, rng=shuffle))
    best = min(attempts, key=operator.attrgetter("error"))
    if not best_effort and not best.error <= enough:
        advice = "Try other ranks, an rng or best_effort=True"
        raise Unsolvable(f"{best.blame}; the product misses by {best.error:.1e}. {advice}")
    return best


def _solve_layers(Ws, Q, C, ranks, *, rng=None):
    """Solve S_l B_l = Q_l and A_l X_l = C_l for every layer, the earliest first: an `_Attempt`.

    What the equations leave over adds up to all that the product misses; blame is about the largest
    term:

        P' − (P + Q C) = Σ_l (S_l B_l − Q_l) A_l X_l + Q_l (A_l X_l − C_l)
    """
    goal = chain_product(Ws) + Q @ C
    X = np.eye(goal.shape[1])
    size = 1.0  # a bound on ‖X‖₂ that does not see how layers cancel each other
    params = []
    missed = []  # (norm of a term, the reason)
    for layer, (W, R) in enumerate(zip(Ws, ranks)):
        S = chain_product([*Ws[layer + 1 :], np.eye(len(goal))])
        Q_l, C_l, Q, C = _take_directions(S, Q, C, R, sum(ranks[layer + 1 :]), rng=rng)
        B = np.linalg.lstsq(S, Q_l, rcond=1e-13)[0]
        A = _solve_from_right(X, C_l, size)
        delta = B @ A
        failed = f"Ws[{layer}] cannot take its share"
        left_over = np.linalg.norm((S @ B - Q_l) @ A @ X)
        missed.append((left_over, f"{failed}: the frozen later layers do not carry it"))
        left_over = np.linalg.norm(Q_l @ (A @ X - C_l))
        missed.append((left_over, f"{failed}: the adapted earlier layers have lost its input"))
        unused = (0, R - len(A))
        params.append({"A": np.pad(A, (unused, (0, 0))), "B": np.pad(B, ((0, 0), unused))})
        X = (W + delta) @ X
        size *= np.linalg.norm(W, 2) + np.linalg.norm(delta, 2)
    _, blame = max(missed, key=operator.itemgetter(0))
    return _Attempt(np.linalg.norm(X - goal, 2), params, blame)


def _solve_from_right(X, C, size):
    """The A with the least ‖A X − C‖, by the singular values of X that are not rounding.

    size: a bound on ‖X‖₂ from the sizes of its layers.
    """
    left, values, right = np.linalg.svd(X, full_matrices=False)
    smallest = 1e-13 * values[0]
    # What layers of such size leave when they cancel each other is no direction to divide by.
    cancelled = 1e-14 * size
    kept = values > max(smallest, cancelled)
    return (C @ right[kept].T / values[kept]) @ left[:, kept].T


def _take_directions(S, Q, C, R, later_ranks, *, rng):
    """Cut Q C in two, what a layer takes and what it leaves to later ones: Q_l, C_l, new Q, new C.

    It takes R directions, those that S carries best, or as many as S carries at all; but no more
    are left than the later layers have rank for. With an rng, chance chooses among those that S
    carries.
    """
    U = np.linalg.svd(S)[0]
    carried = np.linalg.matrix_rank(S)
    left = min(len(C), later_ranks, max(len(C) - R, len(S) - carried))
    if rng is not None:
        U[:, :carried] = U[:, :carried] @ rng.standard_normal((carried, carried))
    weak = U[:, len(S) - left :]  # the last left singular vectors
    Z = np.linalg.qr(Q.T @ weak, mode="complete")[0]  # orthogonal; weakᵀ Q Z = 0 from `left` on
    Q = Q @ Z
    C = Z.T @ C
    return Q[:, left:], C[left:], Q[:, :left], C[:left]
