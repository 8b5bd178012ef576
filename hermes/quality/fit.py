"""How well each structure fits its image as it lies, and turned over: do the two belong together?

The measure is that of the convert stage (`hermes.convert.evidence`), structure by structure, so
that one of mixed content, such as a bowel, does not speak for all.
"""

from math import ceil, sqrt

import numpy as np
from jaxtyping import Real, UInt8
from scipy.ndimage import find_objects

from hermes.convert.evidence import AROUND, misfit

SOFT_TISSUE_HU = (-250.0, 300.0)
"""ASSUME: CT numbers are clipped to these, or gas and bone near an organ outweigh its edges."""

ENOUGH_VOXELS = 2e6
"""ASSUME: voxels of a volume that settle the question; larger ones are thinned in the plane."""

TURNS = ("", "upside down", "turned front to back", "mirrored left to right")
"""How the reference is held against the image, in the order of the misfits: as it lies, and with
its axis z, y or x turned over."""


def structure_misfits(
    image: Real[np.ndarray, "z y x"], label: UInt8[np.ndarray, "z y x"], modality: str
) -> dict[int, tuple[float, ...]]:
    """Misfit of every value present, near 0 a fit and 1 none, for each of `TURNS`.

    Args:
        image: canonical image.
        label: canonical values on its grid.
        modality: CT is clipped to soft tissue.
    """
    step = max(1, ceil(sqrt(image.size / ENOUGH_VOXELS)))
    grey = image[:, ::step, ::step]
    if modality == "ct":
        grey = np.clip(grey, *SOFT_TISSUE_HU)
    turned = [label, *(np.flip(label, axis) for axis in range(3))]
    each = [_misfits(grey, np.ascontiguousarray(one[:, ::step, ::step])) for one in turned]
    # thinning may lose a structure of few voxels in one of the four
    return {value: tuple(one[value] for one in each) for value in each[0]
            if all(value in one for one in each)}  # fmt: skip


def _misfits(
    grey: Real[np.ndarray, "z y x"], label: UInt8[np.ndarray, "z y x"]
) -> dict[int, float]:
    found = {}
    for value, box in enumerate(find_objects(label), start=1):
        if box is not None:
            wide = tuple(slice(max(0, s.start - AROUND), s.stop + AROUND) for s in box)
            found[value] = misfit(grey[wide], (label[wide] == value).astype(np.uint8))
    return found
