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
    wrong_sides,
)
from hermes.convert.find import Case
from hermes.convert.images import read_image
from hermes.convert.labels import read_label
from hermes.convert.raw import CaseError
from hermes.convert.resume import outputs_of
from hermes.convert.sources import Sources
from hermes.schema import Card
from hermes.volume import Volume, orthonormal, reorient, write_nifti

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
    are.

    Raises:
        CaseError, VolumeError: the reason why the case cannot be used.
    """
    native = read_image(case, sources)
    check_image(native.volume.array)
    found = read_label(case, card, sources, native)
    image = slab(reorient(native.volume), case.image.slab)
    upright, degrees = orthonormal(image.affine)
    canonical = Volume(compact(image.array), upright)
    warnings = found[1] if found else []
    if degrees > STRAIGHT:
        warnings = [*warnings, f"axes {degrees:.2g} degrees off the right angle: straightened"]
    label = None
    if found:
        values = slab(found[0], case.image.slab).array
        label = Volume(canonical_values(values, card), upright)
    image_path, label_path = outputs_of(out, case.name)
    write_nifti(image_path, canonical)
    if label:
        write_nifti(label_path, label)
    axes = native.volume.axcodes
    return _row(case, card, canonical, label, reorient(image, axes), warnings)


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
    card: Card,
    image: Volume,
    label: Volume | None,
    native: Volume,
    warnings: list[str],
) -> dict[str, str]:
    present: list[str] = []
    if label:
        counts = count_along_x(label.array, len(card.structures))
        present = [name for k, name in enumerate(card.structures, 1) if counts[k].any()]
        warnings = [*warnings, *wrong_sides(image.array, counts, card)]
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
        "warnings": "; ".join(warnings),
    }


def _numbers(values: Iterable[float | int]) -> str:
    return " ".join(f"{value:.8g}" for value in values)


def _sha256(array: np.ndarray) -> str:
    """Of the voxels' bytes, z slowest, least significant byte first."""
    return hashlib.sha256(array.astype(array.dtype.newbyteorder("<")).tobytes()).hexdigest()
