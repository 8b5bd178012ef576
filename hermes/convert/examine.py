"""Examine one case: read, check and reorient image and reference. Nothing is written.

The converter writes what comes out of it; the check of a card says what was seen on the way.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hermes.config.schema import Card
from hermes.convert.checks import (
    check_image,
    compact,
    count_along_x,
    misplaced,
    refuse_unknown,
    sides_found,
    to_canonical,
)
from hermes.convert.evidence import mirrored_fits
from hermes.convert.find import Case
from hermes.convert.images import read_image
from hermes.convert.labels import read_label
from hermes.convert.raw import CaseError
from hermes.convert.sources import Sources
from hermes.files.volume import Volume, orthonormal, reorient

Step = Literal["image", "label", "values", ""]

STRAIGHT = 0.1
"""ASSUME: degrees by which directions may be off the right angle without a warning."""


@dataclass
class Examined:
    """A case as far as it was read; whole once `step` is "".

    Attributes:
        step: what is under way: the image, the label's file, the label's values.
        native: grid of the file, without its voxels.
        image: canonical: LPS order, axes at right angles, int16 or float32.
        label: canonical values on the image's grid, uint8; None where there is no reference.
        values: voxels of the reference by published value, background too.
        present: structures of the card in it.
        doubt: what the header leaves open; `orientation` is what speaks for or against it.
        degrees: by which the axes were straightened.
        remarks: what else a person should know.
    """

    step: Step = "image"
    native: Volume | None = None
    image: Volume | None = None
    label: Volume | None = None
    values: dict[int, int] | None = None
    present: list[str] = field(default_factory=list)
    doubt: str = ""
    orientation: str = ""
    degrees: float = 0.0
    remarks: list[str] = field(default_factory=list)

    def volumes(self) -> tuple[Volume, Volume]:
        """`native` and `image`, of a case that came so far. Raises ValueError for another."""
        if self.native is None or self.image is None:
            raise ValueError("the case's image was not read")
        return self.native, self.image

    @property
    def skewed(self) -> bool:
        """Whether the axes were off the right angle by more than headers round."""
        return self.degrees > STRAIGHT

    @property
    def warnings(self) -> list[str]:
        """All that is said of the case in `cases.tsv`."""
        skew = f"axes {self.degrees:.2g} degrees off the right angle: straightened"
        doubt = f"{self.doubt}, and {self.orientation}"
        return [*([skew] if self.skewed else []), *([doubt] if self.doubt else []), *self.remarks]


def examine(case: Case, card: Card, sources: Sources, found: Examined | None = None) -> Examined:
    """Read a case and check it.

    The voxels of image and label are reordered by one permutation and flips, never resampled.
    The affine keeps its obliqueness; axes that are not at right angles become the nearest that
    are. Memory: little over two copies of the image at no more than four bytes a voxel (of
    600x600x1000 voxels 3.6 GB).

    Args:
        case: the case.
        card: of its dataset.
        sources: its files.
        found: is filled on the way, for who wants to know how far a case came that failed.

    Raises:
        CaseError, VolumeError: the reason why the case cannot be used.
    """
    found = found or Examined()
    native = read_image(case, sources)
    check_image(native.volume.array)
    image, found.degrees = _canonical(native.volume, case.image.slab)
    found.image = image
    native = native.without_voxels()
    found.native, found.doubt = native.volume, native.doubt
    found.orientation = _proof({}, card)
    found.step = "label"
    if label := read_label(case, card, sources, native):
        found.step = "values"
        _label(found, image, case, card, *label)
    found.step = ""
    return found


def _canonical(native: Volume, part: tuple[float, float] | None) -> tuple[Volume, float]:
    """The image in LPS order, compact, and the degrees by which its axes were straightened."""
    whole = reorient(Volume(compact(native.array), native.affine))
    image = slab(whole, part)
    upright, degrees = orthonormal(image.affine)
    return Volume(image.array, upright), degrees


def _label(
    found: Examined,
    image: Volume,
    case: Case,
    card: Card,
    published: Volume,
    remarks: list[str],
) -> None:
    """Published values to canonical ones, and what they and the image say of each other."""
    values, found.values = to_canonical(slab(published, case.image.slab).array, card)
    refuse_unknown(found.values, card)
    found.label = Volume(values, image.affine)
    counts = count_along_x(values, len(card.structures))
    sides = sides_found(image.array, counts, card)
    found.present = [name for k, name in enumerate(card.structures, 1) if counts[k].any()]
    found.orientation = _proof(sides, card)
    found.remarks = [*remarks, *misplaced(sides, card)]
    source = case.image.label
    if source.format == "png" or source.geometry == "image":
        found.remarks += mirrored_fits(image.array, values)


def _proof(sides: dict[str, str], card: Card) -> str:
    """What the sides of structures say of an orientation that a header does not prove."""
    against = ", ".join(s for s, side in sides.items() if side != card.sides[s])
    if against:
        return f"the side of {against} contradicts its orientation"
    if sides:
        return f"left and right are borne out by the side of {', '.join(sides)}"
    return "its orientation is unproven"


def slab(volume: Volume, part: tuple[float, float] | None) -> Volume:
    """Keep a part of the head-foot extent of a canonical volume, 0 at the feet, 1 at the top.

    Bounds are rounded to whole slices, so that parts with a common bound share no slice.

    Raises:
        CaseError: no slice is left.
    """
    if part is None:
        return volume
    low, high = (round(share * len(volume.array)) for share in part)
    kept = volume.array[low:high]
    if not len(kept):
        raise CaseError(f"slab {part} of {len(volume.array)} slices is empty")
    affine = volume.affine.copy()
    affine[:, 3] = volume.affine @ (0, 0, low, 1)
    return Volume(np.ascontiguousarray(kept), affine)
