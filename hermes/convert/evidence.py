"""What the content of cases says of their geometry, where headers are wrong or say nothing.

Nothing here changes a case: what speaks against one becomes a warning in `cases.tsv`.
"""

from collections.abc import Mapping, Sequence
from math import ceil, sqrt

import numpy as np
from jaxtyping import Real, UInt8

from hermes.schema import Card

EXCHANGED = ("head and foot", "front and back", "left and right")
"""What a flip of a canonical array's axes z, y, x exchanges in the patient."""

CLEARLY = 0.8
"""ASSUME: a mirrored reference fits clearly better below this share of the misfit. Of 30 phantom
MR series and two real scans, none fits less than 1.4 times worse once it is wrongly mirrored."""

ENOUGH_VOXELS = 8e6
"""ASSUME: voxels that settle how well a reference fits; larger volumes are thinned in the plane."""

ENOUGH_CASES = 5
"""ASSUME: cases of one spacing below which a small subset may have it by chance."""


def mirrored_fits(image: Real[np.ndarray, "z y x"], label: UInt8[np.ndarray, "z y x"]) -> list[str]:
    """Name the directions in which a mirrored reference fits its image clearly better.

    For references without a grid of their own, such as pictures that only file names put in
    order. A structure is mostly of one grey value, so a reference is right where grey values
    within its structures spread least (`misfit`).

    Args:
        image: canonical image.
        label: canonical values on its grid.
    """
    step = max(1, ceil(sqrt(image.size / ENOUGH_VOXELS)))
    grey = image[:, ::step, ::step]
    as_read = misfit(grey, label[:, ::step, ::step])
    mirrored = [misfit(grey, np.flip(label, axis)[:, ::step, ::step]) for axis in range(3)]
    return [
        f"the reference fits the image better with {sides} exchanged"
        for sides, spread in zip(EXCHANGED, mirrored, strict=True)
        if spread < CLEARLY * as_read
    ]


def misfit(image: Real[np.ndarray, "z y x"], label: UInt8[np.ndarray, "z y x"]) -> float:
    """Mean distance of labelled voxels' grey values from the median of their structure."""
    inside = label > 0
    grey, values = image[inside], label[inside]
    total = 0.0
    for value in np.flatnonzero(np.bincount(values)):
        own = grey[values == value].astype(np.float64)
        total += float(np.abs(own - np.median(own)).sum())
    return total / max(1, len(grey))


def one_spacing(card: Card, rows: Sequence[Mapping[str, str]]) -> str:
    """Say that cases whose spacing should vary all have one, or "" where nothing is odd.

    Args:
        card: `published.varying_spacing` says whether it should.
        rows: of `cases.tsv`.
    """
    if not (card.published and card.published.varying_spacing) or len(rows) < ENOUGH_CASES:
        return ""
    spacings = np.array([row["spacing_mm"].split() for row in rows], float)
    if np.ptp(spacings, axis=0).max() > 1e-3:  # mm; headers round
        return ""
    return (
        f"all {len(rows)} cases of {card.name!r} have the spacing {rows[0]['spacing_mm']} mm "
        "(z y x), but the published scans differ: this is a resampled copy, on which results "
        "compare with nothing; fetch the original files"
    )
