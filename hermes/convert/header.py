"""Images whose header says nothing of their geometry: an identity affine, or none at all.

What is known of them stands in the card, by the case's number; what is not known is said.
"""

import numpy as np

from hermes.convert.find import Case
from hermes.convert.patterns import last_number
from hermes.convert.raw import CaseError
from hermes.files.volume import Affine, Volume

ROUNDING = 1e-4
"""Millimetres by which float32 headers may be off."""


def says_nothing(volume: Volume) -> bool:
    """Whether an affine is what tools write, or nibabel makes up, for want of anything better.

    Voxels of 1 mm along the patient's axes, with the first voxel or the middle of the volume at
    the origin.
    """
    affine = volume.affine
    unit = np.allclose(np.abs(affine[:3, :3]), np.eye(3), atol=ROUNDING)
    middle = affine @ (*((np.array(volume.array.shape[::-1]) - 1) / 2), 1)
    at_origin = any(np.allclose(p[:3], 0, atol=ROUNDING) for p in (affine[:, 3], middle))
    return unit and at_origin


def with_known_spacing(volume: Volume, case: Case) -> tuple[Volume, str]:
    """Give an image whose header says nothing the spacing that its card knows.

    Axes keep the directions of the header. Elsewhere the image is returned as it is. Where the
    card has no such table nothing is refused: a scan may well have voxels of 1 mm.

    Returns:
        The image, and what is not sure about it, or "".

    Raises:
        CaseError: the card has a table for such images, and this case is not in it.
    """
    if not says_nothing(volume):
        return volume, ""
    fix = case.image.identity_affine
    if fix is None:
        return volume, "identity affine: the spacing of 1 1 1 mm may not be the scan's"
    number = last_number(case.name)
    if number not in fix.spacing_mm:
        raise CaseError(
            "the header's affine is the identity, which says nothing, and the card knows no "
            f"spacing for number {number} (it does for {', '.join(map(str, fix.spacing_mm))}); "
            "write the true spacing into the header or the card, or take a corrected copy"
        )
    spacing = fix.spacing_mm[number]
    told = " ".join(f"{mm:g}" for mm in spacing)
    warning = f"identity affine: the spacing of {told} mm (z y x) is the card's, not the header's"
    return Volume(volume.array, _scaled(volume.affine, spacing)), warning


def _scaled(affine: Affine, spacing_mm: tuple[float, float, float]) -> Affine:
    """An affine of unit voxels with other voxel sizes (z, y, x) around the same origin."""
    return affine @ np.diag([*spacing_mm[::-1], 1.0])
