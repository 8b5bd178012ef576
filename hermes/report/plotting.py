"""Figures that have the same bytes whenever and wherever they are drawn, as SVG and as PNG."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hermes.files.atomic import writing

INK, ACCENT, PALE = "#2f5573", "#b0581f", "#c9d3db"
"""Colours of the quality page, so that the pages of a study look alike."""

STYLE = {
    "svg.hashsalt": "hermes",  # names inside an SVG are random otherwise
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888",
    "xtick.color": "#555",
    "ytick.color": "#555",
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.frameon": False,
}

DPI = 130


@contextmanager
def styled() -> Iterator[None]:
    """Figures drawn and saved within have the study's look."""
    with style.context(STYLE):
        yield


def save(figure: Figure, paths: Sequence[str | Path]) -> None:
    """Write a figure to files, whose endings say their format, and close it."""
    for path in paths:
        dated = {"Date": None} if Path(path).suffix == ".svg" else {"Software": None}
        with writing(path) as aside:
            figure.savefig(aside, dpi=DPI, metadata=dated)
    plt.close(figure)


def panels(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of small panels that share their axes, `width` x `height` inches each.

    Panels that are left over in the last row are removed, and the ones above them get ticks.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(max(6.0, width * columns), height * rows + 0.9),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    axes = list(grid.flat)
    for number, axis in enumerate(axes[count:], start=count):
        axis.remove()
        axes[number - columns].tick_params(labelbottom=True)
    return figure, axes[:count]
