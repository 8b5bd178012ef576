"""Split: assign every patient of a dataset to training, validation or test.

The paper's rules are weights over patients (75/5/20 %), or an official test set with the rest
divided 95/5. A patient is on one side only, whatever the number of images.
"""

import logging
import math
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

from hermes.schema import Split
from hermes.tables import read_tsv, write_tsv

logger = logging.getLogger(__name__)

COLUMNS = ("case", "patient", "split")


class SplitError(ValueError):
    """The cases of a dataset do not allow the split its card asks for."""


def run(
    *,
    dataset: str,
    cases: str | Path,
    rule: dict,
    seed: int,
    out: str | Path,
    expected: dict[str, int],
    exact: bool,
) -> None:
    """Write `case patient split` for every case of a dataset.

    Args:
        dataset: its name; part of the seed, so that datasets are drawn independently.
        cases: the `cases.tsv` of the convert stage.
        rule: the card's `split` section.
        seed: the study's seed.
        out: the TSV to write.
        expected: number of `patients` and, where known, `images` that there should be.
        exact: other numbers are an error; otherwise they are a warning in the log, as for a
            person's own copy of a public dataset.

    Raises:
        SplitError: a share that the rule asks for would be empty, or a number is not as expected.
    """
    rows = read_tsv(cases)
    check_counts(dataset, rows, expected, exact)
    parsed = Split.model_validate(rule)
    unit = "case" if parsed.within_patient else "patient"
    subsets: dict[str, set[str]] = {}
    for row in rows:
        subsets.setdefault(row[unit], set()).add(row["subset"])
    split = assign(subsets, parsed, seed=seed, dataset=dataset)
    write_tsv(
        out,
        COLUMNS,
        [{**_identity(row), "split": split[row[unit]]} for row in rows],
    )
    images = Counter(split[row[unit]] for row in rows)
    units = Counter(split.values())
    for name in ("train", "val", "test"):
        logger.info("%s: %s %d %ss, %d images", dataset, name, units[name], unit, images[name])


def check_counts(
    dataset: str, rows: list[dict[str, str]], expected: dict[str, int], exact: bool
) -> None:
    """Compare the numbers of patients and images with what is expected; see `run`."""
    found = {"patients": len({row["patient"] for row in rows}), "images": len(rows)}
    wrong = [f"{found[k]} {k} instead of {n}" for k, n in expected.items() if found[k] != n]
    if not wrong:
        return
    message = f"{dataset}: {', '.join(wrong)}; rejected.tsv of the convert stage may say why"
    if exact:
        raise SplitError(message)
    logger.warning(message)


def _identity(row: dict[str, str]) -> dict[str, str]:
    return {"case": row["case"], "patient": row["patient"]}


def assign(subsets: dict[str, set[str]], rule: Split, *, seed: int, dataset: str) -> dict[str, str]:
    """Assign patients to `train`, `val` or `test`.

    Args:
        subsets: patient -> official subsets of its images.
        rule: the split rule.
        seed: the study's seed.
        dataset: name of the dataset, mixed into the seed.

    Raises:
        SplitError: a patient lies in two official subsets, or a share with a weight (of
            `official_test` also the test share) is empty.
    """
    if rule.rule in ("official", "official_test"):
        _one_subset_each(subsets, dataset)
    if rule.rule == "all_test":
        split = dict.fromkeys(subsets, "test")
    elif rule.rule == "official":
        split = _official(subsets, dataset)
    else:
        split = _draw(subsets, rule, seed, dataset)
    _no_share_empty(split, rule, dataset)
    return split


def _draw(subsets: dict[str, set[str]], rule: Split, seed: int, dataset: str) -> dict[str, str]:
    """Draw the shares of all patients, or of those outside the official test set."""
    official = {p for p, s in subsets.items() if "test" in s} if rule.rule != "fraction" else set()
    if rule.rule == "official_test" and not official:
        raise SplitError(f"{dataset}: the card names an official test set, but no case is in it")
    rest = _shuffled(set(subsets) - official, seed, dataset)
    counts = share_counts(len(rest), rule)
    if counts["train"] < 1:
        raise SplitError(
            f"{dataset}: {len(rest)} patients are too few for the shares "
            f"{rule.train:g}/{rule.val:g}/{rule.test:g}"
        )
    drawn = ["test"] * counts["test"] + ["val"] * counts["val"] + ["train"] * counts["train"]
    return dict.fromkeys(sorted(official), "test") | dict(zip(rest, drawn, strict=True))


def _no_share_empty(split: dict[str, str], rule: Split, dataset: str) -> None:
    held = Counter(split.values())
    weights = {"train": rule.train, "val": rule.val, "test": rule.test}
    empty = [name for name, weight in weights.items() if weight > 0 and not held[name]]
    if empty:
        raise SplitError(
            f"{dataset}: no patient for {' and '.join(empty)}, which the card's split gives a "
            f"weight (rule {rule.rule}, {len(split)} patients)"
        )


def share_counts(patients: int, rule: Split) -> dict[str, int]:
    """Number of patients per share.

    The test share is rounded, the validation share rounded down but at least one patient, the
    rest trains. For 30, 131, 50 and 20 patients and 75/5/20 this gives the counts of the paper's
    lists (23/1/6, 99/6/26, 38/2/10, 15/1/4).
    """
    total = rule.train + rule.val + rule.test
    test = math.floor(patients * rule.test / total + 0.5)
    val = max(1, math.floor(patients * rule.val / total)) if rule.val else 0
    return {"train": patients - test - val, "val": val, "test": test}


def _shuffled(patients: set[str], seed: int, dataset: str) -> list[str]:
    generator = np.random.default_rng([seed, zlib.crc32(dataset.encode()), zlib.crc32(b"split")])
    ordered = sorted(patients)
    return [ordered[i] for i in generator.permutation(len(ordered))]


def _official(subsets: dict[str, set[str]], dataset: str) -> dict[str, str]:
    without = sorted(patient for patient, subset in subsets.items() if subset == {""})
    if without:
        raise SplitError(f"{dataset}: no official subset for {', '.join(without[:5])}")
    return {patient: next(iter(subset)) for patient, subset in sorted(subsets.items())}


def _one_subset_each(subsets: dict[str, set[str]], dataset: str) -> None:
    mixed = sorted(patient for patient, subset in subsets.items() if len(subset) > 1)
    if mixed:
        raise SplitError(
            f"{dataset}: patients in more than one official subset: {', '.join(mixed[:5])}"
        )
