"""What the content of cases says of their geometry, where headers are wrong or say nothing.

Nothing here changes a case: what speaks against one becomes a warning in `cases.tsv`.
"""

from math import ceil, sqrt

import numpy as np
from jaxtyping import Float32, Real, UInt8
from scipy.ndimage import find_objects

EXCHANGED = ("head and foot", "front and back", "left and right")
"""What a flip of a canonical array's axes z, y, x exchanges in the patient."""

FITS, CLEARLY = 0.65, 0.8
"""ASSUME: misfit below which a reference fits at all; share of the misfit as read below which a
mirrored one fits clearly better. On the phantom's CT, MR and cine scans and two real ones the right
reading has a misfit of 0.07 to 0.53, and every mirrored one 1.3 to 12 times as much."""

AROUND = 2
"""ASSUME: voxels around a structure's bounding box that are still its surroundings."""

ENOUGH_VOXELS = 8e6
"""ASSUME: voxels that settle how well a reference fits; larger volumes are thinned in the plane."""


def mirrored_fits(image: Real[np.ndarray, "z y x"], label: UInt8[np.ndarray, "z y x"]) -> list[str]:
    """Name the directions in which a mirrored reference fits its image clearly better.

    For references without a grid of their own, such as pictures that only file names put in
    order.

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
        if spread < min(FITS, CLEARLY * as_read)
    ]


def misfit(image: Real[np.ndarray, "z y x"], label: UInt8[np.ndarray, "z y x"]) -> float:
    """How little the grey values of an image know of its reference: near 0 a fit, 1 none.

    A structure is mostly of one grey value and its surroundings are not. So this is the mean
    distance of labelled voxels' grey values from the median of their structure, over that of all
    voxels in the structure's box from the median of the box.
    """
    within, around = 0.0, 0.0
    for value, box in enumerate(find_objects(label), start=1):
        if box is None:
            continue  # type: ignore[unreachable]  # scipy's types forget values that are not there
        box = tuple(slice(max(0, s.start - AROUND), s.stop + AROUND) for s in box)
        grey = image[box].astype(np.float32)
        own = grey[label[box] == value]
        within += own.size * _spread(own)
        around += own.size * _spread(grey)
    return within / around if around else 1.0


def _spread(grey: Float32[np.ndarray, "..."]) -> float:
    return float(np.abs(grey - np.median(grey)).mean(dtype=np.float64))
