"""Convert one case: read, check, reorient, write. Nothing is written before all is checked."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from hermes.convert.checks import (
    canonical_values,
    check_image,
    compact,
    count_along_x,
    misplaced,
    sides_found,
)
from hermes.convert.evidence import mirrored_fits
from hermes.convert.find import Case
from hermes.convert.images import read_image
from hermes.convert.labels import read_label
from hermes.convert.raw import CaseError
from hermes.convert.resume import outputs_of
from hermes.convert.sources import Sources
from hermes.schema import Card
from hermes.volume import Volume, orthonormal, reorient, write_nifti
from hermes.words import joined

COLUMNS = (
    "case",
    "patient",
    "subset",
    "modality",
    "spacing_mm",
    "size",
    "structures",
    "image_sha256",
    "label_sha256",
    "native_axes",
    "native_affine",
    "native_size",
    "source",
    "warnings",
)
"""Of `cases.tsv`. spacing_mm and size are z y x; native_size is x y z, as its file has it."""


STRAIGHT = 0.1
"""ASSUME: degrees by which directions may be off the right angle without a warning."""


def convert_case(case: Case, card: Card, sources: Sources, out: Path) -> dict[str, str]:
    """Write `{case}.nii.gz` and, with a reference, `{case}_label.nii.gz`; return its row.

    The voxels of image and label are reordered by one permutation and flips, never resampled.
    The affine keeps its obliqueness; axes that are not at right angles become the nearest that
    are. Memory: little over two copies of the image as it lies in the file (of 600x600x1000 voxels
    in float32, 3.6 GB).

    Raises:
        CaseError, VolumeError: the reason why the case cannot be used.
    """
    native = read_image(case, sources)
    check_image(native.volume.array)
    image, degrees = _canonical(native.volume, case.image.slab)
    native = native.without_voxels()
    found = read_label(case, card, sources, native)
    label, warnings = None, []
    if found:
        values = canonical_values(slab(found[0], case.image.slab).array, card)
        label, warnings = Volume(values, image.affine), found[1]
    if degrees > STRAIGHT:
        warnings = [*warnings, f"axes {degrees:.2g} degrees off the right angle: straightened"]
    present, told = _content(case, card, image, label, native.doubt)
    image_path, label_path = outputs_of(out, case.name)
    write_nifti(image_path, image)
    if label:
        write_nifti(label_path, label)
    return _row(case, image, label, native.volume, present, [*warnings, *told])


def _canonical(native: Volume, part: tuple[float, float] | None) -> tuple[Volume, float]:
    """The image in LPS order, compact, and the degrees by which its axes were straightened."""
    whole = reorient(Volume(compact(native.array), native.affine))
    image = slab(whole, part)
    upright, degrees = orthonormal(image.affine)
    return Volume(image.array, upright), degrees


def _content(
    case: Case, card: Card, image: Volume, label: Volume | None, doubt: str
) -> tuple[list[str], list[str]]:
    """Structures present, and warnings of what image and reference say of the geometry."""
    if not label:
        return [], [f"{doubt}, and {_proof({}, card)}"] if doubt else []
    counts = count_along_x(label.array, len(card.structures))
    sides = sides_found(image.array, counts, card)
    warnings = misplaced(sides, card)
    if doubt:
        warnings.insert(0, f"{doubt}, and {_proof(sides, card)}")
    source = case.image.label
    if source.format == "png" or source.geometry == "image":
        warnings += mirrored_fits(image.array, label.array)
    return [name for k, name in enumerate(card.structures, 1) if counts[k].any()], warnings


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


def _row(
    case: Case,
    image: Volume,
    label: Volume | None,
    native: Volume,
    present: list[str],
    warnings: list[str],
) -> dict[str, str]:
    if case.image.slab:
        native = reorient(image, native.axcodes)
    return {
        "case": case.name,
        "patient": case.patient,
        "subset": case.image.subset,
        "modality": case.modality,
        "spacing_mm": _numbers(image.spacing_mm),
        "size": _numbers(image.array.shape),
        "structures": ",".join(present),
        "image_sha256": _sha256(image.array),
        "label_sha256": _sha256(label.array) if label else "",
        "native_axes": ",".join(native.axcodes),
        "native_affine": " ".join(repr(float(value)) for value in native.affine.ravel()),
        "native_size": _numbers(native.array.shape[::-1]),
        "source": case.path,
        "warnings": joined(warnings),
    }


def _numbers(values: Iterable[float | int]) -> str:
    return " ".join(f"{value:.8g}" for value in values)


def _sha256(array: np.ndarray) -> str:
    """Of the voxels' bytes, z slowest, least significant byte first.

    Neither the affine nor the file's order of axes is part of it: two copies of one scan have
    one hash where both headers say rightly how their axes lie in the patient.
    """
    digest = hashlib.sha256()
    for plane in array:
        digest.update(np.ascontiguousarray(plane, array.dtype.newbyteorder("<")))
    return digest.hexdigest()
