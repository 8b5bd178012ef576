"""Which part of a test scan is predicted: all of it, the body's box, or the reference's box.

What lies outside the box counts as background. Of a scan of which preprocessing has stored the
body's box alone (`preprocess.body_crop`), that box is all there is to predict: `none` and `image`
are the same there, and the reference's box ends with it. The reference's box is what the published
code predicts (20 voxels of the training grid around the foreground): it tells a network where to
look and hides what it would find elsewhere, so it is kept for comparisons with published numbers
alone.
Two things of the published crop are not here: it comes before the z-score, and AutoPET's reaches
30 voxels in plane, more around small lesions.
"""

import logging
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8

from hermes.axes import Box, triple
from hermes.files.store import BOX_START, StoredCase
from hermes.preprocess.body import body_box

logger = logging.getLogger(__name__)

Mode = Literal["none", "image", "reference"]


@dataclass(frozen=True)
class Crop:
    """What is predicted, and the voxels of the training grid kept around it; see `Protocol`."""

    mode: Mode = "none"
    margin_voxels: int = 0


WHOLE = Crop()


class Part(NamedTuple):
    """What is predicted of one scan.

    Attributes:
        mode: what the box is: `none` all of the scan, `image`, `reference`; not always what was
            asked for.
        box: (z, y, x) of the training grid, never beyond the stored image.
    """

    mode: Mode
    box: Box


def predicted_part(stored: StoredCase, crop: Crop) -> Part:
    """What of a scan is predicted, in truth."""
    kept = Part("image" if BOX_START in stored.meta else "none", stored.box)
    if crop.mode in ("none", kept.mode):
        return kept
    if crop.mode == "image":
        return Part("image", body_box(stored.image[...].astype(np.float32), crop.margin_voxels))
    found = None if stored.label is None else foreground_box(stored.label[...], crop.margin_voxels)
    box = stored.box if found is None else _intersection(found, stored.box)
    if found is None or any(s.stop <= s.start for s in box):
        logger.warning("%s: no foreground in the reference, not cropped", stored.meta["case"])
        return kept
    return Part("reference", box)


def foreground_box(label: UInt8[np.ndarray, "z y x"], margin_voxels: int) -> Box | None:
    """Box of all annotated voxels with a margin, inside the volume; None without any."""
    box = []
    for axis, length in enumerate(label.shape):
        hit = np.flatnonzero(label.any(axis=tuple({0, 1, 2} - {axis})))
        if not hit.size:
            return None
        low, high = int(hit[0]) - margin_voxels, int(hit[-1]) + 1 + margin_voxels
        box.append(slice(max(0, low), min(length, high)))
    return triple(box)


def within(box: Box, whole: Box) -> Box:
    """A box of the training grid, counted from the corner of another that holds it."""
    return triple(
        slice(s.start - w.start, s.stop - w.start) for s, w in zip(box, whole, strict=True)
    )


def on_grid(
    array: Shaped[np.ndarray, "*k z y x"], box: Box, size: tuple[int, ...]
) -> Shaped[np.ndarray, "*k Z Y X"]:
    """Put what was found in a box into the whole training grid, background outside.

    >>> on_grid(np.ones((1, 1, 2), np.uint8), (slice(0, 1), slice(0, 1), slice(1, 3)), (1, 1, 4))
    array([[[0, 1, 1, 0]]], dtype=uint8)
    """
    if array.shape[-3:] == size:
        return array
    result = np.zeros((*array.shape[:-3], *size), array.dtype)
    result[(..., *box)] = array
    return result


def written(box: Box) -> str:
    """A box as a table has it: first:end of z, y and x.

    >>> written((slice(0, 4), slice(2, 5), slice(1, 9)))
    '0:4 2:5 1:9'
    """
    return " ".join(f"{s.start}:{s.stop}" for s in box)


def _intersection(one: Box, other: Box) -> Box:
    return triple(
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
