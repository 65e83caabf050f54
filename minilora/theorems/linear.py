"""How close to a target can low-rank adapters bring a product of matrices? Exactly how close, and by which adapters.

    frozen     P = W_{L−1} … W_0            target  W̄ (d_L, d_0),  E = W̄ − P
    adapted    P' = W'_{L−1} … W'_0         W'_l = W_l + B_l A_l,  B_l (d_out, R_l), A_l (R_l, d_in)

    ‖P' − W̄‖₂ ≥ σ_{k+1}(E),  k = Σ R_l      for any adapters; σ_1 ≥ σ_2 ≥ … the singular values of E, then 0
    ‖P' − W̄‖₂ = σ_{k+1}(E)                  for some, if all W_l are square and invertible

So the ranks of all layers add up: P' = W̄ can be had as soon as Σ R_l ≥ rank(E), and not before.

No adapters do better. Replace W_l by W'_l one layer at a time, bottom first; the steps add up (telescope) to

    P' − P = Σ_l S_l B_l A_l X_l        S_l = W_{L−1} … W_{l+1} above, frozen;  X_l = W'_{l−1} … W'_0 below, adapted

of rank at most k. No matrix of rank k is closer to E than E_k, its k largest singular triples, in the spectral and in
the Frobenius norm (Eckart & Young, 1936; Mirsky, 1960).

Some do as well. Write E_k = Q C with Q (d_L, k) and C (k, d_0). Layer l takes R_l columns of Q and the same rows of C,
so that E_k = Σ_l Q_l C_l. Then P' = P + E_k if every layer, bottom first, solves

    S_l B_l = Q_l        A_l X_l = C_l

Left: S_l must carry Q_l. Which directions a layer takes is free, as E_k = (Q G)(G⁻¹ C) for every invertible G. It
leaves those that S_l carries worst to the layers above, whose own S is shorter; for the top layer S = I.

Right: what X_l maps to 0, C_l must map to 0. If all W_l are square and invertible, it does for almost every G. Proof:
let X_l v = 0, and let < gather the layers below l. Then v = −P⁻¹ Q_< w with w = C_< v, so K = I + C P⁻¹ Q sends (w, 0)
to (0, −C_≥ v). But for almost every G, what K makes of the lower directions meets the span of the upper ones only in
0, as the two dimensions are k together at most. So C_≥ v = 0. ∎

Other cases, by thousands of random tries: one singular layer does no harm if R_l ≥ its lost rank, two often do; layers
that are not square do none if no inner width is below max(d_0, d_L), whereas the widths 4, 4, 8 do.

Zeng & Lee, 2023, arXiv 2310.17513, on linear models. They take all W_l and all P + E_r to be invertible, hand out the
singular triples largest first, and invert S_l and X_l. Departures: least squares, which a singular layer does not stop;
weak directions go up, as the errors of inverses multiply; a random G where G = I fails, as it does on the way from the
identity to a quarter turn.
"""

import operator
from numbers import Integral

import numpy as np

from minilora.linalg import check_matrix


class Unsolvable(ValueError):  # noqa: N818
    """No adapters were found that attain the minimum; the message names the layer Ws[l], from 0 up, and the reason."""


def product(Ws):
    """P = Ws[-1] … Ws[0], multiplied bottom first, as a network does."""
    P = np.array(Ws[0])
    for W in Ws[1:]:
        P = W @ P  # of adapted layers, top first would lose digits: W'_2 W'_1 can be far larger than W'_1 W'_0
    return P


def adapted(Ws, params):
    """[W_l + B_l A_l, …]. Raises ValueError unless params has one {"A", "B"} of fitting shapes for every layer."""
    deltas = [own["B"] @ own["A"] for own in params]
    if [delta.shape for delta in deltas] != [W.shape for W in Ws]:
        raise ValueError(f"params must change layers {[W.shape for W in Ws]}, got {[delta.shape for delta in deltas]}")
    return [W + delta for W, delta in zip(Ws, deltas)]


def predicted_error(Ws, target, ranks):
    """(σ_{k+1}(E), sqrt(Σ_{i>k} σ_i(E)²)): no adapters have smaller ‖P' − W̄‖₂ and ‖P' − W̄‖_F, whatever the widths.

    Raises ValueError for Ws, target or ranks as `adapt_product` does.
    """
    Ws, target, ranks = checked(Ws, target, ranks)
    beyond = np.linalg.svd(target - product(Ws), compute_uv=False)[sum(ranks) :]
    return float(np.max(beyond, initial=0.0)), float(np.linalg.norm(beyond))


def best_change(Ws, target, ranks):
    """Q (d_L, k) with orthonormal columns and C (k, d_0), where Q C = E_k, k = min(Σ R_l, rank(E)).

    Raises ValueError for Ws, target or ranks as `adapt_product` does.
    """
    Ws, target, ranks = checked(Ws, target, ranks)
    left, values, right = np.linalg.svd(target - product(Ws))
    size = np.prod([np.linalg.norm(W, 2) for W in Ws]) + np.linalg.norm(target, 2)
    k = min(sum(ranks), np.sum(values > max(target.shape) * np.finfo(float).eps * size))  # below is rounding
    return left[:, :k], values[:k, None] * right[:k]


def adapt_product(Ws, target, ranks, retries=4, rng=None, best_effort=False):
    """Adapters with P' = P + E_k, the closest to the target: a list of {"A": (R_l, d_in), "B": (d_out, R_l)}.

    Ws: the frozen matrices, bottom first. target: W̄ (d_L, d_0). ranks: R_l ≥ 0 for every layer, or one for all.
    rng: a np.random.Generator for up to `retries` random G where G = I fails; None for G = I alone.
    best_effort: take any widths, and return the closest product found instead of raising Unsolvable.

    Computes in float64 and returns arrays of the dtype of each W. Digits are lost when ‖P‖ and ‖W̄‖ differ by many
    powers of ten, and when the W_l are ill-conditioned: the error grows like eps · cond(W)^(1.4 (L−1)).

    Raises ValueError when Ws or target are not finite matrices of floats or do not chain, when a rank is not a whole
    number from 0 to min(d_out, d_in), when an inner width is below max(d_0, d_L), so that the minimum may be out of
    reach; Unsolvable when no attempt attains it.
    """
    frozen, target, ranks = checked(Ws, target, ranks)
    if any(len(W) < max(target.shape) for W in frozen[:-1]) and not best_effort:
        raise ValueError(f"Ws {[W.shape for W in frozen]} needs inner widths ≥ {max(target.shape)} or best_effort=True")
    Q, C = best_change(frozen, target, ranks)
    enough = 1e-6 * max(np.linalg.norm(target, 2), np.linalg.norm(product(frozen), 2))
    attempts = [solve_layers(frozen, Q, C, ranks)]  # (error, params, blame), …
    while attempts[-1][0] > enough and rng is not None and len(attempts) <= retries:
        G = rng.standard_normal((len(C), len(C)))
        mixing = rng if len(attempts) % 2 == 0 else None  # every other time let chance choose the weak directions too
        attempts.append(solve_layers(frozen, Q @ G, np.linalg.solve(G, C), ranks, mixing))
    error, params, blame = min(attempts, key=operator.itemgetter(0))
    if not best_effort and not error <= enough:
        raise Unsolvable(f"{blame}; the product misses by {error:.1e}. Try other ranks, an rng or best_effort=True")
    return [{name: a.astype(np.asarray(W).dtype) for name, a in own.items()} for own, W in zip(params, Ws)]


def solve_layers(Ws, Q, C, ranks, rng=None):
    """Solve S_l B_l = Q_l and A_l X_l = C_l for every layer, bottom first; returns (error, params, blame).

    What the equations leave over adds up to all that the product misses; blame is about the largest term:

        P' − (P + Q C) = Σ_l (S_l B_l − Q_l) A_l X_l + Q_l (A_l X_l − C_l)
    """
    goal = product(Ws) + Q @ C
    params, missed, X, size = [], [], np.eye(goal.shape[1]), 1.0
    for layer, (W, R) in enumerate(zip(Ws, ranks)):
        S = product([*Ws[layer + 1 :], np.eye(len(goal))])
        own_Q, own_C, Q, C = share(S, Q, C, R, sum(ranks[layer + 1 :]), rng)
        B = np.linalg.lstsq(S, own_Q, rcond=1e-13)[0]
        left, values, right = np.linalg.svd(X, full_matrices=False)
        # What layers of such size leave when they cancel each other is rounding, and no direction to divide by.
        kept = values > max(1e-13 * values[0], 1e-14 * size)
        A = (own_C @ right[kept].T / values[kept]) @ left[:, kept].T
        above = np.linalg.norm((S @ B - own_Q) @ A @ X)
        below = np.linalg.norm(own_Q @ (A @ X - own_C))
        missed.append((above, f"Ws[{layer}] cannot take its share: the frozen layers above it do not carry it"))
        missed.append((below, f"Ws[{layer}] cannot take its share: the adapted product below it has lost its input"))
        params.append({"A": np.pad(A, ((0, R - len(A)), (0, 0))), "B": np.pad(B, ((0, 0), (0, R - len(A))))})
        X = (W + B @ A) @ X
        size *= np.linalg.norm(W, 2) + np.linalg.norm(B @ A, 2)
    return np.linalg.norm(X - goal, 2), params, max(missed)[1]


def share(S, Q, C, R, room, rng):
    """Cut Q C in two, what layer l takes and what it leaves to the layers above: Q_l, C_l and the new Q, C.

    It takes R directions, those that S carries best, or as many as S carries at all; but no more are left than there is
    room for, the sum of the ranks above. With an rng, chance chooses among those that S carries.
    """
    U, carried = np.linalg.svd(S)[0], np.linalg.matrix_rank(S)
    left = min(len(C), room, max(len(C) - R, len(S) - carried))
    if rng is not None:
        U[:, :carried] = U[:, :carried] @ rng.standard_normal((carried, carried))
    weak = U[:, len(S) - left :]  # the last left singular vectors
    Z = np.linalg.qr(Q.T @ weak, mode="complete")[0]  # orthogonal, with weakᵀ Q Z = 0 from column `left` on
    Q, C = Q @ Z, Z.T @ C
    return Q[:, left:], C[left:], Q[:, :left], C[:left]


def checked(Ws, target, ranks):
    """Ws and target in float64, and a rank for every layer. Raises ValueError, see `adapt_product`."""
    Ws = [matrix(f"Ws[{layer}]", W) for layer, W in enumerate(Ws)]
    target = matrix("target", target)
    shapes = [W.shape for W in Ws]
    if not Ws or [d_in for _, d_in in shapes[1:]] != [d_out for d_out, _ in shapes[:-1]]:
        raise ValueError(f"Ws has shapes {shapes}: at least one, each with the d_out before as its d_in, would work")
    if target.shape != (len(Ws[-1]), shapes[0][1]):
        raise ValueError(f"target has shape {target.shape}, but Ws map {shapes[0][1]} numbers to {len(Ws[-1])}")
    ranks = [ranks] * len(Ws) if np.ndim(ranks) == 0 else list(ranks)
    fits = [isinstance(R, Integral) and type(R) is not bool and 0 <= R <= min(shape) for R, shape in zip(ranks, shapes)]
    if len(ranks) != len(Ws) or not all(fits):
        raise ValueError(f"ranks must be one whole number from 0 to min(d_out, d_in) for each of {shapes}, got {ranks}")
    return Ws, target, ranks


def matrix(name, W):
    """W in float64. Raises ValueError, with the argument's name, unless it is a finite matrix of floats."""
    W = np.asarray(W)
    check_matrix(W, name)
    return W.astype(float)
