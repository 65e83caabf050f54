"""How near to a target five members of the family can bring one matrix, in closed form.

    frozen W and target T (d_out, d_in);   E = T − W,   error = ‖W' − T‖_F,   s = 1

    IA3        W' = diag(l) W            l_i = w_i·t_i / ‖w_i‖²        row by row, one number each
    SVF        W' = U diag(z σ) Vᵀ       z_k σ_k = u_kᵀ T v_k          the u_k v_kᵀ are orthonormal
    SHiRA      ΔW at k entries a row     the k largest |E_ij| of each  entries do not interact
    LoRA-FA    ΔW = B A, A given         B = E A⁺                      projects E on the rows of A
    LoRA-XS    ΔW = U_r Σ_r R V_rᵀ       R = Σ_r⁻¹ U_rᵀ E V_r          projects E on both spaces

Every `best_…` returns (adapter, params, frozen), without training, as `minilora.theorems.reachable`
does for the adapters of this library, and `adapter.merge(params, frozen)` is the nearest W'. Each
is a least-squares problem in its params, so its minimum is where the gradient is zero.
"""

import numpy as np

from minilora.checks import check_matrix, check_rank
from minilora.family.frozen_factors import LoRAFA, LoRAXS
from minilora.family.gains import IA3, SVF
from minilora.family.sparse import SHiRA
from minilora.weight import dense


def best_ia3(W, T):
    """IA3 with l_i = w_i·t_i / ‖w_i‖²: error² = Σ_i (‖t_i‖² − (w_i·t_i)² / ‖w_i‖²).

    A row of zeros stays one, with l_i = 1. Raises ValueError when W is not a finite matrix or T
    differs from W in shape or dtype or is not finite.
    """
    W, T = _pair(W, T)
    squares = np.sum(W * W, axis=1)
    rest = squares == 0
    return (
        IA3(),
        {"l": np.where(rest, 1, np.sum(W * T, axis=1) / np.where(rest, 1, squares))},
        {"W": W},
    )


def best_svf(W, T):
    """SVF with z_k = u_kᵀ T v_k / σ_k: error² = ‖T‖² − Σ_k (u_kᵀ T v_k)², over k with σ_k > 0.

    Singular values below rounding count as 0, and their z stays 1. Raises as `best_ia3` does.
    """
    W, T = _pair(W, T)
    adapter = SVF()
    start, frozen = adapter.init(None, W)
    sigma = frozen["sigma"]
    along = np.sum(frozen["U"] * (T @ frozen["Vt"].T), axis=0)
    held = sigma > max(W.shape) * np.finfo(W.dtype).eps * np.max(sigma)
    return adapter, {"z": np.where(held, along / np.where(held, sigma, 1), start["z"])}, frozen


def best_shira(W, T, rank):
    """SHiRA at the largest |E_ij| of each row: error² = the sum of the squares of all others.

    rank: as SHiRA's, which says how many entries a row has. Raises as `best_ia3` does, and when
    rank is not an integer from 1 up.
    """
    W, T = _pair(W, T)
    adapter = SHiRA(rank)
    start, frozen = adapter.init(np.random.default_rng(0), W)
    E = T - W
    cols = np.argsort(-np.abs(E), axis=1, kind="stable")[:, : start["v"].shape[1]]
    return adapter, {"v": np.take_along_axis(E, cols, axis=1)}, {**frozen, "cols": cols}


def best_lora_fa(W, T, A):
    """LoRA-FA with a given A (r, d_in) and B = E A⁺: error² = ‖E‖² − ‖E A⁺ A‖².

    Raises as `best_ia3` does, and ValueError when A is not (r, d_in) or not finite.
    """
    W, T = _pair(W, T)
    rank, width = check_matrix("A", A)
    if width != W.shape[1]:
        raise ValueError(f"A must be (r, {W.shape[1]}), got {(rank, width)}")
    return LoRAFA(rank), {"B": (T - W) @ np.linalg.pinv(A)}, {"W": W, "A": A}


def best_lora_xs(W, T, rank):
    """LoRA-XS with R = Σ_r⁻¹ U_rᵀ E V_r: error² = ‖E‖² − ‖U_rᵀ E V_r‖².

    U_r, Σ_r, V_r: the first r singular vectors and values of W. Raises as `best_ia3` does, and
    ValueError when rank is no integer from 1 to the rank of W, up to rounding.
    """
    W, T = _pair(W, T)
    adapter = LoRAXS(rank)
    _, frozen = adapter.init(None, W)
    check_rank(rank, most=int(np.linalg.matrix_rank(W)))
    lengths = np.sum(frozen["B"] ** 2, axis=0)  # σ²
    R = (frozen["B"].T @ (T - W) @ frozen["A"].T) / lengths[:, None]
    return adapter, {"R": R}, frozen


def _pair(W, T):
    """W and T as matrices; ValueError unless both are, alike in shape and dtype."""
    check_matrix("W", W)
    W = dense(W)
    check_matrix("T", T)
    T = dense(T)
    if T.shape != W.shape or T.dtype != W.dtype:
        given = f"{T.dtype} {T.shape}"
        raise ValueError(f"T must be as W, {W.dtype} {W.shape}, got {given}")
    return W, T
