"""Preprocess: resample to the training grid, set the intensities, store in chunks.

As the paper does it: cubic B-spline for the image, to isotropic voxels; a fixed window for CT and
a percentile window for everything else; then the z-score over all voxels of the image. Labels are
voted linearly, never splined. The reference segmentation takes no part in where an image is cut:
nothing is cut at all. How to get back to the scanner's own grid is stored with every case.
"""

import logging
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hermes.resample import resample_image, resample_label, resampled_affine
from hermes.schema import Intensity
from hermes.store import save_case
from hermes.tables import read_tsv, write_tsv
from hermes.volume import Volume, read_nifti

logger = logging.getLogger(__name__)

POINTS_PER_CLASS = 64
"""Voxels per class remembered for foreground sampling. ASSUME: enough to spread over an organ."""

EXTRA_COLUMNS = ("grid_size", "grid_spacing_mm", "foreground_voxels")


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
    """

    dataset: str
    classes: int
    spacing_mm: float
    keep_native_z: bool
    intensity: dict[str, dict]
    seed: int


def run(
    *,
    dataset: str,
    canonical: str | Path,
    cases: str | Path,
    folder: str | Path,
    out: str | Path,
    classes: int,
    spacing_mm: float,
    keep_native_z: bool,
    intensity: dict[str, dict],
    seed: int,
    workers: int = 1,
) -> None:
    """Preprocess every case of a dataset; cases run in parallel.

    Args:
        dataset: its name.
        canonical: folder of the convert stage.
        cases: its `cases.tsv`.
        folder: where the chunked arrays are written.
        out: `cases.tsv` to write: the columns of the convert stage and three more.
        classes: number of annotated classes K.
        spacing_mm: isotropic target spacing.
        keep_native_z: leave the slice spacing as it is.
        intensity: modality -> {"clip": [low, high]} or {"percentiles": [low, high]}.
        seed: the study's seed.
        workers: processes.
    """
    settings = Settings(dataset, classes, spacing_mm, keep_native_z, intensity, seed)
    work = partial(preprocess_case, Path(canonical), Path(folder), settings)
    rows = read_tsv(cases)
    Path(folder).mkdir(parents=True, exist_ok=True)
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            done = list(_progress(pool.map(work, rows), len(rows), dataset))
    else:
        done = list(_progress(map(work, rows), len(rows), dataset))
    write_tsv(out, (*rows[0], *EXTRA_COLUMNS), done)
    logger.info("%s: %d cases at %g mm", dataset, len(done), spacing_mm)


def _progress(items, total: int, name: str):
    return tqdm(items, total=total, desc=f"preprocess {name}", unit="case", disable=None)


def preprocess_case(
    canonical: Path, folder: Path, settings: Settings, row: dict[str, str]
) -> dict[str, str]:
    """Preprocess one case and return its row with the three new columns."""
    volume = read_nifti(canonical / f"{row['case']}.nii.gz")
    target = target_spacing_mm(volume, settings)
    resampled = resample_image(volume.array, volume.spacing_mm, target)
    image, window = normalise(resampled, Intensity(**settings.intensity[row["modality"]]))
    label = _label(canonical / f"{row['case']}_label.nii.gz", volume, target)
    meta = describe(volume, row, settings, image.shape, target) | {"intensity": window}
    meta["foreground"] = foreground_points(label, settings, row["case"])
    save_case(folder, row["case"], image.astype(np.float16), label, meta)
    counts = _class_counts(label, settings.classes)
    return row | {
        "grid_size": " ".join(map(str, image.shape)),
        "grid_spacing_mm": " ".join(f"{mm:g}" for mm in target),
        "foreground_voxels": ",".join(map(str, counts)),
    }


def target_spacing_mm(volume: Volume, settings: Settings) -> tuple[float, float, float]:
    """Target spacing (z, y, x) of one image."""
    mm = settings.spacing_mm
    return (float(volume.spacing_mm[0]) if settings.keep_native_z else mm, mm, mm)


def _label(path: Path, volume: Volume, target: tuple[float, float, float]) -> np.ndarray | None:
    if not path.is_file():
        return None
    return resample_label(read_nifti(path, dtype=np.uint8).array, volume.spacing_mm, target)


def normalise(image: np.ndarray, intensity: Intensity) -> tuple[np.ndarray, dict[str, float]]:
    """Clip to the window, then z-score over all voxels.

    Args:
        image: [z, y, x].
        intensity: fixed window or percentiles of this image.

    Returns:
        float32 [z, y, x] with mean 0 and standard deviation 1 (all 0 for a constant image), and
        the window and moments, in the image's own unit.
    """
    image = image.astype(np.float32)
    low, high = intensity.clip or np.percentile(image, intensity.percentiles)
    clipped = np.clip(image, low, high)
    mean, std = float(clipped.mean(dtype=np.float64)), float(clipped.std(dtype=np.float64))
    window = {"low": float(low), "high": float(high), "mean": mean, "std": std}
    return ((clipped - mean) / (std or 1.0)).astype(np.float32), window


def describe(
    volume: Volume,
    row: dict[str, str],
    settings: Settings,
    grid_size: tuple[int, ...],
    target: tuple[float, float, float],
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


def foreground_points(
    label: np.ndarray | None, settings: Settings, case: str
) -> dict[str, list[list[int]]]:
    """A few seeded voxels (z, y, x) of every class that is present, class value as text."""
    if label is None:
        return {}
    generator = np.random.default_rng([settings.seed, *case.encode()])
    points = {}
    for value in range(1, settings.classes + 1):
        voxels = np.argwhere(label == value)
        if len(voxels):
            chosen = generator.choice(
                len(voxels), min(POINTS_PER_CLASS, len(voxels)), replace=False
            )
            points[str(value)] = voxels[np.sort(chosen)].tolist()
    return points


def _class_counts(label: np.ndarray | None, classes: int) -> list[int]:
    if label is None:
        return []
    return np.bincount(label.ravel(), minlength=classes + 1)[1 : classes + 1].tolist()
