"""Tables as a plan: rows of runs, columns of classes, all names resolved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hermes.config.registry import RegistryError, nearest, read_yaml, validate
from hermes.config.schema import Card
from hermes.config.study_checks import check_table
from hermes.config.study_schema import ALL, Column, Row, RowEntry, Run, TableEntry


@dataclass(frozen=True)
class Part:
    """Classes of one dataset; no structure named: all of them."""

    dataset: str
    structures: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableColumn:
    """A column with its parts.

    Attributes:
        key, title: as in the table's file.
        parts: what it is the mean of.
        mean: "classes" (every class alike) or "parts" (every part alike).
        below: only classes whose Dice in the reference row is below this; None: all.
        left_out: datasets that belong here but are left out of the study.
    """

    key: str
    title: str
    parts: tuple[Part, ...]
    mean: str
    below: float | None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table of Dice."""

    name: str
    title: str
    published: str
    rows: tuple[Row, ...]
    columns: tuple[TableColumn, ...]
    average: str
    reference: str  # the row that others are compared with
    left_out: tuple[str, ...] = ()  # titles of columns whose datasets are left out of the study

    def datasets(self) -> list[str]:
        """Datasets that any column is made of, each once."""
        return list(dict.fromkeys(p.dataset for column in self.columns for p in column.parts))

    def scored(self) -> list[tuple[str, str]]:
        """(run, dataset) pairs whose scores the table needs, each once."""
        pairs = [(row.runs[name], name) for row in self.rows for name in self.datasets()]
        return list(dict.fromkeys(pairs))


def load_tables(
    config: Path,
    study: str,
    cards: Mapping[str, Card],
    without: Sequence[str],
    runs: Mapping[str, Run],
) -> dict[str, Table]:
    """Read `config/tables.yaml`: the tables that a study can have, by name.

    Args:
        config: the folder `config/`.
        study: the study's name.
        cards: of the study's datasets.
        without: datasets that are left out of it.
        runs: every run that is declared.

    Raises:
        RegistryError: naming the table, the key and the nearest right name.
    """
    path = config / "tables.yaml"
    known = [file.stem for file in (config / "datasets").glob("*.yaml")]
    studies = [file.stem for file in (config / "studies").glob("*.yaml")]
    tables = {}
    for name, values in read_yaml(path).items():
        where = f"{path}: {name}"
        entry = validate(TableEntry, values, where)
        check_table(where, entry, cards, known, studies)
        table = _table(where, name, entry, cards, without, runs)
        if table and entry.study in ("", study):
            tables[name] = table
    return tables


def _table(
    where: str,
    name: str,
    entry: TableEntry,
    cards: Mapping[str, Card],
    without: Sequence[str],
    runs: Mapping[str, Run],
) -> Table | None:
    """A table with its names resolved; None where a column's dataset is not trained on."""
    trained = [dataset for dataset, card in cards.items() if card.role != "downstream"]
    columns = [_column(column, trained, without) for column in _columns(entry, trained)]
    left_out = tuple(column.title for column in columns if not column.parts)
    columns = [column for column in columns if column.parts]
    named = {part.dataset for column in columns for part in column.parts}
    if not columns or not named <= set(trained):
        return None
    rows = tuple(_row(where, row, sorted(named), runs) for row in entry.rows)
    return Table(
        name=name,
        title=entry.title,
        published=entry.published,
        rows=rows,
        columns=tuple(columns),
        average=entry.average,
        reference=entry.reference or rows[0].model,
        left_out=left_out,
    )


def _columns(entry: TableEntry, trained: Sequence[str]) -> list[Column]:
    if entry.columns == "each":
        return [Column(key=name, title=name, of=[name]) for name in trained]
    return entry.columns


def _column(column: Column, trained: Sequence[str], without: Sequence[str]) -> TableColumn:
    parts: dict[str, Part] = {}
    for each in trained if column.of == [ALL] else column.of:
        dataset, _, structure = each.partition("/")
        found = parts.get(dataset, Part(dataset)).structures
        parts[dataset] = Part(dataset, (*found, structure) if structure else found)
    kept = tuple(part for part in parts.values() if part.dataset not in without)
    lost = tuple(name for name in parts if name in without)
    return TableColumn(column.key, column.title, kept, column.mean, column.below, lost)


def _row(where: str, entry: RowEntry, datasets: Sequence[str], runs: Mapping[str, Run]) -> Row:
    of = {name: entry.run.replace("{dataset}", name) for name in datasets}
    for name in of.values():
        if name not in runs:
            raise RegistryError(f"{where}: row {entry.model}: no run {name!r}{nearest(name, runs)}")
    return Row(model=entry.model, runs=of)
