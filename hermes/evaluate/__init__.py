"""Evaluate: Dice, NSD and HD95 of every predicted case and class, on two grids.

`model` is the training grid, where the paper takes its numbers, with every class thresholded by
itself; `native` is the scanner's grid, with the label map that a user gets. A class that the
reference does not hold has no Dice (the paper's convention); what was found of it all the same is
reported as its volume.
"""

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from hermes.evaluate.metrics import (
    dice_from_label_maps,
    dice_per_class,
    false_positive_volume_ml,
    surface_scores,
)
from hermes.files.masks import load_masks
from hermes.files.nifti import read_nifti
from hermes.files.store import open_case
from hermes.files.tables import read_tsv, write_tsv
from hermes.files.volume import reorient

logger = logging.getLogger(__name__)

COLUMNS = ("case", "structure", "metric", "value", "grid")


def run(
    *,
    dataset: str,
    structures: list[str],
    predictions: str | Path,
    folder: str | Path,
    canonical: str | Path,
    out: str | Path,
    nsd_tolerance_mm: float,
    surface: bool,
    workers: int = 1,
) -> None:
    """Score the predictions of one run on one dataset.

    Args:
        dataset: its name.
        structures: names of its classes, in class order.
        predictions: manifest of the predict stage.
        folder: preprocessed cases, for the reference on the training grid.
        canonical: converted cases, for the reference on the native grid.
        out: TSV to write, tidy: case, structure, metric, value, grid. No value: empty.
        nsd_tolerance_mm: tolerance of the normalised surface Dice.
        surface: NSD and HD95 beside Dice.
        workers: processes.
    """
    cases = [row["case"] for row in read_tsv(predictions)]
    work = partial(
        score_case,
        Path(predictions).parent,
        Path(folder),
        Path(canonical),
        tuple(structures),
        nsd_tolerance_mm,
        surface,
    )
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            scored = list(pool.map(work, cases))
    else:
        scored = list(map(work, cases))
    write_tsv(out, COLUMNS, [row for rows in scored for row in rows])
    without = [case for case, rows in zip(cases, scored, strict=True) if not rows]
    if without:
        logger.info("%s: no reference, not scored: %s", dataset, ", ".join(without))
    logger.info("%s: %d cases scored", dataset, len(cases) - len(without))


def score_case(
    predictions: Path,
    folder: Path,
    canonical: Path,
    structures: tuple[str, ...],
    nsd_tolerance_mm: float,
    surface: bool,
    case: str,
) -> list[dict[str, str]]:
    """Scores of one case on both grids, as rows of the table; none without a reference."""
    stored = open_case(folder, case)
    if stored.label is None:
        return []
    masks, label = load_masks(predictions / f"{case}_grid.b2nd"), stored.label[...]
    on_model = {"dice": dice_per_class(masks, label).tolist()} | _score_pairs(
        ((mask.astype(bool), label == k) for k, mask in enumerate(masks, start=1)),
        stored.meta["grid_spacing_mm"],
        nsd_tolerance_mm,
        surface,
    )
    found = reorient(read_nifti(predictions / f"{case}.nii.gz", dtype=np.uint8)).array
    reference = read_nifti(canonical / f"{case}_label.nii.gz", dtype=np.uint8)
    classes = range(1, len(structures) + 1)
    on_native = {
        "dice": dice_from_label_maps(found, reference.array, len(structures)).tolist()
    } | _score_pairs(
        ((found == k, reference.array == k) for k in classes),
        reference.spacing_mm,
        nsd_tolerance_mm,
        surface,
    )
    return [
        *_rows(case, structures, on_model, "model"),
        *_rows(case, structures, on_native, "native"),
    ]


def _score_pairs(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
    spacing_mm: Sequence[float],
    nsd_tolerance_mm: float,
    surface: bool,
) -> dict[str, list[float]]:
    """Metric -> value per class, for (prediction, reference) masks [z, y, x], one at a time."""
    values: dict[str, list[float]] = {"nsd": [], "hd95": []} if surface else {}
    values["false_positive_ml"] = []
    for prediction, reference in pairs:
        if surface:
            scores = surface_scores(prediction, reference, spacing_mm, nsd_tolerance_mm)
            values["nsd"].append(scores.nsd)
            values["hd95"].append(scores.hd95)
        extra = false_positive_volume_ml(prediction, reference, spacing_mm)
        values["false_positive_ml"].append(extra)
    return values


def _rows(
    case: str, structures: tuple[str, ...], values: dict[str, list[float]], grid: str
) -> list[dict[str, str]]:
    return [
        {
            "case": case,
            "structure": structure,
            "metric": metric,
            "value": "" if np.isnan(value) else f"{value:.6f}",
            "grid": grid,
        }
        for metric, per_class in values.items()
        for structure, value in zip(structures, per_class, strict=True)
    ]
