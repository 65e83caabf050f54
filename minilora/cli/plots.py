"""The figures of the commands, as PNG files."""

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

# Distinct for colour-blind readers too.
_CORRECT = "#1d4ed8"
_WRONG = "#c2410c"
_GREY = "#6b7280"
_STRIDE = 1.15  # from one image to the next, in widths of an image
_COLOURS = (
    "#111827",
    "#9ca3af",
    "#2563eb",
    "#d97706",
    "#7c3aed",
    "#0891b2",
    "#be185d",
    "#65a30d",
    "#b45309",
    "#475569",
)
_MARKERS = "sDo^vP*X<>"
_MOST_PANELS = 12


def plot_predictions(panels, method, file):
    """Images with the predicted letter before and after a method, in one colour where correct.

    panels: one row each, (title, images (n, size, size), labels, before, after); labels and
    predictions are n characters each. Returns the file.
    """
    columns = len(panels[0][1])
    size = (0.62 * columns + 1.5, 1.12 * len(panels) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(panels), squeeze=False)[:, 0]
    for axis, (title, images, labels, before, after) in zip(axes, panels):
        axis.set(xticks=[], yticks=[], frame_on=False)
        for column, (image, label, early, late) in enumerate(zip(images, labels, before, after)):
            left = _STRIDE * column
            axis.imshow(image, cmap="gray_r", extent=(left, left + 1, 0, 1))
            _write_below(axis, left + 0.5, "→", _GREY, size=10)
            _write_below(axis, left + 0.18, early, _CORRECT if early == label else _WRONG)
            _write_below(axis, left + 0.82, late, _CORRECT if late == label else _WRONG)
        axis.set(xlim=(0, _STRIDE * (columns - 1) + 1), ylim=(-0.45, 1))
        axis.set_ylabel(title, rotation=0, ha="right", va="center", size=11, labelpad=8)
    figure.suptitle(f"Prediction before → after {method} (blue: correct, orange: wrong)", size=11)
    return _save(figure, file)


def plot_accuracy(panels, baselines, file, error=0.0):
    """Accuracy against trainable parameters: a panel for each domain, a line for each family.

    panels: {title: [(family, trainable parameters, accuracy), …]}. baselines: {title: accuracy
    before adapting}. error: half the length of a bar at each point. Returns the file.
    """
    figure = Figure(figsize=(3.3 * len(panels) + 1.6, 4.2), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (title, points) in zip(axes, panels.items()):
        families = dict.fromkeys(family for family, _, _ in points)
        for family, colour, marker in zip(families, _COLOURS, _MARKERS):
            counts = [count for name, count, _ in points if name == family]
            percent = [100 * accuracy for name, _, accuracy in points if name == family]
            axis.plot(
                counts, percent, marker=marker, color=colour, label=family, markersize=8, alpha=0.85
            )
            if error:
                axis.errorbar(counts, percent, 100 * error, fmt="none", ecolor=colour, alpha=0.5)
        axis.set(
            title=f"{title} (before adapting: {baselines[title]:.0%})",
            xscale="log",
            xlabel="trainable parameters",
        )
        axis.title.set_size(11)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("accuracy (%)")
    handles, families = axes[0].get_legend_handles_labels()
    figure.legend(handles, families, loc="outside right center", frameon=False)
    return _save(figure, file)


def plot_spectra(panels, title, file):
    """The singular values of several kinds of layers: a panel for each, a line for each layer.

    panels: {kind: [singular values of one layer, …]}, the first layer dark, the last one bright; no
    more than 12 kinds are drawn. Values below 1e-7 of the largest are rounding, and left out.
    Returns the file.
    """
    largest = max(max(values, default=0) for spectra in panels.values() for values in spectra)
    shown = list(panels.items())[:_MOST_PANELS]
    columns = min(len(shown), 4)
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(3.4 * columns + 0.6, 2.9 * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axis in grid.flat[len(shown) :]:
        axis.set_axis_off()
    for axis, (name, spectra) in zip(grid.flat, shown):
        colours = colormaps["viridis"](np.linspace(0, 0.9, len(spectra)))
        for values, colour in zip(spectra, colours):
            places = np.flatnonzero(values > 1e-7 * largest)
            axis.plot(places + 1, values[places], ".-", color=colour, lw=1, ms=4)
        axis.set(yscale="log", xlabel="i")
        axis.set_title(_folded(name), size=9, parse_math=False)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in grid[:, 0]:
        axis.set_ylabel("σᵢ")
    others = len(panels) - len(shown)
    note = f"; {others} more kinds are not shown" if others else ""
    legend = f"(a line a layer, from the first, dark, to the last{note})"
    figure.suptitle(f"{title}\n{legend}", size=10, parse_math=False)
    return _save(figure, file)


def _folded(name):
    """A long dotted name in lines of at most about 34 characters."""
    lines = [""]
    for part in name.split("."):
        if lines[-1] and len(lines[-1]) + len(part) > 33:
            lines.append("")
        lines[-1] += f"{part}."
    return "\n".join(lines)[:-1]


def _write_below(axis, x, text, colour, size=13):
    """Text below the images of a row, centred at x."""
    axis.text(x, -0.25, text, color=colour, size=size, va="center_baseline", ha="center")


def _save(figure, file):
    """Write a figure as a PNG file, which names no version of matplotlib; returns the file."""
    try:
        figure.savefig(file, dpi=110, metadata={"Software": None})
    except OSError as error:  # a full disk does not say which file it was
        raise OSError(error.errno, error.strerror, str(file)) from error
    return file
