"""Convert one case: examine it, then write it. Nothing is written before all is checked."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from hermes.config.schema import Card
from hermes.convert.examine import Examined, examine
from hermes.convert.find import Case
from hermes.convert.raw import CaseError, plain
from hermes.convert.sources import Sources
from hermes.files.nifti import write_nifti
from hermes.files.volume import VolumeError, reorient
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


def outputs_of(out: Path, case: str) -> tuple[Path, Path]:
    """Paths of a case's image and label."""
    return out / f"{case}.nii.gz", out / f"{case}_label.nii.gz"


def convert_case(case: Case, card: Card, sources: Sources, out: Path) -> dict[str, str]:
    """Write `{case}.nii.gz` and, with a reference, `{case}_label.nii.gz`; return its row.

    Memory as `hermes.convert.examine.examine` says; of two copies of a scan one after the other.

    Raises:
        CaseError, VolumeError: the reason why the case cannot be used.
    """
    found = examine(case, card, sources)
    image_path, label_path = outputs_of(out, case.name)
    _, image = found.volumes()
    write_nifti(image_path, image)
    if found.label:
        write_nifti(label_path, found.label)
    row, warnings = _row(case, found), found.warnings
    del found, image
    if case.copy:
        warnings = [*warnings, _beside(case.copy, card, sources, row)]
    return row | {"warnings": joined(warnings)}


def _beside(copy: Case, card: Card, sources: Sources, row: dict[str, str]) -> str:
    """What to say of another copy of a scan: whether its canonical voxels are equal."""
    told = f"also there as {copy.path}"
    try:
        if sources.copy is None:
            raise CaseError(sources.copy_lacks)
        other = examine(copy, card, sources.copy)
    except (CaseError, VolumeError) as error:
        return f"{told}, which cannot be used: {plain(str(error), sources.root)}"
    _, image = other.volumes()
    if _sha256(image.array) != row["image_sha256"]:
        unsure = ", as its header leaves its orientation open" if other.doubt else ""
        return f"{told}: other voxels{unsure}"
    same = (_sha256(other.label.array) if other.label else "") == row["label_sha256"]
    return f"{told}: equal voxels" if same else f"{told}: equal image, other reference"


def _row(case: Case, found: Examined) -> dict[str, str]:
    (native, image), label = found.volumes(), found.label
    if case.image.slab:
        native = reorient(image, native.axcodes)
    return {
        "case": case.name,
        "patient": case.patient,
        "subset": case.image.subset,
        "modality": case.modality,
        "spacing_mm": _numbers(image.spacing_mm),
        "size": _numbers(image.array.shape),
        "structures": ",".join(found.present),
        "image_sha256": _sha256(image.array),
        "label_sha256": _sha256(label.array) if label else "",
        "native_axes": ",".join(native.axcodes),
        "native_affine": " ".join(repr(float(value)) for value in native.affine.ravel()),
        "native_size": _numbers(native.array.shape[::-1]),
        "source": case.path,
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
        digest.update(np.ascontiguousarray(plane, array.dtype.newbyteorder("<")).data)
    return digest.hexdigest()
