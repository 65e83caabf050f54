"""Gains: trainable factors of the rows of W, or of its singular values; DoRA turns the rows, too.

IA3    W' = diag(l) W                            l (d_out,) = 1
DoRA   W' = diag(m / ‖V_i‖) V, V = W + s B A     m (d_out,) = ‖W_i‖, B = 0; V_i is row i
SVF    W' = U diag(z σ) Vᵀ, W = U diag(σ) Vᵀ     z (min(d_out, d_in),) = 1
"""

from collections.abc import Callable
from dataclasses import dataclass

import autograd.numpy as np
from autograd.tracer import getval

from minilora.adapters.scaling import alpha_over_rank, check_scale, scale_of
from minilora.checks import check_matrix
from minilora.weight import dense, describe, linear, normal


@dataclass(frozen=True)
class IA3:
    """(IA)³, W' = diag(l) W: one factor for each output, d_out trainable parameters.

    Liu et al., 2022, arXiv 2205.05638. Departure: they scale keys, values and hidden units of the
    feed-forward layer. Here it is the outputs of whichever matrix it is attached to.
    """

    def init(self, rng, W):
        """params: l (d_out,) = 1. frozen: W. Raises ValueError when W is not a finite matrix."""
        d_out, _ = check_matrix("W", W)
        return {"l": np.ones(d_out, W.dtype)}, {"W": W}

    def forward(self, params, frozen, x):
        """y = l * (W x)."""
        return params["l"] * linear(frozen["W"], x)

    def merge(self, params, frozen):
        """W' = diag(l) W."""
        return params["l"][:, None] * dense(frozen["W"])


@dataclass(frozen=True)
class DoRA:
    """DoRA, W' = diag(m / ‖V_i‖) V with V = W + s B A: lengths and directions of rows apart.

    rank, alpha, scaling: as for LoRA. r (d_out + d_in) + d_out trainable parameters.

    Liu et al., 2024, arXiv 2402.09353. Departures: their formula has the norms of
    columns; here, as in PEFT, it is those of rows, one gain for each output. They and PEFT treat
    ‖V_i‖ as a constant in the gradient; here it is the exact gradient of `forward`. PEFT divides by
    0 where V_i = 0; here W'_i is 0 there.
    """

    rank: int
    alpha: float | None = None
    scaling: Callable = alpha_over_rank

    __repr__ = describe
    __post_init__ = check_scale
    scale = property(scale_of)

    def init(self, rng, W):
        """params: A from N(0, 1/d_in), B = 0, m the lengths of W's rows. frozen: W, m².

        Raises ValueError when W is not a finite matrix.
        """
        d_out, d_in = check_matrix("W", W)
        squares = np.sum(dense(W) ** 2, axis=1)
        A = normal(rng, (self.rank, d_in), d_in**-0.5, W.dtype)
        B = np.zeros((d_out, self.rank), W.dtype)
        return {"A": A, "B": B, "m": np.sqrt(squares)}, {"W": W, "squares": squares}

    def forward(self, params, frozen, x):
        """y = m / ‖V_i‖ * (W x + s B A x), with ‖V_i‖² = ‖W_i‖² + 2 W_i·C_i + ‖C_i‖², C = s B A."""
        A, B = params["A"], self.scale * params["B"]
        inner = 2.0 * linear(frozen["W"], A).T + B @ (A @ A.T)
        lengths = _lengths(frozen["squares"] + np.sum(B * inner, axis=1))
        return params["m"] / lengths * (linear(frozen["W"], x) + linear(B, linear(A, x)))

    def merge(self, params, frozen):
        """W' = diag(m / ‖V_i‖) V."""
        V = dense(frozen["W"]) + self.scale * (params["B"] @ params["A"])
        return (params["m"] / _lengths(np.sum(V * V, axis=1)))[:, None] * V


def _lengths(squares):
    """Roots of squared lengths, and 1 for a row of zeros, which then stays one."""
    return np.sqrt(np.where(getval(squares) > 0, squares, 1))


@dataclass(frozen=True)
class SVF:
    """SVF, W' = U diag(z σ) Vᵀ: the singular values are scaled, min(d_out, d_in) parameters.

    Sun, Cetin & Tang, 2025, arXiv 2501.06252 (Transformer²). W keeps its singular vectors.
    """

    def init(self, rng, W):
        """params: z = 1. frozen: W, and U, σ, Vᵀ of its singular value decomposition.

        Raises ValueError when W is not a finite matrix.
        """
        check_matrix("W", W)
        U, sigma, Vt = np.linalg.svd(dense(W), full_matrices=False)
        return {"z": np.ones_like(sigma)}, {"W": W, "U": U, "sigma": sigma, "Vt": Vt}

    def forward(self, params, frozen, x):
        """y = W x + U ((z − 1) σ * Vᵀ x)."""
        change = (params["z"] - 1.0) * frozen["sigma"]
        return linear(frozen["W"], x) + linear(frozen["U"], change * linear(frozen["Vt"], x))

    def merge(self, params, frozen):
        """W' = U diag(z σ) Vᵀ."""
        return (frozen["U"] * (params["z"] * frozen["sigma"])) @ frozen["Vt"]
