"""Tables of Dice: CSV first, with intervals, Markdown and the sidecar beside it.

A cell is a mean of Dice in per cent on the training grid (`hermes.report.dice` says of what). The
CSV has the paper's layout; a second CSV has the bootstrap interval of every cell and its difference
from the reference row; the Markdown shows both, and the same numbers on the scanners' own grids.
"""

import csv
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from hermes.files.atomic import writing
from hermes.files.tables import read_tsv
from hermes.models.build import ModelSpec, label_of
from hermes.provenance.sidecar import Chain, Made, write_sidecar
from hermes.report.dice import (
    ClassMeans,
    class_means,
    column_mean,
    interval,
    mean_of,
    read_dice,
)
from hermes.report.markdown import grid_text

logger = logging.getLogger(__name__)

MISSING = "-"

INTERVAL_COLUMNS = (
    "model",
    "column",
    "dice",
    "low",
    "high",
    "difference",
    "difference_low",
    "difference_high",
)

Cells = dict[str, dict[str, np.ndarray]]
"""Model -> column key -> values, one per draw; the average column is one of them."""


class ReportError(ValueError):
    """A table cannot be rendered from the scores there are."""


def run(
    *,
    table: dict,
    scores: dict[str, dict[str, str]],
    splits: dict[str, str],
    models: list[str],
    published: str,
    study: dict,
    csv: str | Path,
    intervals: str | Path,
    markdown: str | Path,
    sidecar: str | Path,
    links: dict[str, str] | None = None,
    used: list[str] | None = None,
    settings: dict | None = None,
) -> None:
    """Render one table.

    Args:
        table: title; columns (key, title, parts, mean, below, left_out); rows (model, runs by
            dataset); average, the key of a last column, or empty; reference, the model that the
            others are compared with; left_out, titles of columns that the study cannot have;
            within_patient, titles of datasets with parts of one scan on both sides of the split.
        scores: run -> dataset -> score file.
        splits: dataset -> split file, which says whose a case is.
        models: `model.json` of every run in the table.
        published: CSV with the paper's numbers of the same layout, or empty.
        study: facts for the sidecar, with the `label` printed beside the numbers.
        csv, intervals, markdown, sidecar: files to write.
        links: kind -> path with {dataset} and {run}, of the files that the sidecar's chain lists
            (`hermes.provenance.sidecar.Chain`).
        used: datasets that are scored or that any network was trained on, for the chain.
        settings: what the workflow was told, kept in the sidecar.

    Raises:
        ReportError: a cell has no value at all; it is named.
    """
    table = table | {"labels": _labels(table, models)}
    patients = {name: {r["case"]: r["patient"] for r in read_tsv(p)} for name, p in splits.items()}
    whole = {grid: _cells(table, _means(table, scores, patients, grid)) for grid in GRIDS}
    _check(table, whole["model"])
    drawn = _drawn_cells(table, scores, patients, study["seed"])
    rows = {grid: _rows(table, cells) for grid, cells in whole.items()}
    spread = _spread(table, whole["model"], drawn)
    _write_csv(Path(csv), ["model", *_header(table, "key")], rows["model"])
    _write_csv(Path(intervals), INTERVAL_COLUMNS, [list(row.values()) for row in spread])
    text = _markdown(table, rows, spread, _published(published, table), study)
    with writing(markdown) as aside:
        aside.write_text(text, encoding="utf-8")
    files = [path for by_dataset in scores.values() for path in by_dataset.values()]
    made = Made(
        outputs=[csv, intervals, markdown],
        inputs=[*files, *splits.values(), *models],
        chain=Chain(links or {}, used or [], [(r, d) for r in scores for d in scores[r]]),
        settings=settings or {},
        extra={"table": table},
    )
    write_sidecar(sidecar, study, made)
    shown = grid_text(["Model", *_header(table, "title")], rows["model"])
    logger.info("%s (%s)\n%s", table["title"], study["label"], shown)


GRIDS = ("model", "native")


def _means(
    table: dict, scores: Mapping, patients: Mapping, grid: str, seed: int | None = None
) -> dict[str, ClassMeans]:
    """Model -> class means over all datasets of its row."""
    found: dict[str, ClassMeans] = {}
    for row in table["rows"]:
        files = {dataset: scores[run][dataset] for dataset, run in row["runs"].items()}
        read = {name: read_dice(path, grid, patients[name]) for name, path in files.items()}
        found[row["model"]] = class_means(read, seed)
    return found


def _cells(
    table: dict, means: Mapping[str, ClassMeans], reference: ClassMeans | None = None
) -> Cells:
    reference = reference or means[table["reference"]]
    cells: Cells = {}
    for model, of_model in means.items():
        values = {c["key"]: column_mean(c, of_model, reference) for c in table["columns"]}
        if table["average"]:
            values[table["average"]] = mean_of(list(values.values()), of_model)
        cells[model] = values
    return cells


def _drawn_cells(table: dict, scores: Mapping, patients: Mapping, seed: int) -> Cells:
    """Cells of the bootstrap draws; which classes are difficult stays as all cases say."""
    reference = _means(table, scores, patients, "model")[table["reference"]]
    return _cells(table, _means(table, scores, patients, "model", seed), reference)


def _check(table: dict, cells: Cells) -> None:
    for model, values in cells.items():
        for column in table["columns"]:
            if math.isnan(values[column["key"]][0]):
                raise ReportError(
                    f"{table['title']}: {model} has no Dice for {column['title']}: no test case "
                    "holds any of its classes"
                    + (f", or none is below {column['below']:g}" if column["below"] else "")
                )


def _spread(table: dict, whole: Cells, drawn: Cells) -> list[dict[str, str]]:
    """A row per cell: its value, its interval, and the difference from the reference row."""
    rows = []
    for model, values in whole.items():
        for key, value in values.items():
            apart = drawn[model][key] - drawn[table["reference"]][key]
            numbers = [
                value[0],
                *interval(drawn[model][key]),
                value[0] - whole[table["reference"]][key][0],
                *interval(apart),
            ]
            cells = [table["labels"][model], key, *(f"{number:.2f}" for number in numbers)]
            rows.append(dict(zip(INTERVAL_COLUMNS, cells, strict=True)))
    return rows


def _rows(table: dict, cells: Cells) -> list[list[str]]:
    """Rows of text: the model and its cells with two decimals."""
    return [
        [table["labels"][model], *(_two(v[0]) for v in values.values())]
        for model, values in cells.items()
    ]


def _labels(table: dict, models: list[str]) -> dict[str, str]:
    """Model -> its label, with what its networks' options make of it."""
    found = {Path(path).parent.name: Path(path) for path in models}
    specs = {run: _description(path)["spec"] for run, path in found.items()}
    return {
        row["model"]: label_of(row["model"], ModelSpec.from_dict(specs[run]))
        for row in table["rows"]
        for run in list(row["runs"].values())[:1]
    }


def _two(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:.2f}"


def _header(table: dict, key: str) -> list[str]:
    average = [table["average"].upper() if key == "title" else table["average"]]
    return [column[key] for column in table["columns"]] + (average if table["average"] else [])


def _write_csv(path: Path, header: list[str] | tuple[str, ...], rows: list[list[str]]) -> None:
    with writing(path) as aside, open(aside, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _published(path: str, table: dict) -> list[list[str]]:
    """The paper's rows for the models and columns of this table."""
    if not path:
        return []
    frame = pd.read_csv(path, dtype=str).set_index("model")
    models = [row["model"] for row in table["rows"] if row["model"] in frame.index]
    keys = _header(table, "key")
    return [[model, *(frame.loc[model].get(key, MISSING) for key in keys)] for model in models]


def _markdown(
    table: dict, rows: dict, spread: list[dict[str, str]], paper: list[list[str]], study: dict
) -> str:
    header = ["Model", *_header(table, "title")]
    parts = [
        f"# {table['title']}",
        f"{study['title']}. **{study['label']}.** Dice in per cent: mean over test cases where the "
        "reference holds the class, then over classes.",
        *_remarks(table),
        "## On the training grid",
        grid_text(header, rows["model"]),
        "## How sure: 95 % intervals over test patients",
        grid_text(header, _ranges(table, spread, "low", "high")),
    ]
    if len(table["rows"]) > 1:
        parts += [
            f"## Difference from {table['reference']}, paired over patients",
            "An interval that does not hold 0 is marked *.",
            grid_text(header, _differences(table, spread)),
        ]
    parts += ["## On the scanners' own grids", grid_text(header, rows["native"])]
    if paper:
        parts += [
            "## The paper's numbers, on the public datasets",
            "For comparison of the layout only where the study above is not the paper's.",
            grid_text(header, paper),
        ]
    return "\n\n".join(parts) + "\n"


def _ranges(table: dict, spread: list[dict[str, str]], low: str, high: str) -> list[list[str]]:
    return [
        [label, *(f"{c[low]} to {c[high]}" for c in spread if c["model"] == label)]
        for label in table["labels"].values()
    ]


def _differences(table: dict, spread: list[dict[str, str]]) -> list[list[str]]:
    def shown(cell: dict[str, str]) -> str:
        low, high = float(cell["difference_low"]), float(cell["difference_high"])
        mark = "*" if low > 0 or high < 0 else ""
        return f"{float(cell['difference']):+.2f}{mark} ({low:+.2f} to {high:+.2f})"

    others = [label for model, label in table["labels"].items() if model != table["reference"]]
    return [[label, *(shown(c) for c in spread if c["model"] == label)] for label in others]


def _remarks(table: dict) -> list[str]:
    """What a reader must know of some columns."""
    found = []
    if titles := table["within_patient"]:
        found.append(f"Parts of one scan on both sides of the split: {', '.join(titles)}.")
    for column in table["columns"]:
        if column["below"] is not None:
            found.append(
                f"{column['title']}: classes whose Dice is below {column['below']:g} in the row "
                f"{table['reference']}."
            )
        if column["left_out"]:
            found.append(f"{column['title']} goes without {', '.join(column['left_out'])}.")
    if table["left_out"]:
        lost = ", ".join(table["left_out"])
        found.append(f"Columns that are missing, with their datasets, from this study: {lost}.")
    return found


def _description(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))
