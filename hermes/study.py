"""A study as a plan: which datasets, which runs, which tables; everything derived from config/.

The workflow asks this module and nothing else; it needs no torch, so a dry run is quick.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from hermes.registry import (
    RegistryError,
    Row,
    Run,
    Structure,
    load_cards,
    load_structures,
    load_study,
    nearest,
    read_yaml,
    validate,
)
from hermes.schema import Card, Closed, Study, Training


class RunEntry(Closed):
    """An entry of `config/runs.yaml`: one network, or one per dataset."""

    name: str = Field(description="with {dataset} where `each` makes one run per dataset")
    method: str
    backbone: str = "resunet"
    each: str = Field("", description="`training`: one run for every dataset trained on")
    datasets: str | list[str] = Field("", description="`training`, or names of datasets")


class RunFile(Closed):
    runs: list[RunEntry]


class Column(Closed):
    key: str
    title: str
    dataset: str
    structures: list[str] = Field(default_factory=list, description="empty: all of the dataset")


class RowEntry(Closed):
    model: str
    run: str = Field(description="name of a run, with {dataset} where each dataset has its own")


class TableEntry(Closed):
    title: str
    study: str = Field("", description="the only study that has this table; empty: any that can")
    published: str = Field("", description="file in config/published/ with the paper's numbers")
    rows: list[RowEntry]
    columns: list[Column] | str = Field(description="`each`: one per dataset of the study")
    average: str = Field("", description="key of a last column with the mean of the others")


@dataclass(frozen=True)
class Table:
    """A table of Dice: rows x columns, all names resolved."""

    name: str
    title: str
    published: str
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    average: str

    def scored(self) -> list[tuple[str, str]]:
        """(run, dataset) pairs whose scores the table needs, each once."""
        pairs = [(row.runs[c.dataset], c.dataset) for row in self.rows for c in self.columns]
        return list(dict.fromkeys(pairs))


@dataclass(frozen=True)
class Plan:
    """A study with its cards, runs and tables."""

    study: Study
    cards: dict[str, Card]
    structures: dict[str, Structure]
    runs: dict[str, Run]
    tables: dict[str, Table]

    def spacing_mm(self, dataset: str) -> float:
        """Isotropic target spacing of a dataset's training grid."""
        table = self.study.preprocess.spacing_mm
        return table.get(dataset, table["default"])

    def voxel_scale(self, dataset: str) -> float:
        """How much coarser than published the phantom's images of a dataset are."""
        table = self.study.phantom.voxel_scale
        return table.get(dataset, table["default"])

    def intensity(self, dataset: str) -> dict[str, dict]:
        """Modality -> window; a card's own window goes before the study's."""
        own = self.cards[dataset].intensity
        windows = self.study.preprocess.intensity
        return {
            modality: (own or window).model_dump(exclude_none=True)
            for modality, window in windows.items()
        }

    def preparation(self, datasets: Iterable[str]) -> dict[str, dict]:
        """Per dataset how images are prepared; kept with a model for use on new scans."""
        return {
            name: {
                "spacing_mm": self.spacing_mm(name),
                "keep_native_z": name in self.study.preprocess.keep_native_z,
                "intensity": self.intensity(name),
                "modality": self.cards[name].modality,
            }
            for name in datasets
        }

    def training(self, run: str) -> dict:
        """Training values of a run: the study's, its method's over them, its own over both."""
        values = self.study.train.model_dump(mode="json")
        overrides = self.study.overrides
        return values | overrides.get(self.runs[run].method, {}) | overrides.get(run, {})

    def training_sets(self, run: str) -> list[dict]:
        """What training needs of each dataset of a run, as plain data."""
        cards = [self.cards[name] for name in self.runs[run].datasets]
        return [
            {
                "name": card.name,
                "tasks": list(card.tasks),
                "weight": card.sampling_weight,
                "augmentation_probability": card.augmentation_probability,
            }
            for card in cards
        ]

    def scored_on(self, run: str) -> list[str]:
        """Datasets that any table scores a run on."""
        pairs = [pair for table in self.tables.values() for pair in table.scored()]
        return list(dict.fromkeys(dataset for name, dataset in pairs if name == run))


def load_plan(config: str | Path, study: str) -> Plan:
    """Read a study and everything it refers to.

    Args:
        config: the folder `config/`.
        study: the study's name, a file in `config/studies/`.

    Raises:
        RegistryError: naming the file, the key and the nearest right name.
    """
    config = Path(config)
    known = [path.stem for path in (config / "datasets").glob("*.yaml")]
    loaded = load_study(config / "studies" / f"{study}.yaml", known)
    structures = load_structures(config / "structures.tsv")
    cards = load_cards(config / "datasets", loaded.datasets, structures)
    trained = [name for name, card in cards.items() if card.role != "downstream"]
    runs = _runs(config / "runs.yaml", trained, known)
    _check_overrides(loaded, runs, config / "studies" / f"{study}.yaml")
    return Plan(
        loaded, cards, structures, runs, _tables(config / "tables.yaml", study, trained, runs)
    )


def _runs(path: Path, trained: list[str], known: list[str]) -> dict[str, Run]:
    entries = validate(RunFile, read_yaml(path), path).runs
    runs = [run for entry in entries for run in _expand(entry, trained)]
    names = [run.name for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RegistryError(f"{path}: runs named twice: {', '.join(twice)}")
    for run in runs:
        for dataset in run.datasets:
            if dataset not in known:
                raise RegistryError(f"{path}: run {run.name}: {dataset!r}{nearest(dataset, known)}")
    return {run.name: run for run in runs}


def _expand(entry: RunEntry, trained: list[str]) -> list[Run]:
    def run(name: str, datasets: list[str]) -> Run:
        return Run(name=name, method=entry.method, backbone=entry.backbone, datasets=datasets)

    if entry.each == "training":
        return [run(entry.name.format(dataset=name), [name]) for name in trained]
    datasets = trained if entry.datasets == "training" else list(entry.datasets)
    return [run(entry.name, datasets)]


def _tables(path: Path, study: str, trained: list[str], runs: dict[str, Run]) -> dict[str, Table]:
    """Tables whose columns the study can fill; the others are not targets of this study."""
    tables = {}
    for name, values in read_yaml(path).items():
        entry = validate(TableEntry, values, f"{path}: {name}")
        columns = _columns(entry, trained)
        if entry.study not in ("", study) or any(
            column.dataset not in trained for column in columns
        ):
            continue
        rows = tuple(_row(path, row, columns, runs) for row in entry.rows)
        tables[name] = Table(
            name, entry.title, entry.published, rows, tuple(columns), entry.average
        )
    return tables


def _columns(entry: TableEntry, trained: list[str]) -> list[Column]:
    if entry.columns == "each":
        return [Column(key=name, title=name, dataset=name) for name in trained]
    return entry.columns


def _row(path: Path, entry: RowEntry, columns: list[Column], runs: dict[str, Run]) -> Row:
    of = {c.dataset: entry.run.format(dataset=c.dataset) for c in columns}
    for name in of.values():
        if name not in runs:
            raise RegistryError(f"{path}: row {entry.model}: no run {name!r}{nearest(name, runs)}")
    return Row(model=entry.model, runs=of)


def _check_overrides(study: Study, runs: dict[str, Run], path: Path) -> None:
    known = {run.method for run in runs.values()} | set(runs)
    for name, values in study.overrides.items():
        if name not in known:
            raise RegistryError(f"{path}: overrides: {name!r}{nearest(name, known)}")
        validate(Training, study.train.model_dump() | values, f"{path}: overrides.{name}")
