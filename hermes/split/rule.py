"""The paper's split rules: weights over patients, or an official test set with the rest drawn.

75/5/20 % of the patients, or an official test set and the rest divided 95/5. Patients are drawn by
the study's seed, each dataset by itself.
"""

import math
import zlib
from collections import Counter
from collections.abc import Collection

import numpy as np

from hermes.config.schema import Split

SIDES = ("train", "val", "test")

UNUSED = "unused"
"""Side of the cases that a split leaves out; every stage picks its cases by another word."""

COLUMNS = ("case", "patient", "split")
"""Of a split's table."""


class SplitError(ValueError):
    """The cases of a dataset do not allow the split its card asks for."""


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


def describe(rule: Split, seed: int) -> str:
    """The rule in words, for the notes of a split."""
    shares = f"{rule.train:g}/{rule.val:g}/{rule.test:g}"
    return {
        "fraction": f"patients drawn {shares} (train/val/test) with seed {seed}",
        "official_test": f"official test set; the rest drawn {rule.train:g}/{rule.val:g} "
        f"(train/val) with seed {seed}",
        "official": "official subsets as they are",
        "all_test": "every case is a test case",
    }[rule.rule]


def _draw(subsets: dict[str, set[str]], rule: Split, seed: int, dataset: str) -> dict[str, str]:
    """Draw the shares of all patients, or of those outside the official test set."""
    official = {p for p, s in subsets.items() if "test" in s} if rule.rule != "fraction" else set()
    if rule.rule == "official_test" and not official:
        raise SplitError(f"{dataset}: the card names an official test set, but no case is in it")
    rest = shuffled(set(subsets) - official, seed, dataset, "split")
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

    ASSUME: the paper says 75/5/20 % and not how it rounds. Here the test share is rounded, the
    validation share rounded down but at least one patient, the rest trains. Of 30, 131, 20 and the
    50 patients of SS T this makes the counts of the published lists (23/1/6, 99/6/26, 15/1/4,
    38/2/10). It does not of KiTS' 210 (158/10/42, published 159/9/42), SS H's 50 (published
    39/1/10) and the 200 of AMOS CT outside the test set (190/10, published 195/5).

    >>> share_counts(210, Split(rule="fraction", train=75, val=5, test=20))
    {'train': 158, 'val': 10, 'test': 42}
    """
    total = rule.train + rule.val + rule.test
    test = math.floor(patients * rule.test / total + 0.5)
    val = max(1, math.floor(patients * rule.val / total)) if rule.val else 0
    return {"train": patients - test - val, "val": val, "test": test}


def shuffled(patients: Collection[str], seed: int, dataset: str, purpose: str) -> list[str]:
    """The patients in an order that the seed, the dataset's name and the purpose decide."""
    parts = [seed, zlib.crc32(dataset.encode()), zlib.crc32(purpose.encode())]
    ordered = sorted(patients)
    return [ordered[i] for i in np.random.default_rng(parts).permutation(len(ordered))]


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
