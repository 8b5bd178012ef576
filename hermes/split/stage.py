"""The stage: count what is there, assign every patient a side, say what is worth knowing."""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from hermes.config.schema import Split
from hermes.files.tables import read_tsv, write_tsv
from hermes.split.counts import check_counts
from hermes.split.notes import Note, write_notes
from hermes.split.reference import assign_listed
from hermes.split.rule import COLUMNS, SIDES, UNUSED, assign, describe

logger = logging.getLogger(__name__)


def run(
    *,
    dataset: str,
    protocol: str,
    rule: dict,
    seed: int,
    expected: dict[str, int],
    unsure: list[str],
    cases: str | Path,
    manifest: str | Path,
    lists: str | Path,
    out: str | Path,
    notes: str | Path,
) -> None:
    """Write `case patient split` for every case of a dataset.

    Args:
        dataset: its name; part of the seed, so that datasets are drawn independently.
        protocol: `paper`: by the card's rule; `reference`: by the published code's lists, where
            the card says that the dataset is in them.
        rule: the card's `split` section.
        seed: the study's seed.
        expected: number of `patients`, `images` and `empty` images that there should be.
        unsure: those of them on which sources disagree.
        cases: the `cases.tsv` of the convert stage.
        manifest: of the raw files; it says whether they were downloaded or are a person's own.
        lists: the published lists, written by `hermes.split.lists`; "": not needed.
        out: TSV to write; split is train, val, test or unused.
        notes: TSV to write: topic, note, patients.

    Raises:
        SplitError: a share would be empty, or a number is not as it must be.
    """
    rows = read_tsv(cases)
    counted = check_counts(
        dataset,
        rows,
        expected,
        source=json.loads(Path(manifest).read_text("utf-8"))["source"],
        unsure=unsure,
        rejected=str(Path(cases).with_name("rejected.tsv")),
    )
    table, told = assign_cases(dataset, rows, protocol=protocol, rule=rule, seed=seed, lists=lists)
    write_notes(notes, dataset, [*told, *counted])
    write_tsv(out, COLUMNS, table)
    _log(dataset, table, _unit(Split.model_validate(rule)))


def assign_cases(
    dataset: str,
    rows: Sequence[Mapping[str, str]],
    *,
    protocol: str,
    rule: dict,
    seed: int,
    lists: str | Path,
) -> tuple[list[dict[str, str]], list[Note]]:
    """Assign every case of a dataset to a side, whatever the number of cases.

    Args:
        dataset, protocol, rule, seed, lists: as in `run`.
        rows: of the convert stage's `cases.tsv`.

    Returns:
        Rows of the split's table, and what is worth knowing of them.

    Raises:
        SplitError: a share would be empty.
    """
    parsed = Split.model_validate(rule)
    unit = _unit(parsed)
    if protocol == "reference" and parsed.reference:
        images = Counter(row[unit] for row in rows)
        published = json.loads(Path(lists).read_text("utf-8"))["lists"]
        split, told = assign_listed(images, parsed.reference, published, dataset=dataset)
    else:
        split = _by_rule(rows, unit, parsed, seed, dataset)
        why = "; the dataset is not in the published lists" if protocol == "reference" else ""
        told = [Note("protocol", f"paper: {describe(parsed, seed)}{why}")]
    table = [
        {"case": row["case"], "patient": row["patient"], "split": split.get(row[unit], UNUSED)}
        for row in rows
    ]
    return table, told


def _unit(rule: Split) -> str:
    """Column of what is on one side as a whole."""
    return "case" if rule.within_patient else "patient"


def _by_rule(
    rows: Sequence[Mapping[str, str]], unit: str, rule: Split, seed: int, dataset: str
) -> dict[str, str]:
    subsets: dict[str, set[str]] = {}
    for row in rows:
        subsets.setdefault(row[unit], set()).add(row["subset"])
    return assign(subsets, rule, seed=seed, dataset=dataset)


def _log(dataset: str, table: list[dict[str, str]], unit: str) -> None:
    for side in (*SIDES, UNUSED):
        images = [row for row in table if row["split"] == side]
        units = len({row[unit] for row in images})
        if units or side != UNUSED:
            logger.info("%s: %s %d %ss, %d images", dataset, side, units, unit, len(images))
