"""Preprocess one case, with a bounded part of it in memory at any time.

Beside the scan as it was read there are the resampled image in float32, where that is no more than
HELD_VOXELS, and the label map, one byte per voxel of either grid. A larger image is never whole:
it is resampled anew, some planes at a time, for each of the passes that need it, two for a fixed
window and four for percentiles. benchmarks/memory.py measures it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from hermes.axes import Box, triple
from hermes.config.schema import Intensity
from hermes.files.nifti import read_nifti
from hermes.files.store import BOX_START, save_case
from hermes.files.volume import Volume, VolumeError
from hermes.preprocess.body import body_box
from hermes.preprocess.foreground import Foreground, foreground_of
from hermes.preprocess.intensity import Window, window_of
from hermes.resample import (
    box_on_grid,
    resample_image,
    resample_label,
    resampled_affine,
    target_grid,
)

Spacing = tuple[float, float, float]

HELD_VOXELS = 1 << 28
"""Largest resampled image that is held whole, 1 GiB."""

BODY_MARGIN_VOXELS = 10
"""Of the training grid around the body's box. ASSUME: 15 mm in the paper's grid, context enough
for skin and fingers that the box may miss by a block."""

LEAST_EDGE_VOXELS = 128
"""ASSUME: no edge of a stored box is shorter where the scan goes on, so that the paper's crop is
filled by scan and not by zeros."""


@dataclass(frozen=True)
class Settings:
    """What the preprocessing of one dataset needs to know.

    Attributes:
        dataset: its name.
        classes: number of annotated classes.
        spacing_mm: isotropic target spacing.
        keep_native_z: leave the slice spacing as it is.
        intensity: window by modality.
        seed: of the foreground voxels that are remembered.
        body_crop: store the image of the body's box alone.
    """

    dataset: str
    classes: int
    spacing_mm: float
    keep_native_z: bool
    intensity: dict[str, dict]
    seed: int
    body_crop: bool = False


class Resampled:
    """The image on the training grid by planes: held where it is small, else made when asked for.

    Attributes:
        shape: (z, y, x).
    """

    def __init__(self, volume: Volume, target_mm: Spacing) -> None:
        self.shape, _ = target_grid(volume.array.shape, volume.spacing_mm, target_mm)
        self._planes: Callable[[slice], np.ndarray]
        whole = partial(resample_image, volume.array, volume.spacing_mm, target_mm)
        if np.prod(self.shape) <= HELD_VOXELS:
            self._planes = whole().__getitem__  # the volume is not needed any more
        else:
            self._planes = lambda planes: whole(planes=(planes.start, planes.stop))

    def __getitem__(self, planes: slice) -> Float32[np.ndarray, "z y x"]:
        return self._planes(planes)


class Normalised:
    """The image as it is stored: z-scores in float16, of a box of the grid, by planes."""

    def __init__(self, image: Resampled, window: Window, box: Box) -> None:
        self._image, self._window, self._box = image, window, box
        self.shape = tuple(side.stop - side.start for side in box)

    def __getitem__(self, planes: slice) -> np.ndarray:
        z, y, x = self._box
        image = self._image[z.start + planes.start : z.start + planes.stop]
        result = np.empty((len(image), *self.shape[1:]), np.float16)
        for plane, scores in zip(image, result, strict=True):  # double precision, one at a time
            scores[:] = self._window.apply(plane[None, y, x])[0]
        return result


def preprocess_case(
    canonical: Path, folder: Path, settings: Settings, row: dict[str, str]
) -> dict[str, str]:
    """Preprocess one case; returns the columns that it adds to its row (`columns_of`).

    Raises:
        VolumeError, StoreError: what is wrong with the case, naming the file.
    """
    path = canonical / f"{row['case']}.nii.gz"
    if row["modality"] not in settings.intensity:
        raise VolumeError(f"{path}: the study has no window for modality {row['modality']!r}")
    volume = read_nifti(path)
    spacing_mm, target = volume.spacing_mm, target_spacing_mm(volume, settings)
    box = _stored_box(volume, target, settings)
    image = Resampled(volume, target)
    meta = describe(volume, row, settings, image.shape, target)
    del volume  # the image holds on to it where it must
    window = window_of(image, Intensity(**settings.intensity[row["modality"]]))
    label = _label(canonical / f"{row['case']}_label.nii.gz", spacing_mm, target)
    found = foreground_of(label, box, settings.classes, [settings.seed, *row["case"].encode()])
    meta |= {"intensity": window.values(), "foreground": found.points}
    if settings.body_crop:
        meta[BOX_START] = [side.start for side in box]
    save_case(folder, row["case"], Normalised(image, window, box), label, meta)
    return _columns(meta, found, box, settings)


def columns_of(body_crop: bool) -> tuple[str, ...]:
    """Columns that preprocessing adds to those of the convert stage.

    grid_size (z y x) is the whole training grid's. With the body's box also its size, and by class
    the voxels of the reference that lie outside, which training never sees and scoring counts as
    missed.
    """
    always = ("grid_size", "grid_spacing_mm", "foreground_voxels")
    return (*always, "box_size", "foreground_outside") if body_crop else always


def _columns(meta: dict, found: Foreground, box: Box, settings: Settings) -> dict[str, str]:
    values = {
        "grid_size": " ".join(map(str, meta["grid_size"])),
        "grid_spacing_mm": " ".join(f"{mm:g}" for mm in meta["grid_spacing_mm"]),
        "foreground_voxels": ",".join(map(str, found.counts)),
        "box_size": " ".join(str(side.stop - side.start) for side in box),
        "foreground_outside": ",".join(map(str, found.outside)),
    }
    return {name: values[name] for name in columns_of(settings.body_crop)}


def target_spacing_mm(volume: Volume, settings: Settings) -> Spacing:
    """Target spacing (z, y, x) of one image."""
    mm = settings.spacing_mm
    return (float(volume.spacing_mm[0]) if settings.keep_native_z else mm, mm, mm)


def _stored_box(volume: Volume, target_mm: Spacing, settings: Settings) -> Box:
    """The part of the training grid whose image is kept."""
    size, _ = target_grid(volume.array.shape, volume.spacing_mm, target_mm)
    if not settings.body_crop:
        return triple(slice(0, length) for length in size)
    body = box_on_grid(body_box(volume.array), volume.array.shape, volume.spacing_mm, target_mm)
    return triple(_with_margin(*axis) for axis in zip(body, size, strict=True))


def _with_margin(side: slice, length: int) -> slice:
    """A side of the body's box with its margin, and no shorter than need be."""
    low = max(0, side.start - BODY_MARGIN_VOXELS)
    high = min(length, side.stop + BODY_MARGIN_VOXELS)
    edge = max(high - low, min(length, LEAST_EDGE_VOXELS))
    low = min(max(0, low - (edge - (high - low)) // 2), length - edge)
    return slice(low, low + edge)


def _label(path: Path, spacing_mm: Spacing, target_mm: Spacing) -> np.ndarray | None:
    if not path.is_file():
        return None
    return resample_label(read_nifti(path, dtype=np.uint8).array, spacing_mm, target_mm)


def describe(
    volume: Volume,
    row: dict[str, str],
    settings: Settings,
    grid_size: tuple[int, ...],
    target: Spacing,
) -> dict:
    """Everything that leads from the training grid back to the scanner's own grid."""
    grid_affine = resampled_affine(volume.affine, volume.array.shape, target)
    return {
        "case": row["case"],
        "dataset": settings.dataset,
        "modality": row["modality"],
        "canonical_affine": _flat(volume.affine),
        "canonical_size": list(volume.array.shape),
        "native_axes": row["native_axes"],
        "native_affine": [float(x) for x in row["native_affine"].split()],
        "native_size": [int(n) for n in row["native_size"].split()],
        "grid_affine": _flat(grid_affine),
        "grid_size": list(grid_size),
        "grid_spacing_mm": list(target),
    }


def _flat(affine: np.ndarray) -> list[float]:
    return [float(x) for x in np.asarray(affine).ravel()]
