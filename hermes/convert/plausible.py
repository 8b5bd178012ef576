"""What can hardly be: grey values that no image of a modality has, one spacing where it varies.

What the check of a card, the converter and the quality report say of it is decided here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

HIGHEST_SUV = 500.0
"""ASSUME: standardised uptake values stay below: a bladder may reach 100, a vein that was injected
more. The highest of an image in Bq/ml is tens of thousands."""

AIR_HU = -900.0
"""Hounsfield units: an image with values below it has air in it (-1000)."""

NARROW = 30.0
"""ASSUME: CT with fewer units between its darkest and brightest voxel was rescaled."""

ENOUGH_CASES = 5
"""ASSUME: cases of one spacing below which a small subset may have it by chance."""

ALIKE = 1e-3
"""ASSUME: relative difference below which two spacings are one; headers round."""


@dataclass(frozen=True)
class Oddity:
    """What is odd about an image's values, and what to do."""

    what: str
    change: str


RESCALED = Oddity(
    "values look rescaled (0 to 1, or z-scores), but the study's window is in Hounsfield units",
    "use the scans as the scanner wrote them, or give the card an `intensity` of its own",
)
PICTURES = Oddity(
    "values are 0 to 255 at most: pictures of a window, not Hounsfield units?",
    "use the original scans, or give the card an `intensity` of its own",
)
OFFSET = Oddity(
    "no value is negative, but air has -1000 Hounsfield units: an offset left in, or no CT?",
    "subtract the offset (often 1024) from the files, or correct `modality`",
)
NOT_SUV = Oddity(
    f"values above {HIGHEST_SUV:g} are no standardised uptake values: Bq/ml?",
    "point the pattern to the SUV images",
)
IS_CT = Oddity(f"values below {AIR_HU:g}: Hounsfield units of air?", "correct `modality`")


def implausible(modality: str, low: float, high: float) -> Oddity | None:
    """Return what is odd about an image's range of values, None where nothing is."""
    if modality == "ct":
        if high - low <= NARROW:
            return RESCALED
        if low >= 0:
            return PICTURES if high <= 255 else OFFSET
        return None
    if modality == "pet" and high > HIGHEST_SUV:
        return NOT_SUV
    return IS_CT if modality != "unknown" and low < AIR_HU else None


def one_spacing(spacings_mm: Sequence[Sequence[float | int]]) -> str:
    """Say that cases whose spacing should vary all have one, or "" where nothing is odd.

    Args:
        spacings_mm: of every case, along z y x.
    """
    if len(spacings_mm) < ENOUGH_CASES:
        return ""
    values = np.array(spacings_mm, float)  # [case, z y x]
    if (np.ptp(values, axis=0) > ALIKE * values.mean(axis=0)).any():
        return ""
    spacing = " ".join(f"{mm:.4g}" for mm in values[0])
    return (
        f"all {len(values)} cases have the spacing {spacing} mm (z y x), but the published scans "
        "differ: this is a resampled copy, on which results compare with nothing; fetch the "
        "original files"
    )
