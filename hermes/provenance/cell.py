"""The chain of one number: test cases and their Dice, predictions, network, training cases, raw."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hermes.config.registry import nearest
from hermes.files.tables import read_tsv
from hermes.provenance.record import ProvenanceError, Record, short
from hermes.provenance.text import columns
from hermes.report.dice import DiceScores, class_means, column_mean, read_dice

CASES = 20
"""Test cases that are named; the score file has all."""


def cell_text(record: Record, model: str, column: str) -> str:
    """How one number of a table of Dice came about.

    Args:
        record: of the table.
        model: a row, as the table names it.
        column: key or title of a column, or the average's.

    Raises:
        ProvenanceError: the table has no such row or column, or none of Dice.
    """
    layout = record.facts.get("table")
    if layout is None:
        raise ProvenanceError(f"{record.table}: not a table of Dice, so no cell has a chain")
    row = _row(record, layout, model)
    label = layout["labels"][row["model"]]
    value = _value(record, label, _key(layout, column))
    if layout["average"] and _key(layout, column) == layout["average"]:
        return _average(record, layout, label, value)
    chosen = next(one for one in layout["columns"] if one["key"] == _key(layout, column))
    head = [f"{record.table}: {label}, {chosen['title']}: {value}"]
    if said := _computed(record, layout, row, chosen, value):
        head.append(said)
    parts = [_part(record, row["runs"][part["dataset"]], part) for part in chosen["parts"]]
    return "\n\n".join(["\n".join(head), *parts])


def _row(record: Record, layout: Mapping[str, Any], model: str) -> dict[str, Any]:
    known = {row["model"].lower(): row for row in layout["rows"]}
    known |= {layout["labels"][row["model"]].lower(): row for row in layout["rows"]}
    if model.lower() not in known:
        names = [row["model"] for row in layout["rows"]]
        raise ProvenanceError(f"{record.table}: no row {model!r}{_near(model, names)}")
    return known[model.lower()]


def _key(layout: Mapping[str, Any], column: str) -> str:
    names = {one["title"].lower(): one["key"] for one in layout["columns"]}
    names |= {one["key"].lower(): one["key"] for one in layout["columns"]}
    if layout["average"]:
        names[layout["average"].lower()] = layout["average"]
    if column.lower() not in names:
        raise ProvenanceError(f"no column {column!r}{_near(column, names.values())}")
    return names[column.lower()]


def _near(name: str, known: Iterable[str]) -> str:
    """The nearest name, whatever the case of its letters."""
    as_written = {one.lower(): one for one in known}
    said = nearest(name.lower(), as_written)
    for lower, one in as_written.items():
        said = said.replace(repr(lower), repr(one))
    return said if "did you mean" in said else f"; known: {', '.join(as_written.values())}"


def _value(record: Record, label: str, key: str) -> str:
    with open(record.sidecar.with_suffix(".csv"), encoding="utf-8", newline="") as handle:
        rows = {row["model"]: row for row in csv.DictReader(handle)}
    if label not in rows or key not in rows[label]:
        raise ProvenanceError(f"{record.table}: lacks {label}, {key}, which its sidecar names")
    return rows[label][key]


def _average(record: Record, layout: Mapping[str, Any], label: str, value: str) -> str:
    rows = [[one["key"], _value(record, label, one["key"])] for one in layout["columns"]]
    ask = f'hermes provenance {record.table} --cell "{label}" {rows[0][0]}'
    head = f"{record.table}: {label}, {layout['average']}: {value}, the mean of its columns"
    return "\n".join([head, *columns(rows), f"Of each of them: {ask}"])


def _computed(
    record: Record,
    layout: Mapping[str, Any],
    row: Mapping[str, Any],
    column: Mapping[str, Any],
    value: str,
) -> str:
    """What the column is the mean of, and whether the score files give the table's value now."""
    reference = next(one for one in layout["rows"] if one["model"] == layout["reference"])
    means = [class_means(_read(record, one, column)) for one in (row, reference)]
    now = f"{column_mean(column, *means)[0]:.2f}"
    of = "datasets" if column["mean"] == "parts" else "classes"
    said = f"mean over {of} of the mean Dice over test cases that hold the class, in per cent"
    if column["below"] is not None:
        said += f"; classes below {column['below']:g} in the row {layout['reference']}"
    return said if now == value else f"{said}\nNOT the same now: the score files give {now}"


def _read(
    record: Record, row: Mapping[str, Any], column: Mapping[str, Any]
) -> dict[str, DiceScores]:
    names = [part["dataset"] for part in column["parts"]]
    paths = {name: _path(record, "scores", row["runs"][name], name) for name in names}
    return {name: read_dice(path, "model", {}) for name, path in paths.items()}


def _path(record: Record, kind: str, run: str = "", dataset: str = "") -> Path:
    path = record.root / record.chain.path(kind, run, dataset)
    if not path.is_file():
        made = path.relative_to(record.root)
        raise ProvenanceError(f"{path}: not there; make it: snakemake --cores all {made}")
    return path


def _part(record: Record, run: str, part: Mapping[str, Any]) -> str:
    """The chain below one dataset of a column."""
    dataset, facts = part["dataset"], record.facts
    title = dataset + (f" ({', '.join(part['structures'])})" if part["structures"] else "")
    model, counts = facts["models"][run], facts["datasets"]
    names = list(model.get("data", {})) or [dataset]
    chain = [
        ["scores", record.chain.path("scores", run, dataset)],
        ["predictions", record.chain.path("predictions", run, dataset)],
        ["network", str(Path(record.chain.path("model", run)).parent)],
    ]
    chain[0].append(record.hash_of("scores", run, dataset))
    chain[1].append(record.hash_of("predictions", run, dataset))
    chain[2].append(short(model.get("weights_sha256", "")))
    trained = [["", "train", "val", "preprocessed", "split", "raw files"]]
    for name in [name for name in names if name in counts]:
        hashes = [record.hash_of(kind, dataset=name) for kind in ("preprocessed", "split")]
        raw = counts[name]["raw"]
        trained.append([name, str(counts[name]["train"]), str(counts[name]["val"]), *hashes])
        trained[-1].append(f"{raw['files']}, {short(raw['files_sha256'])}")
    return "\n".join(
        [
            *(title, *columns(_dice(record, run, part))),
            *("from", *columns(chain)),
            f"trained on, in {model.get('steps', '?')} steps, seed {model.get('seed', '?')}",
            *columns(trained),
        ]
    )


def _dice(record: Record, run: str, part: Mapping[str, Any]) -> list[list[str]]:
    """A line per test case: its Dice, mean over the column's classes, and its predicted file."""
    dataset = part["dataset"]
    scores = read_dice(_path(record, "scores", run, dataset), "model", {})
    wanted = [not part["structures"] or name in part["structures"] for name in scores.structures]
    manifest = read_tsv(_path(record, "predictions", run, dataset))
    files = {row["case"]: row for row in manifest}
    rows = [["test case", "Dice", "predicted on the training grid"]]
    for case, values in zip(scores.patients[:CASES], scores.values[:, wanted], strict=False):
        held = values[np.isfinite(values)]
        mean = f"{held.mean():.2f}" if held.size else "-"
        row = files[case]
        rows.append([case, mean, f"{row['grid']} {short(row['grid_sha256'])}"])
    if (rest := len(scores.patients) - CASES) > 0:
        rows.append([f"and {rest} more"])
    return rows
