"""The figures of the comparison on letters, as PNG files."""

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


def plot_accuracy(panels, baselines, file):
    """Accuracy against trainable parameters: a panel for each domain, a line for each family.

    panels: {title: [(family, trainable parameters, accuracy), …]}. baselines: {title: accuracy
    before adapting}. Returns the file.
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
