"""Means of Dice over cases, classes and datasets, and how sure they are.

The paper's convention: the Dice of a class is the mean over the test cases whose reference holds
it; a column is the mean over its classes, or over its parts. An interval is a bootstrap over
patients, the same draws for every model, so that differences between models are paired.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

DRAWS = 2000
"""Of the bootstrap. ASSUME: enough for the ends of a 95 % interval to one decimal."""

LEVEL = (2.5, 97.5)
"""Percentiles of the draws that an interval ends at."""

NO_VALUE = np.array([np.nan])

ClassMeans = Mapping[tuple[str, str], Float[np.ndarray, " _"]]
"""(dataset, structure) -> its mean over cases in per cent, one value per draw; NaN without any."""


@dataclass(frozen=True)
class DiceScores:
    """Dice in per cent of one model on the test cases of one dataset.

    Attributes:
        values: [cases, structures]; NaN where a case's reference lacks the structure.
        structures: names of the columns.
        patients: of each case.
    """

    values: Float[np.ndarray, "cases structures"]
    structures: tuple[str, ...]
    patients: tuple[str, ...]


def read_dice(path: str | Path, grid: str, patients: Mapping[str, str]) -> DiceScores:
    """Read a score file.

    Args:
        path: tidy scores of one run on one dataset.
        grid: `model` or `native`.
        patients: case -> patient; a case that is not in it is a patient of its own.
    """
    frame = pd.read_csv(path, sep="\t", dtype={"case": str})
    frame = frame[(frame["metric"] == "dice") & (frame["grid"] == grid)]
    table = frame.pivot(index="case", columns="structure", values="value") * 100
    table = table.reindex(columns=list(dict.fromkeys(frame["structure"])))
    return DiceScores(
        values=table.to_numpy(dtype=float),
        structures=tuple(table.columns),
        patients=tuple(patients.get(case, case) for case in table.index),
    )


def class_means(
    scores: Mapping[str, DiceScores], seed: int | None = None, draws: int = DRAWS
) -> dict[tuple[str, str], Float[np.ndarray, " draws"]]:
    """Mean Dice of every class, of all cases, or of bootstrap draws of patients.

    Args:
        scores: by dataset.
        seed: of the draws, which depend on it, on the dataset and on its patients alone; None:
            all cases once.
        draws: how many.
    """
    means: dict[tuple[str, str], np.ndarray] = {}
    for dataset, one in scores.items():
        weights = np.ones((1, len(one.patients)))
        if seed is not None:
            weights = _drawn(one.patients, [seed, zlib.crc32(dataset.encode())], draws)
        held = np.isfinite(one.values)
        counts = weights @ held
        sums = weights @ np.where(held, one.values, 0)
        with np.errstate(invalid="ignore"):
            values = np.where(counts > 0, sums / counts, np.nan)
        means |= {(dataset, name): values[:, i] for i, name in enumerate(one.structures)}
    return means


def _drawn(
    patients: Sequence[str], seed: Sequence[int], draws: int
) -> Float[np.ndarray, "draws cases"]:
    """How often each case is in each draw of as many patients as there are."""
    unique, of_case = np.unique(patients, return_inverse=True)
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(len(unique), np.full(len(unique), 1 / len(unique)), draws)
    return counts[:, of_case].astype(float)


def column_mean(
    column: Mapping, means: ClassMeans, reference: ClassMeans
) -> Float[np.ndarray, " draws"]:
    """A column's value for one model, one per draw; NaN where no class has one.

    Args:
        column: `parts` (dataset and structures, empty: all), `mean` ("classes" or "parts") and
            `below` (None, or the Dice that a class has less of in the reference row).
        means: of the model.
        reference: of the row that decides which classes count, of all cases.
    """
    parts = [_classes(part, column["below"], means, reference) for part in column["parts"]]
    if column["mean"] == "classes":
        return mean_of([values for part in parts for values in part], means)
    return mean_of([mean_of(part, means) for part in parts if part], means)


def _classes(
    part: Mapping, below: float | None, means: ClassMeans, reference: ClassMeans
) -> list[Float[np.ndarray, " draws"]]:
    wanted = part["structures"]
    return [
        values
        for (dataset, structure), values in means.items()
        if dataset == part["dataset"]
        and (not wanted or structure in wanted)
        and (below is None or reference.get((dataset, structure), NO_VALUE)[0] < below)
    ]


def mean_of(
    values: Sequence[Float[np.ndarray, " draws"]], means: ClassMeans
) -> Float[np.ndarray, " draws"]:
    """Mean over those that have a value, per draw of `means`; NaN where none has."""
    draws = len(next(iter(means.values())))
    stacked = np.stack([*values, np.full(draws, np.nan)])
    held = np.isfinite(stacked)
    with np.errstate(invalid="ignore"):
        return np.where(held, stacked, 0).sum(0) / held.sum(0)


def interval(draws: Float[np.ndarray, " draws"]) -> tuple[float, float]:
    """The middle 95 % of the draws that have a value."""
    low, high = np.nanpercentile(draws, LEVEL)
    return float(low), float(high)
