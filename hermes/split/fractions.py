"""Fractions: seeded parts of a dataset's training patients, for transfer with few cases."""

import logging
import math
from collections.abc import Collection
from pathlib import Path

from hermes.files.tables import read_tsv, write_tsv
from hermes.split.rule import COLUMNS, UNUSED, SplitError, shuffled

logger = logging.getLogger(__name__)


def run(
    *, dataset: str, percent: float, draw: int, seed: int, split: str | Path, out: str | Path
) -> None:
    """Write a split of which only a part of the training patients is left.

    Args:
        dataset: its name.
        percent: share of the training patients, above 0, at most 100.
        draw: number of the draw; its fractions are nested, the smaller inside the larger.
        seed: the study's seed.
        split: the dataset's split file.
        out: TSV to write: the same rows; training patients that are not drawn are `unused`.

    Raises:
        SplitError: no training patients, or a percentage out of range.
    """
    rows = read_tsv(split)
    patients = {row["patient"] for row in rows if row["split"] == "train"}
    kept = drawn(patients, percent, draw, seed=seed, dataset=dataset)
    for row in rows:
        if row["split"] == "train" and row["patient"] not in kept:
            row["split"] = UNUSED
    write_tsv(out, COLUMNS, rows)
    logger.info("%s: %d of %d training patients", dataset, len(kept), len(patients))


def drawn(
    patients: Collection[str], percent: float, draw: int, *, seed: int, dataset: str
) -> set[str]:
    """A share of the patients, rounded, at least one: the first ones of the draw's own order."""
    if not patients:
        raise SplitError(f"{dataset}: no training patients to draw {percent:g} % of")
    if not 0 < percent <= 100:
        raise SplitError(f"{dataset}: {percent:g} % of the training patients; give 0 to 100")
    count = max(1, math.floor(len(patients) * percent / 100 + 0.5))
    return set(shuffled(patients, seed, dataset, f"draw {draw}")[:count])
