"""The numbers of a study's tables of Dice, for programs: `metrics.json` and `dice.tsv`.

`metrics.json` is what `dvc metrics` compares between commits: table, model, column, Dice in per
cent. `dice.tsv` holds the same with intervals, a row per cell. Cells without a value are left out.
"""

import csv
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path

from hermes.files.atomic import writing
from hermes.files.tables import write_tsv

logger = logging.getLogger(__name__)

COLUMNS = ("table", "model", "column", "dice", "low", "high")


class MetricsError(ValueError):
    """A table's file does not hold what it should; the message names it."""


def run(*, intervals: Mapping[str, str | Path], metrics: str | Path, dice: str | Path) -> None:
    """Gather the cells of all tables.

    Args:
        intervals: table -> `<table>_intervals.csv` of `hermes.report.tables`.
        metrics: JSON to write.
        dice: TSV to write, columns `COLUMNS`; `low` and `high` bound the 95 % interval.

    Raises:
        MetricsError: a file lacks a column, or a cell that is no number.
    """
    cells = {table: read_cells(path) for table, path in intervals.items()}
    nested: dict[str, dict[str, dict[str, float]]] = {table: {} for table in cells}
    for table, rows in cells.items():
        for row in rows:
            nested[table].setdefault(row["model"], {})[row["column"]] = float(row["dice"])
    with writing(metrics) as aside:
        text = json.dumps(nested, indent=2, ensure_ascii=False)
        aside.write_text(f"{text}\n", encoding="utf-8")
    write_tsv(dice, COLUMNS, [{"table": table} | row for table in cells for row in cells[table]])
    logger.info("%d cells of %s", sum(map(len, cells.values())), ", ".join(cells))


def read_cells(path: str | Path) -> list[dict[str, str]]:
    """Cells of a table that have a value: model, column, dice, low, high, as they are written.

    Raises:
        MetricsError: a column is missing, or a cell is no number.
    """
    path = Path(path)
    with open(path, encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    try:
        cells = [{key: row[key] for key in COLUMNS[1:]} for row in rows]
        return [cell for cell in cells if math.isfinite(float(cell["dice"]))]
    except (KeyError, TypeError, ValueError) as error:
        raise MetricsError(
            f"{path}: not the intervals of a table ({error}); build the table again"
        ) from error
