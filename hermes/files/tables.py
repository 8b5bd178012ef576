"""Tab-separated tables, the form in which the stages hand lists to one another."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hermes.files.atomic import writing


class TableError(ValueError):
    """A table cannot be read or written; the message names the file."""


def read_tsv(path: str | Path) -> list[dict[str, str]]:
    """Read a table with a header line; every value is the text between two tabs.

    Raises:
        TableError: no such file, no header, or a line with another number of columns.
    """
    path = Path(path)
    if not path.is_file():
        raise TableError(f"{path}: no such table; run the stage that writes it first")
    with open(path, encoding="utf-8", newline="") as handle:
        lines = list(csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not lines:
        raise TableError(f"{path}: empty; a table has at least its header line")
    columns, *rows = lines
    for number, row in enumerate(rows, start=2):
        if len(row) != len(columns):
            raise TableError(
                f"{path}: line {number} has {len(row)} columns, the header has {len(columns)}"
            )
    return [dict(zip(columns, row, strict=True)) for row in rows]


def write_tsv(
    path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]
) -> None:
    """Write a table aside and rename it; each row holds exactly the named columns.

    Values are written as `str` makes them.

    Raises:
        TableError: a row lacks a column or has another one, or a value holds a tab or a newline.
    """
    lines = [list(columns)] + [_fields(path, columns, row) for row in rows]
    with writing(path) as aside:
        text = "".join("\t".join(line) + "\n" for line in lines)
        aside.write_text(text, encoding="utf-8", newline="\n")


def _fields(path: str | Path, columns: Sequence[str], row: Mapping[str, object]) -> list[str]:
    if set(row) != set(columns):
        odd = sorted(set(row) ^ set(columns))
        raise TableError(f"{path}: a row and the header disagree about the columns {odd}")
    fields = [str(row[column]) for column in columns]
    for field in fields:
        if any(mark in field for mark in "\t\r\n"):
            raise TableError(f"{path}: a tab or a newline in {field!r}")
    return fields
