"""Measure a dataset: volumes, places and grey values of its cases, each volume read once.

Counts are taken plane by plane, so that a case needs little more memory than its two volumes.
"""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, Real, UInt8

from hermes.axes import triple
from hermes.files.nifti import read_nifti
from hermes.files.tables import read_tsv
from hermes.files.volume import Affine, Volume, VolumeError
from hermes.jobs.pool import run_cases
from hermes.quality.fit import structure_misfits
from hermes.quality.measurements import PERCENTILES, CaseMeasured, Extent, write_measurements

logger = logging.getLogger(__name__)

SAMPLE_VOXELS = 2_000_000
"""Voxels, at least, that quantiles are taken of where an image has more. ASSUME: a regular grid of
so many places the 99.9th per cent well enough to be drawn."""

MM3_PER_ML = 1000.0

SIDES = (("R", "L"), ("A", "P"), ("I", "S"))
"""Faces of a canonical volume at the first and last index of x, y, z."""


class QualityError(ValueError):
    """A case or a dataset cannot be measured; the message names the files."""


def run(
    *,
    dataset: str,
    canonical: str | Path,
    structures: list[str],
    cases: str | Path,
    measured: str | Path,
    measured_structures: str | Path,
    workers: int = 1,
) -> None:
    """Measure every case of a dataset; cases run in parallel.

    Args:
        dataset: its name.
        canonical: folder of the convert stage.
        structures: names by canonical value, from 1.
        cases: convert's `cases.tsv`.
        measured: table of cases to write: convert's columns and `CASE_COLUMNS`.
        measured_structures: table to write, `STRUCTURE_COLUMNS`.
        workers: processes.

    Raises:
        QualityError: volumes that are missing, damaged, or not what `cases.tsv` says; all of them
            are named.
    """
    work = partial(measure_case, Path(canonical), structures)
    rows = {row["case"]: row for row in read_tsv(cases)}
    outcomes = run_cases(work, rows, workers, f"measure {dataset}", (QualityError, VolumeError))
    if failed := [outcome for outcome in outcomes if outcome.found is None]:
        reasons = "\n  ".join(f"{outcome.case}: {outcome.reason}" for outcome in failed)
        raise QualityError(
            f"{dataset}: {len(failed)} of {len(rows)} cases cannot be measured:\n  {reasons}"
        )
    found = [outcome.found for outcome in outcomes if outcome.found is not None]
    write_measurements(measured, measured_structures, found)
    logger.info("%s: %d cases measured", dataset, len(found))


def measure_case(canonical: Path, structures: list[str], row: dict[str, str]) -> CaseMeasured:
    """Measure one case of `cases.tsv`.

    Raises:
        QualityError: image and reference are not on one grid, or the reference holds a value
            beyond the structures.
    """
    image = read_nifti(canonical / f"{row['case']}.nii.gz")
    path = canonical / f"{row['case']}_label.nii.gz"
    label, misfits = None, {}
    if row["label_sha256"]:
        label = read_nifti(path, dtype=np.uint8).array
        _check(path, image.array, label, len(structures))
        misfits = structure_misfits(image.array, label, row["modality"])
    counts = count(image.array, label, len(structures))
    extents = {
        name: extent
        for value, name in enumerate(structures, start=1)
        if (extent := _extent(counts, value, image, misfits.get(value, ())))
    }
    return CaseMeasured(
        row=row,
        body_mm=_place(image.affine, counts.bright),
        slices=triple(_richest(along[1:]) for along in reversed(counts.along)),
        quantiles=tuple(float(q) for q in np.percentile(_sample(image.array), PERCENTILES)),
        structures=extents,
    )


def _check(path: Path, image: np.ndarray, label: np.ndarray, classes: int) -> None:
    if label.shape != image.shape:
        raise QualityError(f"{path}: size {label.shape}, its image {image.shape}; convert it again")
    if (top := int(label.max())) > classes:
        raise QualityError(f"{path}: value {top} of {classes} structures; convert it again")


@dataclass(frozen=True, eq=False)
class Counts:
    """Voxels of each value by x, y and z index, and the sums of grey values under each.

    Attributes:
        along: for x, y, z: [value, index].
        grey: [value], sum of the image under it.
        bright: for x, y, z: [index], voxels brighter than the image's mean.
    """

    along: tuple[Int64[np.ndarray, "values _"], ...]
    grey: Float64[np.ndarray, " values"]
    bright: tuple[Int64[np.ndarray, " _"], ...]


def count(
    image: Real[np.ndarray, "z y x"], label: UInt8[np.ndarray, "z y x"] | None, classes: int
) -> Counts:
    """Count a case; without a reference every structure has no voxel."""
    depth, height, width = image.shape
    values = classes + 1
    x = np.zeros(values * width, np.int64)
    y = np.zeros(values * height, np.int64)
    z = np.zeros((values, depth), np.int64)
    grey = np.zeros(values)
    bright = (np.zeros(width, np.int64), np.zeros(height, np.int64), np.zeros(depth, np.int64))
    mean = image.mean(dtype=np.float64)
    for index in range(depth):
        light = image[index] > mean
        bright[0][:] += light.sum(axis=0)
        bright[1][:] += light.sum(axis=1)
        bright[2][index] = light.sum()
        if label is None:
            continue
        voxels = np.flatnonzero(label[index])
        found = label[index].ravel()[voxels].astype(np.int64)
        rows, columns = np.divmod(voxels, width)
        x += np.bincount(found * width + columns, minlength=len(x))
        y += np.bincount(found * height + rows, minlength=len(y))
        z[:, index] = np.bincount(found, minlength=values)
        grey += np.bincount(found, weights=image[index].ravel()[voxels], minlength=values)
    return Counts((x.reshape(values, width), y.reshape(values, height), z), grey, bright)


def _extent(counts: Counts, value: int, image: Volume, misfits: tuple[float, ...]) -> Extent | None:
    along = tuple(axis[value] for axis in counts.along)
    voxels = int(along[0].sum())
    if not voxels:
        return None
    faces = [
        letter
        for axis, letters in zip(along, SIDES, strict=True)
        for letter, edge in zip(letters, (axis[0], axis[-1]), strict=True)
        if edge
    ]
    return Extent(
        volume_ml=voxels * float(np.prod(image.spacing_mm)) / MM3_PER_ML,
        centroid_mm=_place(image.affine, along),
        touches="".join(faces),
        mean_intensity=float(counts.grey[value] / voxels),
        voxels=voxels,
        misfits=misfits,
    )


def _place(
    affine: Affine, along: tuple[Int64[np.ndarray, " _"], ...]
) -> tuple[float, float, float]:
    """Mean place of voxels counted along x, y, z: to the left, posterior, superior in mm."""
    index = [float(axis @ np.arange(len(axis)) / max(axis.sum(), 1)) for axis in along]
    right, anterior, superior = affine[:3] @ (*index, 1.0)
    return -float(right), -float(anterior), float(superior)


def _richest(counts: Int64[np.ndarray, "structures n"]) -> int:
    """The plane with most structures, then most voxels; the middle one where there are none."""
    if not counts.any():
        return counts.shape[1] // 2
    kinds, voxels = (counts > 0).sum(axis=0), counts.sum(axis=0)
    return int(np.lexsort((voxels, kinds))[-1])


def _sample(array: Real[np.ndarray, "z y x"]) -> Real[np.ndarray, " _"]:
    """A regular grid of the voxels, so many in each direction that enough are left."""
    step = max(1, int((array.size / SAMPLE_VOXELS) ** (1 / 3)))
    return array[::step, ::step, ::step].ravel()
