"""Preprocess: resample to the training grid, set the intensities, store in chunks.

As the paper does it: cubic B-spline for the image, to isotropic voxels; a fixed window for CT and
a percentile window for everything else; then the z-score over all voxels of the image. Labels are
voted linearly, never splined. The reference segmentation takes no part in where an image is cut:
nothing is cut, or what lies beyond the body's box, found in the image (`hermes.preprocess.body`);
the label is always stored whole, so that what such a box misses counts as missed. How to get back
to the scanner's own grid is stored with every case.

A case that is done is recorded and passed over by a later run, unless what it is made of, its
settings or the code have changed. So the cases may be shared out in blocks, a run each, and one
more run over all of them only gathers what the blocks have done.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path

import torch

import hermes
from hermes.files.records import Records
from hermes.files.store import StoreError, case_files
from hermes.files.tables import read_tsv, write_tsv
from hermes.files.volume import VolumeError
from hermes.jobs.pool import Outcome, run_cases
from hermes.preprocess.case import (
    Settings,
    columns_of,
    describe,
    preprocess_case,
    target_spacing_mm,
)
from hermes.preprocess.intensity import normalise
from hermes.sources import source_files

__all__ = [
    "PreprocessError",
    "Settings",
    "describe",
    "normalise",
    "preprocess_case",
    "run",
    "target_spacing_mm",
]

logger = logging.getLogger(__name__)

DECISIVE_COLUMNS = (
    "case",
    "modality",
    "image_sha256",
    "label_sha256",
    "native_axes",
    "native_affine",
    "native_size",
)
"""Of the convert stage: what they say decides what is stored. The others are handed on."""


class PreprocessError(RuntimeError):
    """Some cases failed; the message names each and says why."""


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
    body_crop: bool = False,
    block: Sequence[int] = (0, 1),
    workers: int = 1,
) -> None:
    """Preprocess the cases of a dataset, or a block of them; cases run in parallel.

    The result is the same whatever the number of blocks and workers.

    Args:
        dataset: its name.
        canonical: folder of the convert stage.
        cases: its `cases.tsv`.
        folder: where the chunked arrays are written.
        out: `cases.tsv` to write: the columns of the convert stage and those of `columns_of`.
        classes: number of annotated classes K.
        spacing_mm: isotropic target spacing.
        keep_native_z: leave the slice spacing as it is.
        intensity: modality -> {"clip": [low, high]} or {"percentiles": [low, high]}.
        seed: the study's seed.
        body_crop: store the image of the body's box alone.
        block: (i, n): cases i, i + n, i + 2n, ... alone; (0, 1): all of them, and what earlier
            runs left of other cases is removed.
        workers: processes; each needs up to 4 GB for the largest scans (benchmarks/memory.py).

    Raises:
        PreprocessError: cases that failed; all others are done and will be passed over.
    """
    settings = Settings(
        dataset, classes, spacing_mm, keep_native_z, intensity, seed, body_crop=body_crop
    )
    first, step = block
    everything = read_tsv(cases)
    rows = everything[first::step]
    work = partial(_recall_or_do, Path(canonical), Path(folder), settings)
    Path(folder).mkdir(parents=True, exist_ok=True)
    outcomes = run_cases(
        work,
        {row["case"]: row for row in rows},
        workers,
        f"preprocess {dataset}",
        (VolumeError, StoreError),
        initializer=_one_thread,
    )
    if step == 1:
        _records(Path(folder)).tidy(row["case"] for row in rows)
    if failures := [outcome for outcome in outcomes if outcome.found is None]:
        raise PreprocessError(_summary(dataset, failures, len(rows)))
    found = [outcome.found for outcome in outcomes if outcome.found is not None]
    done = [row | more for row, more in zip(rows, found, strict=True)]
    for row in done:
        _warn_of_loss(dataset, row)
    write_tsv(out, (*everything[0], *columns_of(body_crop)), done)
    logger.info("%s: %d cases at %g mm", dataset, len(done), spacing_mm)


def _one_thread() -> None:
    """So that sums have the same order whatever the number of processes."""
    torch.set_num_threads(1)


def _recall_or_do(
    canonical: Path, folder: Path, settings: Settings, row: dict[str, str]
) -> dict[str, str]:
    """The columns of one case: recorded, or made now."""
    records, mark = _records(folder), _fingerprint(canonical, settings, row)
    values = records.recall(row["case"], mark)
    if values is None:
        values = preprocess_case(canonical, folder, settings, row)
        records.remember(row["case"], mark, values)
    return values


def _records(folder: Path) -> Records:
    return Records(folder, case_files, ("*.b2nd",))


def _fingerprint(canonical: Path, settings: Settings, row: dict[str, str]) -> str:
    """Checksum of everything that a case's stored arrays depend on."""
    files = [canonical / f"{row['case']}{ending}.nii.gz" for ending in ("", "_label")]
    what = {
        "row": {name: row[name] for name in DECISIVE_COLUMNS},
        "bytes": [path.stat().st_size if path.is_file() else -1 for path in files],
        "settings": asdict(settings) | {"intensity": settings.intensity.get(row["modality"])},
        "code": _code(),
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


@cache
def _code() -> list[str]:
    """Checksums of the modules that a case passes through."""
    root = Path(hermes.__file__).parents[1]
    files = source_files("hermes.preprocess.case", root)
    return [hashlib.sha256((root / path).read_bytes()).hexdigest() for path in files]


def _warn_of_loss(dataset: str, row: dict[str, str]) -> None:
    counts = [int(n) for n in row.get("foreground_outside", "").split(",") if n]
    if any(counts):
        logger.warning(
            "%s: %s: %d of %d foreground voxels lie outside the body's box (by class %s); "
            "they count as missed",
            dataset,
            row["case"],
            sum(counts),
            sum(int(n) for n in row["foreground_voxels"].split(",")),
            row["foreground_outside"],
        )


def _summary(dataset: str, failures: list[Outcome], total: int) -> str:
    reasons = "\n  ".join(f"{failure.case}: {failure.reason}" for failure in failures)
    return (
        f"{dataset}: {len(failures)} of {total} cases failed; the others are done and are passed "
        f"over when this is run again:\n  {reasons}"
    )
