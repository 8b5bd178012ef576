"""The figure of all trainings of a study: loss and learning rate, a small panel per run."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hermes.files.tables import read_tsv
from hermes.report.plotting import ACCENT, INK, PALE, panels, save, styled

logger = logging.getLogger(__name__)

COLUMNS = 6
"""Panels side by side: thirty fill a page."""

ASTRAY = 3.0
"""Times the median over runs that the axis of losses reaches at most."""

LR_SHARE = 0.3
"""Of a panel's height that the peak of the learning rate takes."""

SHOWN = ("epoch", "learning_rate", "loss", "val_loss")

Curve = dict[str, np.ndarray]
"""Column of `SHOWN` -> values by epoch."""


class CurveError(ValueError):
    """A file of metrics has no epoch or lacks a column; the message names it."""


def run(
    *,
    runs: Sequence[str],
    metrics: Sequence[str | Path],
    label: str,
    svg: str | Path,
    png: str | Path,
) -> None:
    """Draw the curves of runs that are over.

    Args:
        runs: their names, in the order of the panels.
        metrics: the `metrics.tsv` of each.
        label: what the study's numbers are, printed above.
        svg, png: files to write.

    Raises:
        CurveError: a file of metrics has no epoch or lacks a column.
    """
    curves = {name: read_curve(path) for name, path in zip(runs, metrics, strict=True)}
    with styled():
        save(draw(curves, label), [svg, png])
    logger.info("%d trainings", len(curves))


def read_curve(path: str | Path) -> Curve:
    """What is drawn of a file of metrics, whether the training is over or not.

    Raises:
        CurveError: it has no epoch or lacks a column.
    """
    rows = read_tsv(path)
    if not rows:
        raise CurveError(f"{path}: no epoch is over yet, so there is no curve to draw")
    if missing := [key for key in SHOWN if key not in rows[0]]:
        raise CurveError(f"{path}: no column {', '.join(missing)}; train the run again")
    return {key: np.array([float(row[key]) for row in rows]) for key in SHOWN}


def draw(curves: Mapping[str, Curve], label: str) -> Figure:
    """A panel per run; losses share an axis, and each learning rate fills a part of its panel."""
    figure, axes = panels(len(curves), COLUMNS, width=2.1, height=1.55)
    lowest, highest = loss_range(curves)
    for axis, (name, curve) in zip(axes, curves.items(), strict=True):
        _panel(axis, name, curve, divisor(curve, highest))
    axes[0].set_ylim(lowest, highest)
    axes[0].set_xticks([0, 0.5, 1], ["0", "50", "100 %"])
    _legend(figure, curves)
    figure.suptitle(f"Loss over the course of each training\n{label}", fontsize=9)
    return figure


def divisor(curve: Curve, highest: float) -> int:
    """The power of ten that brings losses onto the axis which all lie above it; else 1.

    A method's loss may be a sum where the others' are means.
    """
    losses = curve["loss"][np.isfinite(curve["loss"])]
    if not losses.size or losses.min() <= highest:
        return 1
    return int(10 ** np.ceil(np.log10(losses.max() / highest)))


def _panel(axis: Axes, name: str, curve: Curve, by: int) -> None:
    epochs, peak = curve["epoch"], float(curve["learning_rate"].max())
    done = epochs / epochs[-1]
    share = curve["learning_rate"] / (peak or 1.0)
    below = axis.get_xaxis_transform()  # x of the data, y of the panel
    axis.fill_between(done, 0, LR_SHARE * share, color=PALE, lw=0, transform=below)
    axis.plot(done, curve["val_loss"] / by, color=ACCENT, lw=1.0, ls="--", marker=".", ms=3)
    axis.plot(done, curve["loss"] / by, color=INK, lw=1.4, marker=".", ms=3)
    axis.set_title(name, loc="left")
    told = f"{epochs[-1]:.0f} epochs, lr {peak:.2g}" + (f", loss / {by}" if by > 1 else "")
    corner = axis.transAxes
    axis.text(1, 0.98, told, fontsize=6, color="#666", ha="right", va="top", transform=corner)


def loss_range(curves: Mapping[str, Curve]) -> tuple[float, float]:
    """From 0 to the largest loss of any run; one that went astray does not flatten the others."""
    values = [np.concatenate([c["loss"], c["val_loss"]]) for c in curves.values()]
    peaks = [float(v[np.isfinite(v)].max()) for v in values if np.isfinite(v).any()]
    if not peaks:
        return 0.0, 1.0
    return 0.0, 1.08 * min(max(peaks), ASTRAY * float(np.median(peaks)))


def _legend(figure: Figure, curves: Mapping[str, Curve]) -> None:
    validated = any(np.isfinite(curve["val_loss"]).any() for curve in curves.values())
    lines: list[Artist] = [
        Line2D([], [], color=INK, lw=1.4, marker=".", ms=3, label="training loss"),
        *(
            [Line2D([], [], color=ACCENT, ls="--", marker=".", ms=3, label="validation loss")]
            if validated
            else []
        ),
        Patch(color=PALE, label="learning rate, share of its peak"),
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), fontsize=8)
