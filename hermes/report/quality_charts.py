"""Small charts of the quality page, as SVG text that stands inside of the page.

A thousand scans are a thousand dots of one path, so that a page of thirteen datasets stays small.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from hermes.quality.finding import figure
from hermes.quality.measurements import histogram

Number = float | int

DOT = "#2f5573"
SERIES = ("#2f5573", "#b0581f", "#4d7c4d", "#7d4f8c")
GOLDEN = 0.618034
"""Successive multiples, modulo one, spread dots evenly: a jitter without chance."""

BINS = 90
CT_RANGE = (-1050.0, 800.0)
"""HU shown of a CT; bone and metal beyond."""

LEAST_DECADES = 0.8
"""Of a logarithmic axis, so that the finest of `DIVISIONS` gives `LEAST_TICKS`."""

LEAST_TICKS = 3
DIVISIONS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))
"""Of a decade, from coarse to fine."""

CUT = "#6b8499"
"""Dots of structures that the field of view cuts."""

FEW, FEW_SIZE, MANY_SIZE = 30, 6.0, 3.5
"""Dots up to which they are large, and both diameters in pixels."""

STRIP_WIDTH, STRIP_HEIGHT = 380, 18


def svg(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    """An SVG with a text for those who do not see it."""
    body = "".join(parts)
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
        f'aria-label="{escape(title)}">{body}</svg>'
    )


def text(x: Number, y: Number, words: str, anchor: str = "start", colour: str = "#555") -> str:
    """A label of a chart."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="11">'
        f"{escape(words)}</text>"
    )


def dots(points: Iterable[tuple[Number, Number]], colour: str) -> str:
    """Dots as one path of strokes without length; larger where there are few."""
    places = list(points)
    size = FEW_SIZE if len(places) <= FEW else MANY_SIZE
    path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)
    if not path:
        return ""
    return (
        f'<path d="{path}" stroke="{colour}" stroke-width="{size:g}" stroke-linecap="round" '
        'stroke-opacity="0.8" fill="none"/>'
    )


class LogScale:
    """Positions on a logarithmic axis."""

    def __init__(self, values: Iterable[Number], left: Number, right: Number) -> None:
        known = [value for value in values if value > 0] or [1.0]
        low, high = math.log10(min(known)), math.log10(max(known))
        spare = max(0.04 * (high - low), (LEAST_DECADES - (high - low)) / 2)
        self.low, self.high, self.left, self.right = low - spare, high + spare, left, right

    def __call__(self, value: Number) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.left + share * (self.right - self.left)

    def ticks(self) -> list[float]:
        """Round values inside the axis, three at least: decades, and between them if need be."""
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        found: list[float] = []
        for steps in DIVISIONS:
            values = [step * 10.0**decade for decade in decades for step in steps]
            found = [v for v in values if self.low <= math.log10(v) <= self.high]
            if len(found) >= LEAST_TICKS:
                break
        return found


def axis_chart(values: Sequence[Sequence[Number]], unit: str, title: str) -> str:
    """Dots of a quantity along z, y and x, one per scan, on a logarithmic axis.

    Args:
        values: per scan, along z y x.
        unit: of the quantity.
        title: what is shown.
    """
    scale = LogScale([value for row in values for value in row], 26.0, 362.0)
    parts = [_ticks(scale, 14, 82, 96)]
    for row, letter in enumerate("zyx"):
        middle = 24 + 24 * row
        parts.append(text(6, middle + 4, letter))
        along = [each[row] for each in values]
        jitter = [(index * GOLDEN % 1 - 0.5) * 14 for index in range(len(along))]
        parts.append(
            dots(((scale(v), middle + j) for v, j in zip(along, jitter, strict=True)), DOT)
        )
        median = float(np.median(along))
        parts.append(_line(scale(median), middle - 9, scale(median), middle + 9, "#111", 1.5))
    spans = [f"{letter} {_range([each[i] for each in values])}" for i, letter in enumerate("zyx")]
    return svg(370, 100, f"{title}: {', '.join(spans)} {unit}", parts)


def _range(values: Sequence[Number]) -> str:
    return f"{min(values):.4g} to {max(values):.4g}"


def _line(x1: Number, y1: Number, x2: Number, y2: Number, colour: str, width: Number = 1.0) -> str:
    return (
        f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width:g}" fill="none"/>'
    )


def _ticks(scale: LogScale, top: int, bottom: int, label: int) -> str:
    lines = [_line(scale(v), top, scale(v), bottom, "#e2e2e2") for v in scale.ticks()]
    return "".join(lines + [text(scale(v), label, f"{v:,g}", "middle") for v in scale.ticks()])


def grey_chart(quantiles: Mapping[str, Sequence[Sequence[Number]]]) -> str:
    """Distribution of grey values per modality: the median over scans, and the middle 90 per cent.

    Args:
        quantiles: modality -> per scan, grey values at the levels that are measured.
    """
    low, high = _grey_range(quantiles)
    edges = np.linspace(low, high, BINS + 1)
    shares = {name: [histogram(each, edges) for each in rows] for name, rows in quantiles.items()}
    bands = {name: np.percentile(rows, (5, 50, 95), axis=0) for name, rows in shares.items()}
    top = max(float(band.max()) for band in bands.values()) or 1.0
    x = np.linspace(8, 362, BINS)

    def height(share: np.ndarray) -> np.ndarray:
        return 78 - 70 * np.sqrt(share / top)

    parts = [_line(8, 78, 362, 78, "#999")]
    for (name, band), colour in zip(bands.items(), SERIES * 2, strict=False):
        lower, middle, upper = (np.stack([x, height(each)], axis=1) for each in band)
        outline = _points(np.concatenate([upper, lower[::-1]]))
        parts.append(f'<path d="{outline}Z" fill="{colour}" fill-opacity="0.18"/>')
        parts.append(
            f'<path d="{_points(middle)}" stroke="{colour}" stroke-width="1.4" fill="none"/>'
        )
        if len(bands) > 1:
            parts.append(text(358, 14 + 13 * list(bands).index(name), name.upper(), "end", colour))
    for value in round_values(low, high):
        place = 8 + 354 * (value - low) / (high - low)
        anchor = "start" if place < 20 else "end" if place > 350 else "middle"
        parts += [_line(place, 78, place, 82, "#999"), text(place, 93, figure(value), anchor)]
    return svg(370, 98, f"Distribution of grey values from {figure(low)} to {figure(high)}", parts)


def round_values(low: float, high: float) -> list[float]:
    """Three to six round values between two: multiples of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(high - low))
    steps = [part * power / 10 for part in (50, 20, 10, 5, 2)]
    for step in steps:
        first, last = math.ceil(low / step), math.floor(high / step)
        if last - first + 1 >= LEAST_TICKS:
            break
    return [number * step for number in range(first, last + 1)]


def _grey_range(quantiles: Mapping[str, Sequence[Sequence[Number]]]) -> tuple[float, float]:
    if set(quantiles) == {"ct"}:
        return CT_RANGE
    rows = np.array([row for rows in quantiles.values() for row in rows])
    low, high = float(rows[:, 1].min()), float(np.percentile(rows[:, -3], 90))
    return low, max(high, low + 1e-6)


def _points(points: np.ndarray) -> str:
    return "M" + "L".join(f"{x:.0f} {y:.1f}" for x, y in points)


def volume_scale(volumes: Iterable[Number]) -> LogScale:
    """The axis that all structures of a dataset share."""
    return LogScale(volumes, 4.0, STRIP_WIDTH - 4.0)


def volume_axis(scale: LogScale) -> str:
    """The axis above the strips."""
    ends = {True: "end", False: "middle"}
    parts = [
        text(scale(v), 11, f"{v:,g}", ends[scale(v) > STRIP_WIDTH - 16]) for v in scale.ticks()
    ]
    return svg(STRIP_WIDTH, 14, "Volume in ml, logarithmic", parts)


def volume_strip(
    scale: LogScale,
    whole: Sequence[Number],
    cut: Sequence[Number],
    flagged: Mapping[str, Number],
    bounds: tuple[Number, Number] | None,
    median_ml: Number,
) -> str:
    """Volumes of one structure: a dot per scan, paler where the field of view cuts it.

    Args:
        scale: of `volume_scale`.
        whole, cut: volumes in ml.
        flagged: case -> volume, of those in doubt.
        bounds: what adults have, a grey bar.
        median_ml: a black line.
    """
    middle = STRIP_HEIGHT / 2
    parts = [_line(scale(v), 0, scale(v), STRIP_HEIGHT, "#e9e9e9") for v in scale.ticks()]
    if bounds:
        left, right = (min(max(scale(b), 0), STRIP_WIDTH) for b in bounds)
        width = max(right - left, 0)
        parts.append(f'<rect x="{left:.1f}" y="5" width="{width:.1f}" height="8" fill="#e3e8ec"/>')
    for volumes, colour in ((cut, CUT), (whole, DOT)):
        jitter = [(index * GOLDEN % 1 - 0.5) * 8 for index in range(len(volumes))]
        places = zip(volumes, jitter, strict=True)
        parts.append(dots([(scale(v), middle + j) for v, j in places], colour))
    parts.append(_line(scale(median_ml), 2, scale(median_ml), STRIP_HEIGHT - 2, "#111", 1.5))
    for case, volume in flagged.items():
        parts.append(
            f'<circle cx="{scale(volume):.1f}" cy="{middle:g}" r="4.5" fill="none" '
            f'stroke="#b3261e" stroke-width="2"><title>{escape(case)}</title></circle>'
        )
    label = f"{len(whole) + len(cut)} scans, median {figure(median_ml)} ml"
    return svg(STRIP_WIDTH, STRIP_HEIGHT, label, parts)
