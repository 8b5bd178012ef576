"""The figure of a table of Dice: every model with its interval, a panel per column."""

import logging
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hermes.report.metrics import MetricsError, read_cells
from hermes.report.plotting import ACCENT, INK, panels, save, styled

logger = logging.getLogger(__name__)

COLUMNS = 4
"""Panels side by side."""

Cell = tuple[float, float, float]
"""Dice, and the ends of its interval, in per cent."""


def run(
    *,
    intervals: str | Path,
    title: str,
    columns: Sequence[Sequence[str]],
    label: str,
    svg: str | Path,
    png: str | Path,
) -> None:
    """Draw a table of Dice.

    Args:
        intervals: `<table>_intervals.csv` of `hermes.report.tables`.
        title: of the table.
        columns: key and title of those that are drawn, in the order of the panels.
        label: what the study's numbers are, printed above.
        svg, png: files to write.

    Raises:
        MetricsError: the file is not the intervals of a table, or holds none of the columns.
    """
    cells: dict[str, dict[str, Cell]] = {key: {} for key, _ in columns}
    for row in read_cells(intervals):
        if row["column"] in cells:
            numbers = float(row["dice"]), float(row["low"]), float(row["high"])
            cells[row["column"]][row["model"]] = numbers
    if not any(cells.values()):
        raise MetricsError(f"{intervals}: no cell of {', '.join(cells)}; build the table again")
    titles = {key: name for key, name in columns if cells[key]}
    with styled():
        save(draw({titles[key]: cells[key] for key in titles}, title, label), [svg, png])
    logger.info("%s: %d panels", title, len(titles))


def draw(cells: dict[str, dict[str, Cell]], title: str, label: str) -> Figure:
    """A panel per column: column -> model -> Dice and interval. Models are in the table's order."""
    models = list(dict.fromkeys(model for column in cells.values() for model in column))
    height = 0.5 + 0.19 * len(models)
    figure, axes = panels(len(cells), COLUMNS, width=2.5, height=height)
    for axis, (name, column) in zip(axes, cells.items(), strict=True):
        _panel(axis, name, column, models)
    lows, highs = zip(*(cell[1:] for column in cells.values() for cell in column.values()),
                      strict=True)  # fmt: skip
    axes[0].set_xlim(max(0.0, min(lows) - 3), min(100.0, max(highs) + 3))
    axes[0].set_ylim(len(models) - 0.5, -0.5)
    axes[0].set_yticks(range(len(models)), models)
    figure.suptitle(f"{title}\n{label}", fontsize=9)
    told = "Dice in per cent, with the 95 % interval over test patients; orange: highest of a panel"
    figure.supxlabel(told, fontsize=8)
    return figure


def _panel(axis: Axes, name: str, column: dict[str, Cell], models: Sequence[str]) -> None:
    best = max(cell[0] for cell in column.values())
    axis.grid(axis="x", color="#e6e6e6", lw=0.7)
    axis.set_axisbelow(True)
    for place, model in enumerate(models):
        if model in column:
            dice, low, high = column[model]
            colour = ACCENT if dice == best and len(column) > 1 else INK
            axis.plot([low, high], [place, place], color=colour, lw=1.6, solid_capstyle="butt")
            axis.plot([dice], [place], color=colour, marker="o", ms=5)
    axis.tick_params(axis="y", length=0)
    axis.set_title(name, loc="left", fontweight="bold")
