"""Three small slices of a scan with its reference on it, as a radiologist reads them.

The patient's right is on the left of the picture, the front on top (axial) or left (sagittal), the
head on top (coronal and sagittal). The sides that the header says are written on the slices: a
liver under the letter L is a mirrored scan.
"""

import base64
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Real, UInt8
from PIL import Image, ImageColor, ImageDraw, ImageFont

from hermes.files.volume import Volume
from hermes.quality.measurements import PERCENTILES, CaseMeasured

PANEL = 232
"""Pixels of the square that a slice is fitted into."""

GAP = 10
"""White pixels between the slices."""

LEAST = 64
"""Pixels of the shorter side; a thinner slab is stretched to it, and the picture says so."""

OPACITY = 0.12
"""Of the reference's areas, so that the image is seen through them; their edges are opaque."""

SHADE = 0.4
"""Brightness left of the image just outside of an edge."""

CT_WINDOW = (-160.0, 240.0)
"""Soft tissue, in HU."""

LUNG_WINDOW = (-1350.0, 150.0)
"""Level -600, width 1500 HU: the usual one for lungs."""

AERATED = frozenset({"left_lung", "right_lung", "lung_tumor", "trachea"})
"""Structures that the window of soft tissue shows black or without their surroundings."""

QUALITY = 82
"""Of the JPEG."""

SIDES = (("A", "P", "R", "L"), ("S", "I", "R", "L"), ("S", "I", "A", "P"))
"""Letters on the top, bottom, left and right edge of the axial, coronal and sagittal slice."""


def draw(
    scan: Volume, label: UInt8[np.ndarray, "z y x"] | None, case: CaseMeasured, colours: list[str]
) -> str:
    """Draw the planes that show most of the reference: axial, coronal, sagittal, side by side.

    Args:
        scan: canonical image.
        label: its reference.
        case: its measurements: which planes, and the grey values' spread.
        colours: "#rrggbb" by canonical value, from 1.

    Returns:
        A JPEG as a data address.
    """
    window = _window(case)
    sheet = Image.new("RGB", (3 * PANEL + 2 * GAP, PANEL), "white")
    for axis, index in enumerate(case.slices):
        spacing = [mm for place, mm in enumerate(scan.spacing_mm) if place != axis]
        grey = _grey(_cut(scan.array, axis, index), window, inverted=case.modality == "pet")
        values = None if label is None else _cut(label, axis, index)
        panel = _panel(grey, values, spacing, colours)
        _mark(panel, SIDES[axis])
        sheet.paste(panel, (axis * (PANEL + GAP), 0))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def shown_values(label: UInt8[np.ndarray, "z y x"] | None, case: CaseMeasured) -> list[int]:
    """Canonical values that the drawn planes show, ascending."""
    if label is None:
        return []
    planes = (_cut(label, axis, index).ravel() for axis, index in enumerate(case.slices))
    return [int(value) for value in np.unique(np.concatenate(list(planes))) if value]


def _window(case: CaseMeasured) -> tuple[float, float]:
    """Grey values from black to white."""
    if case.modality != "ct":
        return _spread(case)
    return LUNG_WINDOW if AERATED & set(case.structures) else CT_WINDOW


def _spread(case: CaseMeasured) -> tuple[float, float]:
    """A window by percentiles, wide enough not to be empty."""
    low, high = case.quantiles[PERCENTILES.index(1)], case.quantiles[PERCENTILES.index(99.5)]
    return low, max(high, low + 1e-6)


def _cut(array: np.ndarray, axis: int, index: int) -> np.ndarray:
    """A plane [row, column]; the head is on top, so z is turned over."""
    plane = np.take(array, index, axis=axis)
    return plane if axis == 0 else plane[::-1]


def _grey(
    plane: Real[np.ndarray, "r c"], window: tuple[float, float], inverted: bool
) -> UInt8[np.ndarray, "r c"]:
    """Grey values as 0-255; a PET is shown black on white, as it is read."""
    low, high = window
    share = np.clip((plane.astype(np.float32) - low) / (high - low), 0, 1)
    return ((1 - share if inverted else share) * 255).astype(np.uint8)


def _panel(
    grey: UInt8[np.ndarray, "r c"],
    values: UInt8[np.ndarray, "r c"] | None,
    spacing_mm: Sequence[float],
    colours: list[str],
) -> Image.Image:
    """One slice with square millimetres, unless it is a thin slab, in a black square."""
    height, width = (n * mm for n, mm in zip(grey.shape, spacing_mm, strict=True))
    scale = PANEL / max(height, width)
    true = width * scale, height * scale
    size = max(LEAST, round(true[0])), max(LEAST, round(true[1]))
    picture = Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    if values is not None:
        enlarged = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.NEAREST))
        picture = Image.fromarray(_overlay(np.asarray(picture), enlarged, colours))
    panel = Image.new("RGB", (PANEL, PANEL))
    panel.paste(picture, ((PANEL - size[0]) // 2, (PANEL - size[1]) // 2))
    if min(true) < LEAST - 1:
        text = f"thickness drawn {LEAST / min(true):.2g} times"
        ImageDraw.Draw(panel).text((4, PANEL - 30), text, "#ddd", ImageFont.load_default(11))
    return panel


def _overlay(
    picture: UInt8[np.ndarray, "r c 3"], values: UInt8[np.ndarray, "r c"], colours: list[str]
) -> UInt8[np.ndarray, "r c 3"]:
    """Paint the reference: areas faint, edges full and shaded outside, to be seen on any grey."""
    table = np.array([(0, 0, 0), *map(ImageColor.getrgb, colours)], np.float32)
    inner = np.pad(values, 1, mode="edge")
    neighbours = (inner[:-2, 1:-1], inner[2:, 1:-1], inner[1:-1, :-2], inner[1:-1, 2:])
    edge = np.any([values != other for other in neighbours], axis=0)
    share = np.where(values > 0, np.where(edge, 1.0, OPACITY), 0.0)[..., None]
    shade = np.where(edge & (values == 0), SHADE, 1.0)[..., None]
    return (picture * shade * (1 - share) + table[values] * share).astype(np.uint8)


def _mark(panel: Image.Image, letters: tuple[str, str, str, str]) -> None:
    """Write the patient's sides on the edges."""
    pen, font = ImageDraw.Draw(panel), ImageFont.load_default(13)
    middle, far = PANEL // 2, PANEL - 3
    places = ((middle, 2, "mt"), (middle, far, "mb"), (3, middle, "lm"), (far, middle, "rm"))
    for letter, (x, y, anchor) in zip(letters, places, strict=True):
        pen.text((x, y), letter, fill="white", font=font, anchor=anchor, stroke_width=2,
                 stroke_fill="black")  # fmt: skip
