"""How close to a target can low-rank adapters bring a product of matrices, and which adapters do?

    frozen     P = W_{L−1} … W_0            target  W̄ (d_L, d_0),  E = W̄ − P
    adapted    P' = W'_{L−1} … W'_0         W'_l = W_l + B_l A_l,  B_l (d_out, R_l), A_l (R_l, d_in)

    ‖P' − W̄‖₂ ≥ σ_{k+1}(E),  k = Σ R_l      for any adapters; σ_1 ≥ σ_2 ≥ … are the singular values
                                            of E, then 0
    P' = P + E_k,  ‖P' − W̄‖₂ = σ_{k+1}(E)   for some, if all W_l are square and invertible; E_k is
                                            the sum of the k largest singular triples of E

So the ranks of all layers add up: with invertible layers P' = W̄ is reachable if and only if
Σ R_l ≥ rank(E).

No adapters do better. Replace W_l by W'_l one layer at a time, the earliest first; the steps add up
(telescope) to

    P' − P = Σ_l S_l B_l A_l X_l        S_l = W_{L−1} … W_{l+1}, the later layers, frozen
                                        X_l = W'_{l−1} … W'_0, the earlier layers, adapted

of rank at most k. No matrix of rank at most k is closer to E than E_k, in the spectral and in the
Frobenius norm (Eckart & Young, 1936; Mirsky, 1960).

Some adapters attain the bound. Write E_k = Q C with Q (d_L, k) and C (k, d_0). Layer l takes R_l
columns of Q and the same rows of C, so that E_k = Σ_l Q_l C_l. Then P' = P + E_k if every layer,
the earliest first, solves

    S_l B_l = Q_l        A_l X_l = C_l

Left: S_l must carry Q_l. Which directions a layer takes is free, as E_k = (Q G)(G⁻¹ C) for every
invertible G. It leaves those that S_l carries worst to the later layers, whose own S has fewer
factors; for the last layer S = I.

Right: what X_l maps to 0, C_l must map to 0. If all W_l are square and invertible, it does for
almost every G. Proof: let X_l v = 0, and let < denote all layers before l. Then v = −P⁻¹ Q_< w with
w = C_< v, so K = I + C P⁻¹ Q sends (w, 0) to (0, −C_≥ v). But for almost every G, what K makes of
the earlier layers' directions meets the span of the other ones only in 0, as the two dimensions are
k together at most. So C_≥ v = 0. ∎ (Here the layers' shares are fixed pieces of Q G;
`adapt_product` cuts Q G anew in every layer. That almost every G does there is tested, not proved.)

Other layers, singular or not square, can put P + E_k out of reach. These three are necessary for
every layer l:

    rank(P + E_k) ≤ rank(W_l) + R_l, for no product has a larger rank than W'_l;
    E_k leaves the range of W_{L−1} … W_l in at most R_l + … + R_{L−1} directions, for in the sum
    above the terms of earlier layers stay in it;
    E_k leaves the row space of W_l … W_0 in at most R_0 + … + R_l directions, by transposing.

`obstacle` says which of them fails. If all layers are square and at most one is singular, they
suffice in all random cases that we tried (3,000 here, others in the tests); we do not prove it.
With more singular layers, or other shapes, `adapt_product` finds adapters in most cases in which
they hold, not in all.

What singular layers change: now X_l may have to map something to 0, and only what P + E_k maps to 0
may be lost. So a layer first takes directions C a with (P + E_k) a = 0, as many as the rank that
S_l W_l lacks. S_l always carries them, since Q C a = −S_l W_l X_l a, and then S_l X_{l+1} a = 0.

Zeng & Lee, 2023, arXiv 2310.17513, on linear models. They take all W_l and all P + E_r to be
invertible, assign the singular triples largest first, and invert S_l and X_l. Departures: least
squares, and kernels first, so that singular layers do not stop it; weak directions go to later
layers, as the errors of inverses multiply; a random G where G = I fails, as it does on the way from
the identity to a rotation by 90°; and the necessary conditions.
"""

import operator
from typing import NamedTuple

import numpy as np

from minilora.checks import check_count, check_rng
from minilora.theorems.chain import Unsolvable, add_adapters, chain_product, check_chain
from minilora.weight import dense


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

    Singular values of E up to d eps (∏ ‖W_l‖ + ‖W̄‖) count as rounding of P, and so as 0.

    Raises ValueError for Ws, target or ranks as `adapt_product` does.
    """
    Ws, target, ranks = check_chain(Ws, target, ranks)
    left, values, right = np.linalg.svd(target - chain_product(Ws))
    size = np.prod([np.linalg.norm(W, 2) for W in Ws]) + np.linalg.norm(target, 2)
    rounding = max(target.shape) * np.finfo(np.float64).eps * size
    k = min(sum(ranks), np.sum(values > rounding))
    return left[:, :k], values[:k, None] * right[:k]


def obstacle(Ws, target, ranks):
    """Why no adapters reach P + E_k: one of the three conditions that fails, or None if none does.

    Ranks are decided up to rounding: singular values below d eps ‖W_l‖ count as 0, so a W_l of a
    condition above 4e15 / d is singular; of P + E_k and E_k, those below 1e-6 max(‖P‖, ‖W̄‖), or
    1e-3 max(‖P‖, ‖W̄‖) if a W is float32, as in `adapt_product`.

    Raises ValueError for Ws, target or ranks as `adapt_product` does.
    """
    own = Ws
    Ws, target, ranks = check_chain(Ws, target, ranks)
    zero = _miss_allowed(own, target)
    Q, C = best_change(Ws, target, ranks)
    rank = _rank(chain_product(Ws) + Q @ C, zero)
    if not _rank(Q @ C, zero):
        return None
    for layer, W in enumerate(Ws):
        if rank > np.linalg.matrix_rank(W) + ranks[layer]:
            return f"P + E_k has rank {rank}, more than rank(W) + R of Ws[{layer}]"
        if _directions_beyond(Ws[layer:], Q @ C, zero) > sum(ranks[layer:]):
            return f"E_k leaves the range of Ws[{layer}:] in more directions than they have rank"
        backwards = [earlier.T for earlier in reversed(Ws[: layer + 1])]
        if _directions_beyond(backwards, (Q @ C).T, zero) > sum(ranks[: layer + 1]):
            return f"E_k leaves the rows of Ws[:{layer + 1}] in more directions than they have rank"
    return None


def _directions_beyond(Ws, change, zero):
    """The rank of what is left of a change without its part in the range of W_{L−1} … W_0.

    An orthonormal basis of the range passes through the layers one by one, so that their condition
    numbers do not multiply, as they do in the product.
    """
    basis = np.eye(Ws[0].shape[1])
    for W in Ws:
        U, values, _ = np.linalg.svd(W @ basis, full_matrices=False)
        basis = U[:, values > max(W.shape) * np.finfo(np.float64).eps * np.linalg.norm(W, 2)]
    return _rank(change - basis @ (basis.T @ change), zero)


def _rank(M, zero):
    """How many singular values of M, a matrix that may be empty, are above zero."""
    return int(np.sum(np.linalg.svd(M, compute_uv=False) > zero))


def adapt_product(Ws, target, ranks, *, rng=None, retries=4, best_effort=False):
    """Adapters with P' = P + E_k, the closest to the target: a list of {"A", "B"}, one a layer.

    Ws: the frozen matrices, the earliest layer first. target: W̄ (d_L, d_0). ranks: R_l ≥ 0 for
    every layer, or one for all; "A" is (R_l, d_in), "B" is (d_out, R_l).
    rng: a np.random.Generator for up to `retries` random G where G = I fails; None for G = I alone.
    best_effort: where P + E_k is not reached, return the closest product, in the Frobenius norm,
    that rounds of least squares over the layers find, instead of raising Unsolvable (which it still
    does when the adapters overflow).

    Computes in float64 and returns arrays of the dtype of each W. Then it tries them as a network
    would, x -> W x + B (A x) layer by layer, and takes P + E_k as reached if that is off by at most
    1e-6 max(‖P‖, ‖W̄‖), or 1e-3 max(‖P‖, ‖W̄‖) if a W is float32. Digits are lost when ‖P‖ and ‖W̄‖
    differ by many powers of ten and when the W_l are ill-conditioned, more with every layer.

    Raises ValueError when Ws or target are not finite matrices of floats or do not chain, or when a
    rank is not an integer from 0 to min(d_out, d_in); Unsolvable when P + E_k is not reached. Its
    message says whether no adapters reach it (`obstacle`) or only this construction failed.
    """
    frozen, target, ranks = check_chain(Ws, target, ranks)
    check_count("retries", retries, least=0)
    if rng is not None:
        check_rng(rng)
    Ws = [dense(W) for W in Ws]
    attempts = _attempts(Ws, target, ranks, retries, rng=rng)
    best = min(attempts, key=operator.attrgetter("error"))
    if best.error <= _miss_allowed(Ws, target):
        return best.params
    if not best_effort:
        raise Unsolvable(_reason(Ws, target, ranks, best))
    narrowed = _within_waist(Ws, target, ranks)
    starts = [best, *_attempts(Ws, narrowed, ranks, retries, rng=rng)]
    refitted = [_refit_layers(frozen, target, attempt.params) for attempt in starts]
    candidates = [best.params, *(_as_dtypes(params, Ws) for params in refitted)]
    return min(candidates, key=lambda params: np.linalg.norm(_forward(Ws, params) - target))


def _within_waist(Ws, target, ranks):
    """The target's best approximation of the largest rank that every layer allows."""
    most = min(min(*W.shape, np.linalg.matrix_rank(W) + R) for W, R in zip(Ws, ranks))
    return _truncated(target, most)


def _truncated(M, k):
    """The best approximation of M of rank k at most, its k largest singular triples."""
    left, values, right = np.linalg.svd(M, full_matrices=False)
    return (left[:, :k] * values[:k]) @ right[:k]


def _miss_allowed(Ws, target):
    """By how much, in the spectral norm, a product may miss its goal and count as equal."""
    share = 1e-3 if any(W.dtype == np.float32 for W in Ws) else 1e-6
    P = chain_product(Ws)
    return share * max(np.linalg.norm(target, 2), np.linalg.norm(P, 2))


def _reason(Ws, target, ranks, attempt):
    """The message of Unsolvable."""
    missed = f"the product misses P + E_k by {attempt.error:.1e}"
    why = obstacle(Ws, target, ranks)
    if why is not None:
        known = f"no adapters of these ranks reach P + E_k: {why}, up to rounding"
        return f"{known}; {missed}. Raise the ranks"
    known = "this construction fails, others might not"
    return f"{attempt.blame}; {missed}; {known}. Try other ranks, an rng or best_effort=True"


def _attempts(Ws, target, ranks, retries, *, rng):
    """Attempts until one reaches P + E_k: the first with G = I, the others with random G."""
    frozen, target, ranks = check_chain(Ws, target, ranks)
    Q, C = best_change(frozen, target, ranks)
    P = chain_product(frozen)
    goal = P + _truncated(target - P, sum(ranks))  # with what best_change takes for rounding
    enough = _miss_allowed(Ws, target)
    attempts = []
    for retry in range(retries + 1):
        G = np.eye(len(C)) if retry == 0 else rng.standard_normal((len(C), len(C)))
        # In every other retry chance also chooses the weak directions.
        shuffle = rng if retry > 0 and retry % 2 == 0 else None
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is no solution
            try:
                params, blame = _solve_layers(
                    frozen, Q @ G, np.linalg.solve(G, C), ranks, rng=shuffle
                )
                params = _as_dtypes(params, Ws)
                error = np.linalg.norm(_forward(Ws, params) - goal, 2)
            except np.linalg.LinAlgError:
                error = np.nan
        if np.isfinite(error):
            attempts.append(_Attempt(error, params, blame))
        if rng is None or error <= enough:
            break
    if not attempts:
        raise Unsolvable("Ws: the adapters overflow. Scale Ws and target to similar sizes")
    return attempts


def _as_dtypes(params, Ws):
    """The arrays of params in the dtypes of their layers."""
    return [
        {name: array.astype(W.dtype) for name, array in own.items()} for own, W in zip(params, Ws)
    ]


def _forward(Ws, params):
    """P', column by column: what the adapted layers make of the unit vectors, one after another."""
    X = np.eye(Ws[0].shape[1], dtype=Ws[0].dtype)
    for W, own in zip(Ws, params):
        X = W @ X + own["B"] @ (own["A"] @ X)
    return X


def _solve_layers(Ws, Q, C, ranks, *, rng=None):
    """Solve S_l B_l = Q_l and A_l X_l = C_l for every layer, the earliest first: (params, blame).

    The residuals of the equations add up to what the product misses; blame names the largest term:

        P' − (P + Q C) = Σ_l (S_l B_l − Q_l) A_l X_l + Q_l (A_l X_l − C_l)
    """
    goal = chain_product(Ws) + Q @ C
    lost = _kernel(goal)
    X = np.eye(goal.shape[1])
    size = 1.0  # a bound on ‖X‖₂ that does not see how layers cancel each other
    params = []
    missed = []  # (norm of a term, the reason)
    for layer, (W, R) in enumerate(zip(Ws, ranks)):
        S = chain_product([*Ws[layer + 1 :], np.eye(len(goal))])
        later_ranks = sum(ranks[layer + 1 :])
        shape = lost.shape[1], W.shape[1] - np.linalg.matrix_rank(S @ W)
        first = C @ lost @ (np.eye(*shape) if rng is None else rng.standard_normal(shape))
        Q_l, C_l, Q, C = _take_directions(S, Q, C, first, R, later_ranks, rng=rng)
        B = np.linalg.lstsq(S, Q_l, rcond=1e-13)[0]
        A = _solve_from_right(X, C_l, size)
        failed = f"Ws[{layer}] cannot take its share"
        left_over = np.linalg.norm((S @ B - Q_l) @ A @ X)
        missed.append((left_over, f"{failed}: the frozen later layers do not carry it"))
        left_over = np.linalg.norm(Q_l @ (A @ X - C_l))
        missed.append((left_over, f"{failed}: the adapted earlier layers have lost its input"))
        params.append(_with_rank(A, B, R))
        X = W @ X + B @ (A @ X)
        size *= np.linalg.norm(W, 2) + np.linalg.norm(B @ A, 2)
    _, blame = max(missed, key=operator.itemgetter(0))
    return params, blame


def _kernel(M):
    """An orthonormal basis, in columns, of what M maps to 0 up to rounding."""
    _, values, right = np.linalg.svd(M)
    return right[np.sum(values > 1e-12 * values[0]) :].T


def _solve_from_right(X, C, size):
    """The A with the least ‖A X − C‖, by the singular values of X that are not rounding.

    size: a bound on ‖X‖₂ from the sizes of its layers.
    """
    left, values, right = np.linalg.svd(X, full_matrices=False)
    smallest = 1e-13 * values[0]
    # When layers of such size cancel, what is left is rounding: do not divide by it.
    cancelled = 1e-14 * size
    kept = values > max(smallest, cancelled)
    return (C @ right[kept].T / values[kept]) @ left[:, kept].T


def _take_directions(S, Q, C, first, R, later_ranks, *, rng):
    """Cut Q C in two, what a layer takes and what it leaves to later ones: Q_l, C_l, new Q, new C.

    It takes R directions, or as many as S carries at all, but leaves no more than the later layers
    have rank for: the columns of `first`, all of which S carries, and then those that S carries
    best. With an rng, chance chooses among those that S carries.
    """
    U = np.linalg.svd(S)[0]
    carried = np.linalg.matrix_rank(S)
    beyond = _rank(U[:, carried:].T @ Q, 1e-10 * np.linalg.norm(Q))
    left = min(len(C), later_ranks, max(len(C) - R, beyond))
    if rng is not None:
        U[:, :carried] = U[:, :carried] @ rng.standard_normal((carried, carried))
    weak = U[:, len(S) - left :]  # the last left singular vectors
    basis, values, _ = np.linalg.svd(first)
    n = min(len(C) - left, np.sum(values > 1e-10 * np.linalg.norm(C)))
    free = basis[:, n:]
    # Z is orthogonal. Its last columns are taken: weakᵀ Q free Z' = 0 from `left` on, and `first`.
    Z = free @ np.linalg.qr((Q @ free).T @ weak, mode="complete")[0]
    Z = np.concatenate([Z, basis[:, :n]], axis=1)
    Q = Q @ Z
    C = Z.T @ C
    return Q[:, left:], C[left:], Q[:, :left], C[:left]


def _refit_layers(Ws, target, params, rounds=100):
    """Params for a product nearer to the target: in turn, each layer becomes the best it can be.

    S' (W_l + B A) X' has to come near W̄, with the other layers as they are. In orthonormal bases
    of the range of S' and of the row space of X', the best B A is what Eckart & Young say. The
    distance ‖P' − W̄‖_F never rises, rounding apart, but may converge to one above the smallest.
    """
    params = list(params)
    distance = np.inf
    for _ in range(rounds):
        before = distance
        distance = np.linalg.norm(_forward(Ws, params) - target)
        if not distance < before - 1e-9 * np.linalg.norm(target):
            break
        for layer, W in enumerate(Ws):
            adapted = add_adapters(Ws, params)
            X = chain_product([np.eye(target.shape[1]), *adapted[:layer]])
            S = chain_product([*adapted[layer + 1 :], np.eye(len(target))])
            columns, S_values, S_right = _strong_triples(S)
            X_left, X_values, rows = _strong_triples(X)
            missing = columns.T @ (target - S @ W @ X) @ rows.T
            left, values, right = np.linalg.svd(missing, full_matrices=False)
            R = len(params[layer]["A"])
            B = S_right.T @ (left[:, :R] * values[:R] / S_values[:, None])
            A = (right[:R] / X_values) @ X_left.T
            params[layer] = _with_rank(A, B, R)
    return params


def _strong_triples(M):
    """The singular triples of M, without those that are small enough to be rounding."""
    left, values, right = np.linalg.svd(M, full_matrices=False)
    n = np.sum(values > 1e-10 * values[0])
    return left[:, :n], values[:n], right[:n]


def _with_rank(A, B, R):
    """{"A", "B"} padded with zeros to rank R."""
    unused = (0, R - len(A))
    return {"A": np.pad(A, (unused, (0, 0))), "B": np.pad(B, ((0, 0), unused))}
