"""What is measured on the layers of a checkpoint, and tables with a row for a kind of layer."""

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from minilora.adapters import LoRA
from minilora.adapters.hra import orthogonality_penalty
from minilora.analysis import effective_rank, product_factors, product_spectrum, stable_rank
from minilora.attachment import kind
from minilora.cli.output import table

_SPREAD = ("effective rank", "stable rank", "first")
UPDATE_LEGEND = """\
‖ΔW‖: the mean of the Frobenius norms; σ₁: the largest singular value of them all.
Means of three measures of how many directions count, with p = σ² / Σσ²:
effective rank exp(−Σ p log p), stable rank Σσ² / σ₁², share of the first direction σ₁² / Σσ²."""
ROTATION_LEGEND = """\
W' = W H. ‖H − I‖: the mean of the Frobenius norms, 2 √r for r orthogonal reflections.
angle: the largest of the eigenvalues of H. 180° is a direction that H reverses: so does any product
of an odd number of reflections. ‖ÛᵀÛ − I‖: how far the unit columns of U are from orthogonal, on
average; √r or more for the equal pairs that HRA starts with."""
_ROUNDING = 1e-9  # of H − I, whose U was taken in float64: smaller singular values are zero


class Layer(NamedTuple):
    """One adapted layer. Its update ΔW, or H − I for HRA without W, is B A."""

    name: str
    adapter: object
    B: np.ndarray  # (d_out, r), with LoRA's scale s in it
    A: np.ndarray  # (r, d_in)
    values: np.ndarray  # the singular values of B A
    skew: float  # ‖ÛᵀÛ − I‖_F for HRA, how far its columns are from orthogonal; 0 for LoRA

    @property
    def shape(self):
        """(d_out, d_in)."""
        return len(self.B), self.A.shape[1]

    @property
    def norm(self):
        """‖B A‖_F."""
        return float(np.linalg.norm(self.values.astype(np.float64)))


def measure(adapters, weights=None):
    """([Layer], {name: why it cannot be measured}) of {name: (adapter, params)}.

    weights: {name: W}; the layers are then those in it. Without it HRA's update is H − I.
    """
    layers = []
    broken = {}
    for name in adapters if weights is None else weights:
        adapter, params = adapters[name]
        W = None if weights is None else weights[name]
        try:
            if isinstance(adapter, LoRA):
                B, A = product_factors(adapter, params)
                layers.append(Layer(name, adapter, B, A, product_spectrum(B, A), 0.0))
            else:
                layers.append(_measure_rotation(name, adapter, params["U"], W))
        except ValueError as error:
            broken[name] = error
    return layers, broken


def _measure_rotation(name, adapter, U, W):
    """The layer of HRA. In float64: near H = I, H − I is a difference of nearly equal numbers."""
    U = U.astype(np.float64)
    W = None if W is None else W.astype(np.float64)
    B, A = product_factors(adapter, {"U": U}, W)
    values = product_spectrum(B, A)
    size = 1.0 if W is None else np.linalg.norm(W)
    values[values < _ROUNDING * size] = 0
    return Layer(name, adapter, B, A, values, float(orthogonality_penalty(U)) ** 0.5)


def by_kind(layers):
    """{(kind, shape): layers}: names with numbers replaced by "*", where the shapes are equal."""
    groups = defaultdict(list)
    for layer in layers:
        groups[kind(layer.name), layer.shape].append(layer)
    return dict(groups)


def update_table(layers):
    """A row for every kind of layer."""
    head = ("layers", "count", "shape", "rank", "s", "‖ΔW‖", "σ₁")
    rows = [(*head, *_SPREAD)]
    for (name, (d_out, d_in)), group in by_kind(layers).items():
        ranks = _range(layer.adapter.rank for layer in group)
        scales = [layer.adapter.scale for layer in group if isinstance(layer.adapter, LoRA)]
        row = (name, str(len(group)), f"{d_out} × {d_in}", ranks)
        rows.append((*row, _range(scales) if scales else "–", *_sizes(group), *_spread(group)))
    return table(rows)


def rotation_table(layers):
    """A row for every kind of layer of HRA: what U alone says."""
    head = ("layers", "count", "d_in", "rank", "‖H − I‖", "angle", "‖ÛᵀÛ − I‖")
    rows = [(*head, *_SPREAD)]
    for (name, (_, d_in)), group in by_kind(layers).items():
        ranks = _range(layer.adapter.rank for layer in group)
        largest = max(layer.values[0] for layer in group)
        angle = np.degrees(2 * np.arcsin(min(largest / 2, 1.0)))
        skew = np.mean([layer.skew for layer in group])
        norm, _ = _sizes(group)
        row = (name, str(len(group)), str(d_in), ranks, norm, f"{angle:.1f}°", f"{skew:.3f}")
        rows.append((*row, *_spread(group)))
    return table(rows)


def _sizes(group):
    """The mean norm and the largest singular value of some layers, as text."""
    largest = max(layer.values[0] for layer in group)
    return f"{np.mean([layer.norm for layer in group]):.4g}", f"{largest:.4g}"


def _spread(group):
    """The means of the effective rank, the stable rank and the share of σ₁, as text."""
    alive = [layer.values for layer in group if layer.norm > 0]
    if not alive:
        return "–", "–", "–"
    stable = [stable_rank(values) for values in alive]
    share = np.mean([1 / each for each in stable])
    effective = np.mean([effective_rank(values) for values in alive])
    return f"{effective:.1f}", f"{np.mean(stable):.1f}", f"{share:.0%}"


def _range(values):
    """A number, or the smallest and the largest of several, as text."""
    low, *_, high = sorted(values) * 2
    return f"{low:.3g}" if low == high else f"{low:.3g}–{high:.3g}"
