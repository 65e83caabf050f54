"""Compare the updates of a checkpoint with the weights of the model below them.

What is found means something only beside what chance gives, or beside a control in which nothing
can be found. Chance is the mean for random subspaces. For the conversion matrices, with which
A = Θ_A W and B = W Θ_Bᵀ, there are two more: each A and B with the W of the next layer, and random
ones in their place. If the layers are as similar then, the reason is that their W are similar, and
not a relation between W and what was learned. A random W with the same singular values needs no
calculation: Θ then spans a uniform subspace of its own in every layer, which is chance.
"""

from bisect import bisect_left
from collections import Counter, defaultdict

import numpy as np

from minilora.adapters import LoRA
from minilora.analysis import (
    conversion_matrices,
    intruder_dimensions,
    mean_similarity,
    narrow_product,
    random_similarity,
    subspace_similarity,
)
from minilora.attachment import kind
from minilora.cli.output import counted, printable, table
from minilora.peft import layer_of
from minilora.train.loop import show_progress

_DIRECTIONS = (1, 2, 4, 8)
_FIRST = 10  # singular vectors of W' that may be intruders
_THRESHOLD = 0.5  # |cosine| below which they are
_SECONDS = 3e-9  # of the comparisons, for each d_out d_in min(d_out, d_in), on one slow core
_PATIENCE = 90.0  # seconds that are spent without --full
_DEVIATIONS = 4  # from chance, in those of the mean, at which a number is marked
_LEGEND = f"""\
Means over the layers. Intruders: how many of the first {_FIRST} left singular vectors of W' have
|cosine| < {_THRESHOLD} with all those of W."""
_SIMILARITY_LEGEND = f"""\
φ of the first k directions of d, and in brackets its mean for random ones; * is more than
{_DEVIATIONS} standard deviations of that mean away."""
_LORA_LEGEND = """\
A = Θ_A W and B = W Θ_Bᵀ, by least squares. What the three rows of a Θ have in common is due to the
W alone. A is as the file has it, with its random start, which hides what was learned of Θ_A."""
_HRA_LEGEND = """\
The columns of HRA's ΔW = W (H − I) lie in the column space of W, and if H has nothing to do with W
they tend to its large directions. So do not compare the outputs with chance."""


def base_weights(model, shapes, transposed):
    """({layer: its W (d_out, d_in)}, sentences on what was transposed or is missing).

    model: {name: array} of the base model. shapes: {layer: (d_out, d_in)}, d_out None if unknown.
    transposed: whether the model may keep Wᵀ, as the checkpoint's fan_in_fan_out says.

    One of the two names of a layer, in the checkpoint and in the model, may lack the beginning of
    the other, such as "model." or "bert.". Of several such names in the model the one counts that
    has most in common with the checkpoint's, if there is only one.

    Raises ValueError when no layer has a weight.
    """
    matrices = {layer_of(name): array for name, array in model.items() if np.ndim(array) == 2}
    found, missing = _same_layers(shapes, matrices)
    weights = {}
    count = 0
    for layer, name in found.items():
        W = matrices[name]
        if transposed and _fits(W.T, shapes[layer]):
            W = W.T
            count += 1
        if problem := _problem(W, shapes[layer]):
            missing[layer] = problem
        else:
            weights[layer] = W
    if not weights:
        layer, *_ = shapes
        some = ", ".join(list(model)[:3])
        why = missing[layer]
        raise ValueError(f"base must have the layers, such as {layer} ({why}); it has {some}, …")
    notes = []
    if count:
        layers = counted(count, "layer")
        notes.append(f"Transposed, because the model keeps Wᵀ (fan_in_fan_out): {layers}.")
    reasons = Counter((kind(layer), reason) for layer, reason in missing.items())
    for (kind_name, reason), times in reasons.items():
        notes.append(f"Not found in the base: {times} of {kind_name} ({reason}).")
    return weights, notes


def _problem(W, shape):
    """Why W does not fit an adapter of this shape, or cannot be measured; "" if it can."""
    if W.dtype.kind != "f":
        return f"{W.dtype}, which is not a float type"
    if not _fits(W, shape):
        return f"shape {W.shape}, but the adapter is for {shape}"
    if not np.max(np.abs(W)) < np.finfo(_plain(W).dtype).max / W.size**0.5:
        return "NaN or inf, or a norm that overflows"
    return ""


def _fits(W, shape):
    d_out, d_in = shape
    return W.shape == (len(W) if d_out is None else d_out, d_in)


def _same_layers(layers, names):
    """({layer: the name that means the same layer}, {layer: why there is none})."""
    backwards = sorted(name[::-1] for name in names)  # those with the same end are neighbours
    found = {}
    missing = {}
    for layer in layers:
        longer = f".{layer}"[::-1]
        first = bisect_left(backwards, longer)
        count = bisect_left(backwards, f"{longer[:-1]}/") - first  # "/" comes after "."
        whole = next((end for end in _ends(layer) if end in names), None)
        if whole == layer or (whole and not count):
            found[layer] = whole
        elif count == 1:
            found[layer] = backwards[first][::-1]
        else:
            missing[layer] = "more than one name fits" if count else "no such name"
    used = Counter(found.values())
    for layer in [layer for layer, name in found.items() if used[name] > 1]:
        missing[layer] = "its name fits more than one layer"
        del found[layer]
    return found, missing


def _ends(layer):
    """The name of a layer, and what is left of it without its beginnings, the longest first."""
    parts = layer.split(".")
    return (".".join(parts[i:]) for i in range(len(parts)))


def show_comparison(groups, weights, full, show):
    """Show how large the updates are beside W, and what their directions have to do with it.

    groups: {(kind, shape): layers}. weights: {name of a layer: W}. full: leave out nothing.
    """
    rows = [("beside W", "layers", "‖W‖", "‖ΔW‖ / ‖W‖", "largest", "intruders")]
    blocks = []
    skipped = []
    left = np.inf if full else _PATIENCE
    for (kind_name, (d_out, d_in)), group in groups.items():
        group = [layer for layer in group if layer.name in weights]
        if not group:
            continue
        row = _row_of_sizes(kind_name, group, weights)
        seconds = _SECONDS * len(group) * d_out * d_in * min(d_out, d_in)
        if seconds > left:
            work = f"{len(group)} × {d_out} × {d_in} take about {seconds / 60:.0f} minutes"
            skipped.append(f"Left out for {kind_name}: SVDs of {work}; --full does them.")
            rows.append((*row, "–"))
            continue
        left -= seconds
        similarities, intruders = _compare(kind_name, group, weights)
        rows.append((*row, intruders))
        if similarities:
            blocks.append(similarities)
    if len(rows) > 1:
        show(f"\n{table(rows)}\n{_LEGEND}")
    for block in blocks:
        show(f"\n{table(block)}")
    if blocks:
        lora = any(isinstance(layer.adapter, LoRA) for group in groups.values() for layer in group)
        show(f"{_SIMILARITY_LEGEND}\n{_LORA_LEGEND if lora else _HRA_LEGEND}")
    for note in skipped:
        show(printable(note))


def _row_of_sizes(name, group, weights):
    """The first cells of the table: name, count, mean ‖W‖, mean and largest ‖ΔW‖ / ‖W‖."""
    norms = [np.linalg.norm(weights[layer.name].astype(np.float64)) for layer in group]
    row = name, str(len(group)), f"{np.mean(norms):.4g}"
    if not all(norms):  # W = 0, of which nothing is a share
        return (*row, "–", "–")
    shares = [layer.norm / norm for layer, norm in zip(group, norms)]
    return (*row, *(f"{x:.2%}" if x < 1e4 else f"{x:.1e}" for x in (np.mean(shares), max(shares))))


def _compare(name, group, weights):
    """(rows of a table of similarities, the mean number of intruders as text) of one kind."""
    rng = np.random.default_rng(0)
    learned = [layer for layer in group if layer.norm > 0]
    alike = defaultdict(list)  # what is compared with W: pairs of matrices, for each layer
    across = defaultdict(list)  # what is compared between layers: one matrix for each
    intruders = []
    for i, layer in enumerate(learned):
        show_progress(f"{printable(name)}: layer {i + 1} of {len(learned)}")
        W = _plain(weights[layer.name])
        outputs, inputs = _first_directions(W)
        alike["W and ΔW, outputs"].append((outputs, narrow_product(layer.B, layer.A)))
        alike["W and ΔW, inputs"].append((inputs, narrow_product(layer.A.T, layer.B.T)))
        intruders.append(_count_intruders(W, layer))
        if isinstance(layer.adapter, LoRA):
            for label, M in _converted(rng, W, layer, learned[i - 1]):
                across[label].append(M)
    show_progress("", last=True)
    rows = [(f"{name}, φ", "d", *(f"k = {k}" for k in _DIRECTIONS))]
    for label, pairs in alike.items():
        cells = [_cell(_mean_of_pairs, pairs, k, len(pairs)) for k in _DIRECTIONS]
        rows.append((label, str(len(pairs[0][0])), *cells))
    for label, matrices in across.items() if len(learned) > 1 else ():
        count = len(learned) * (len(learned) - 1) // 2
        cells = [_cell(mean_similarity, matrices, k, count) for k in _DIRECTIONS]
        rows.append((label, str(len(matrices[0])), *cells))
    counts = [count for count in intruders if count is not None]
    return rows if learned else [], f"{np.mean(counts):.1f}" if counts else "–"


def _plain(W):
    """W in a dtype in which its norm does not overflow."""
    return W.astype(np.float32) if W.dtype == np.float16 else W


def _first_directions(W):
    """Two narrow matrices with the first singular vectors and values of W, left and right."""
    U, values, Vt = np.linalg.svd(W, full_matrices=False)
    most = _DIRECTIONS[-1] + 1  # one more, to see that the last one is no tie
    return U[:, :most] * values[:most], Vt[:most].T * values[:most]


def _count_intruders(W, layer):
    """How many of the first vectors of W' are intruders; None where they are not unique."""
    k = min(_FIRST, *W.shape)
    try:
        return len(intruder_dimensions(W, W + layer.B @ layer.A, k, _THRESHOLD))
    except ValueError:
        return None


def _converted(rng, W, layer, previous):
    """(label, matrix) of what may be alike in all layers, with the vectors in the columns.

    Conversion is linear in A and B, so those of two layers and random ones share a call.
    """
    r = len(layer.A)
    random_A = rng.standard_normal(layer.A.shape)
    random_B = rng.standard_normal(layer.B.shape)
    A = np.concatenate([layer.A, random_A, previous.A])
    B = np.concatenate([layer.B, random_B, previous.B], axis=1)
    theta_A, theta_B = conversion_matrices(W, A, B)
    yield "B of the layers", layer.B
    yield "Θ_B of the layers", theta_B[:r].T
    yield "… with the W of the next layer", theta_B[2 * r :].T
    yield "… of a random B", theta_B[r : 2 * r].T
    yield "A of the layers", layer.A.T
    yield "Θ_A of the layers", theta_A[:r].T
    yield "… with the W of the next one", theta_A[2 * r :].T
    yield "… of a random A", theta_A[r : 2 * r].T


def _mean_of_pairs(pairs, k):
    return np.mean([subspace_similarity(one, two, k, k) for one, two in pairs])


def _cell(similarity, matrices, k, count):
    """φ beside chance as text, with a mark where it is far; "–" where it is undefined."""
    first = matrices[0][0] if isinstance(matrices[0], tuple) else matrices[0]
    try:
        found = similarity(matrices, k)
        mean, deviation = random_similarity(len(first), k, k)
    except ValueError:
        return "–"
    far = abs(found - mean) > _DEVIATIONS * deviation / count**0.5
    return f"{'*' if far else ''}{found:.4f} ({mean:.4f})"
