"""Tables of Dice per dataset: CSV first, Markdown and the sidecar beside it.

A cell is the mean over classes of the mean over test cases of the Dice in per cent, over the
classes that a case's reference holds (the paper's convention), on the training grid. Beside the
paper's table layout, the Markdown has the same numbers on the scanners' own grids.
"""

import csv
import json
import logging
from pathlib import Path

import pandas as pd

from hermes.atomic import writing
from hermes.report.provenance import write_sidecar

logger = logging.getLogger(__name__)

MISSING = "-"


class ReportError(ValueError):
    """A table cannot be rendered from the scores there are."""


def run(
    *,
    table: dict,
    scores: dict[str, dict[str, str]],
    models: list[str],
    published: str,
    study: dict,
    csv: str | Path,
    markdown: str | Path,
    sidecar: str | Path,
) -> None:
    """Render one table.

    Args:
        table: title; columns (key, title, dataset, structures, within_patient
            where parts of one scan are on both sides of the split); rows (model, runs by
            dataset); average, the key of a last column, or empty.
        scores: run -> dataset -> score file.
        models: `model.json` of every run in the table.
        published: CSV with the paper's numbers of the same layout, or empty.
        study: facts for the sidecar, with the `label` printed beside the numbers.
        csv, markdown, sidecar: files to write.

    Raises:
        ReportError: a cell has no value at all; it is named.
    """
    frames = {
        (name, dataset): read_scores(path)
        for name, by_dataset in scores.items()
        for dataset, path in by_dataset.items()
    }
    rows = {grid: _rows(table, frames, grid) for grid in ("model", "native")}
    _write_csv(Path(csv), table, rows["model"])
    paper = _published(published, table)
    with writing(markdown) as aside:
        aside.write_text(_markdown(table, rows, paper, study), encoding="utf-8")
    files = [path for by_dataset in scores.values() for path in by_dataset.values()]
    runs = {Path(path).parent.name: _model_facts(Path(path)) for path in models}
    write_sidecar(sidecar, study, [*files, *models], csv, {"table": table, "models": runs})
    logger.info("%s (%s)\n%s", table["title"], study["label"], _grid(table, rows["model"]))


def read_scores(path: str | Path) -> pd.DataFrame:
    """Read a score file; cells without a value are NaN."""
    return pd.read_csv(path, sep="\t", dtype={"case": str})


def dice_per_cent(scores: pd.DataFrame, structures: list[str], grid: str) -> float:
    """Mean Dice over classes of the mean over cases, in per cent; NaN without any value.

    Args:
        scores: tidy scores of one run on one dataset.
        structures: classes that count; empty: all.
        grid: `model` or `native`.
    """
    wanted = scores[(scores["metric"] == "dice") & (scores["grid"] == grid)]
    if structures:
        wanted = wanted[wanted["structure"].isin(structures)]
    return float(wanted.groupby("structure")["value"].mean().mean() * 100)


def _rows(table: dict, frames: dict, grid: str) -> list[list[str]]:
    """Rows of text: the model, its cells with two decimals, and the average where asked."""
    return [[row["model"], *_cells(table, row, frames, grid)] for row in table["rows"]]


def _cells(table: dict, row: dict, frames: dict, grid: str) -> list[str]:
    values = []
    for column in table["columns"]:
        frame = frames[row["runs"][column["dataset"]], column["dataset"]]
        value = dice_per_cent(frame, column["structures"], grid)
        if pd.isna(value):
            raise ReportError(
                f"{table['title']}: {row['model']} has no Dice on {column['dataset']} "
                f"({', '.join(column['structures']) or 'all classes'}): no test case holds it"
            )
        values.append(value)
    if table["average"]:
        values.append(sum(values) / len(values))
    return [f"{value:.2f}" for value in values]


def _header(table: dict, key: str) -> list[str]:
    average = [table["average"].upper() if key == "title" else table["average"]]
    return [column[key] for column in table["columns"]] + (average if table["average"] else [])


def _write_csv(path: Path, table: dict, rows: list[list[str]]) -> None:
    with writing(path) as aside, open(aside, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["model", *_header(table, "key")])
        writer.writerows(rows)


def _published(path: str, table: dict) -> list[list[str]]:
    """The paper's rows for the models and columns of this table."""
    if not path:
        return []
    frame = pd.read_csv(path, dtype=str).set_index("model")
    models = [row["model"] for row in table["rows"] if row["model"] in frame.index]
    keys = _header(table, "key")
    return [[model, *(frame.loc[model].get(key, MISSING) for key in keys)] for model in models]


def _grid(table: dict, rows: list[list[str]]) -> str:
    """The table as aligned Markdown."""
    lines = [["Model", *_header(table, "title")], *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(li, widths, strict=True)) + " |"
        for li in lines
    ]
    rule = "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join([text[0], rule, *text[1:]])


def _markdown(table: dict, rows: dict, paper: list[list[str]], study: dict) -> str:
    parts = [
        f"# {table['title']}",
        f"{study['title']}. **{study['label']}.** Dice in per cent: mean over test cases where the "
        "reference holds the class, then over classes.",
        *_within_patient(table),
        "## On the training grid",
        _grid(table, rows["model"]),
        "## On the scanners' own grids",
        _grid(table, rows["native"]),
    ]
    if paper:
        parts += [
            "## The paper's numbers, on the public datasets",
            "For comparison of the layout only where the study above is not the paper's.",
            _grid(table, paper),
        ]
    return "\n\n".join(parts) + "\n"


def _within_patient(table: dict) -> list[str]:
    """The line that names the columns whose test cases are parts of training scans."""
    titles = [c["title"] for c in table["columns"] if c.get("within_patient", False)]
    return [f"Parts of one scan on both sides of the split: {', '.join(titles)}."] if titles else []


def _model_facts(path: Path) -> dict:
    """What a model's description says of its training."""
    extra = json.loads(path.read_text(encoding="utf-8"))["extra"]
    wanted = ("seed", "device", "precision", "parameters", "training")
    return {key: extra[key] for key in wanted if key in extra}
