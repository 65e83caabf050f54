"""Look into a LoRA or HRA checkpoint of PEFT: what every kind of layer has learned, and how much.

The singular values of an update ΔW = B A come from B and A, so no array of the size of W is made:
the adapter of a model with 7 billion parameters takes seconds. HRA's update is W (H − I), so of an
HRA checkpoint alone H − I is measured, and ΔW where the base model is given.
"""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from minilora.adapters import LoRA
from minilora.attachment import kind
from minilora.cli.arguments import UsageError, check_folder, folder
from minilora.cli.beside_base import base_weights, show_comparison
from minilora.cli.layers import (
    ROTATION_LEGEND,
    UPDATE_LEGEND,
    by_kind,
    measure,
    rotation_table,
    update_table,
)
from minilora.cli.output import counted, print_line, printable
from minilora.peft.checkpoint import adapters_of
from minilora.peft.files import open_checkpoint
from minilora.peft.safetensors import read_safetensors

_FAINT = 0.01  # of the median ‖ΔW‖ of its kind: a layer below that has learned next to nothing
_USUAL = (0.1, 10.0)  # the scale s is 1 by PEFT's defaults, and often set to 2
_LISTED = 6  # names in a list


def add_arguments(parser):
    """The checkpoint and the options of this command."""
    parser.add_argument(
        "folder", type=folder, metavar="FOLDER", help="with PEFT's adapter_config.json"
    )
    parser.add_argument(
        "--base",
        type=folder,
        metavar="PATH",
        help="the model below, a .safetensors file, a folder or an archive: compare ΔW with W; "
        "all of it is read into memory, bfloat16 as float32",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="with --base: also those singular value decompositions of W that take minutes or more",
    )
    parser.add_argument(
        "--plot", type=folder, metavar="FILE", help="draw the singular values into this .png file"
    )


def run(options):
    """Run the command; a figure that cannot be written is noticed before anything is read."""
    if options.plot is not None:
        if options.plot.suffix != ".png":
            raise UsageError(f"argument --plot: must end in .png, got {options.plot}")
        check_folder(options.plot.parent, [options.plot.name], argument="--plot")
    try:
        inspect_checkpoint(options.folder, options.base, options.plot, options.full)
    except ValueError as error:
        raise UsageError(printable(str(error))) from error


def inspect_checkpoint(path, base=None, plot=None, full=False, show=print_line):
    """Print what the adapters of a checkpoint of PEFT are like, and beside their base model.

    path: its folder. base: what `read_safetensors` takes for the model. plot: a PNG file for the
    singular values. full: do all SVDs of W, however long they take. show: called with each text to
    print.

    Returns {name of a layer: singular values of ΔW, or of H − I for HRA without its W}.

    Raises ValueError when files are missing or broken, or hold neither LoRA nor HRA.
    """
    config, arrays = open_checkpoint(path)
    adapters, others = adapters_of(config, arrays)
    weights, notes = {}, []
    if base is not None:
        transposed = bool(config.get("fan_in_fan_out"))
        weights, notes = base_weights(read_safetensors(base), _shapes(adapters), transposed)
    layers, broken = measure(adapters)
    show(printable(_headline(path, config, adapters)))
    updates = [layer for layer in layers if isinstance(layer.adapter, LoRA)]
    rotations = [layer for layer in layers if not isinstance(layer.adapter, LoRA)]
    if rotations:
        show(f"\n{rotation_table(rotations)}\n{ROTATION_LEGEND}")
        with_base = {layer.name: adapters[layer.name] for layer in rotations}
        updates += measure(with_base, weights)[0]
    if updates:
        show(f"\n{update_table(updates)}\n{UPDATE_LEGEND}")
    if weights:
        show_comparison(by_kind(updates), weights, full, show)
    notes = [*_findings(layers, broken), *notes, *_others(others)]
    show("\n" + "\n".join(map(printable, notes)))
    found = {layer.name: layer.values for layer in [*layers, *updates]}
    if plot is not None and not found:
        show("No figure: no layer could be measured.")
    elif plot is not None:
        Path(plot).parent.mkdir(parents=True, exist_ok=True)
        _plot(updates or rotations, Path(path).resolve().name, plot)
        show(f"wrote {plot}")
    return found


def _shapes(adapters):
    """{name of a layer: (d_out, d_in)}, with None for a d_out that HRA's U does not say."""
    shapes = {}
    for name, (_, params) in adapters.items():
        if "U" in params:
            shapes[name] = None, len(params["U"])
        else:
            shapes[name] = len(params["B"]), params["A"].shape[1]
    return shapes


def _headline(path, config, adapters):
    """What the checkpoint is, in a line."""
    version = config.get("peft_version")
    by = f" of PEFT {version}" if isinstance(version, str) else ""
    method = dict.fromkeys(type(adapter).__name__ for adapter, _ in adapters.values())
    count = sum(array.size for _, params in adapters.values() for array in params.values())
    layers = f"{counted(len(adapters), 'layer')}, {counted(count, 'trainable parameter')}"
    return f"{path}: {', '.join(method)}{by}, {layers}."


def _findings(layers, broken):
    """Sentences about layers that look wrong."""
    broken_of = defaultdict(list)
    for name in broken:
        broken_of[kind(name)].append(name)
    names_of = defaultdict(list)
    for group in by_kind(layers).values():
        median = np.median([layer.norm for layer in group])
        for layer in group:
            for problem in _problems(layer, median):
                names_of[problem].append(layer.name)
    sentences = [f"Broken: {_some(names)}: {broken[names[0]]}." for names in broken_of.values()]
    sentences += [f"{problem}: {_some(names)}." for problem, names in names_of.items()]
    return sentences or ["No layer is dead, no scale is unusual, no rank is above the sides of W."]


def _problems(layer, median):
    """What looks wrong with a layer, where the layers of its kind have this median ‖ΔW‖."""
    low, high = _USUAL
    scale = getattr(layer.adapter, "scale", 1.0)
    if layer.norm == 0:
        yield "Dead, ΔW = 0 as at the start"
    elif layer.norm < _FAINT * median:
        yield f"Dead, ‖ΔW‖ below {_FAINT:.0%} of the median of the kind"
    if not low <= scale <= high:
        yield f"Unusual scale s = {scale:g}, outside {low:g} to {high:g}"
    if layer.adapter.rank > min(layer.shape):
        yield f"Rank {layer.adapter.rank} above a side of W, more than any ΔW has"


def _others(arrays):
    """A sentence about what is trained beside the adapters: heads, biases."""
    if not arrays:
        return ["Nothing else is trained."]
    size = sum(array.size for array in arrays.values())
    counts = Counter(kind(name) for name in arrays)
    named = [name if count == 1 else f"{count} of {name}" for name, count in counts.items()]
    return [f"Trained whole, {counted(size, 'more parameter')}: {_some(named)}."]


def _some(names):
    """The first of some names, and how many there are."""
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _plot(layers, name, file):
    """Draw the singular values of every kind of layer."""
    from minilora.cli.plots import plot_spectra  # matplotlib is slow to import

    panels = {
        kind_name: [layer.values for layer in group]
        for (kind_name, _), group in by_kind(layers).items()
    }
    plot_spectra(panels, f"Singular values of the updates in {name}", file)
