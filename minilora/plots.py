"""The figures of the tour, as PNG files. Nothing here is imported before a figure is made."""

from matplotlib.figure import Figure

RIGHT, WRONG, GREY = "#1a7f4b", "#c2410c", "#6b7280"
COLOURS = ("#111827", "#9ca3af", "#2563eb", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#65a30d", "#b45309", "#475569")
MARKERS = "sDo^vP*X<>"


def save(figure, file):
    """Write the figure as a PNG file, which names no version of matplotlib, and return the file."""
    figure.savefig(file, dpi=110, metadata={"Software": None})
    return file


def plot_readings(panels, method, file):
    """Pictures with what a model read in them before and after a method: green where it was right, orange where not.

    panels: one row each, (title, images (n, size, size), truths, before, after), the last three n characters.
    """
    columns = len(panels[0][1])
    figure = Figure(figsize=(0.62 * columns + 1.5, 1.12 * len(panels) + 0.5), layout="constrained")
    for row, (title, *pictures) in zip(figure.subplots(len(panels), columns, squeeze=False), panels):
        for axis, image, truth, early, late in zip(row, *pictures):
            axis.imshow(image, cmap="gray_r")
            axis.set(xticks=[], yticks=[], frame_on=False)
            axis.text(0.5, -0.12, "→", color=GREY, va="top", ha="center", transform=axis.transAxes, size=10)
            for place, read in ((0.2, early), (0.8, late)):
                colour = RIGHT if read == truth else WRONG
                axis.text(place, -0.1, read, color=colour, va="top", ha="center", transform=axis.transAxes, size=13)
        row[0].set_ylabel(title, rotation=0, ha="right", va="center", size=11, labelpad=8)
    figure.suptitle(f"What the network reads in each letter, before → after {method}: green is right", size=11)
    return save(figure, file)


def plot_accuracy(panels, baselines, file):
    """Accuracy against trained numbers, a panel for each domain, a line for each family of methods.

    panels: {title: [(family, trained numbers, accuracy), …]}. baselines: {title: accuracy without adapting}.
    """
    figure = Figure(figsize=(3.3 * len(panels) + 1.6, 4.2), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (title, points) in zip(axes, panels.items()):
        for family, colour, marker in zip(dict.fromkeys(name for name, _, _ in points), COLOURS, MARKERS):
            trained, reached = zip(*[(n, 100 * share) for name, n, share in points if name == family])
            axis.plot(trained, reached, marker=marker, color=colour, label=family, markersize=8, alpha=0.85)
        axis.set(title=f"{title}, before: {baselines[title]:.0%}", xscale="log", xlabel="trained numbers")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("letters read rightly (%)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return save(figure, file)
