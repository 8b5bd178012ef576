"""A study as a plan: which datasets, which runs, which tables; everything derived from config/.

The workflow asks this module and nothing else; it needs no torch, so a dry run is quick.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hermes.config.registry import (
    RegistryError,
    Structure,
    load_cards,
    load_structures,
    nearest,
    read_yaml,
    validate,
)
from hermes.config.schema import Card
from hermes.config.study_checks import check_overrides, check_preprocess, check_study
from hermes.config.study_schema import (
    PROTOCOL_OF_PREPROCESS,
    Preprocess,
    Protocol,
    Run,
    RunEntry,
    RunFile,
    Study,
)
from hermes.config.study_tables import Table, load_tables

COMPARISON = "table2"
"""The paper's comparison of models; a study that has it is reported as the paper is."""

MEASURED_TABLES = ("table1", "table5")
"""What networks cost, and what the datasets are: no Dice."""

PAPER_TABLES = ("table1", "table2", "table3", "table5")


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
        return table[dataset] if dataset in table else table["default"]

    def voxel_scale(self, dataset: str) -> float:
        """How much coarser than published the phantom's images of a dataset are.

        Raises:
            RegistryError: the study's images are not made here.
        """
        if self.study.phantom is None:
            raise RegistryError(f"study {self.study.name}: it has no phantom")
        table = self.study.phantom.voxel_scale
        return table[dataset] if dataset in table else table["default"]

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
        """Training values of a run: the study's, and over them what is said of its method, of
        runs of a pattern, and of itself, the later over the earlier.
        """
        return self._laid_over(run, self.study.train.model_dump(mode="json"), self.study.overrides)

    def options(self, run: str) -> dict:
        """Options of a run's network: its own, and over them the study's."""
        return self._laid_over(run, dict(self.runs[run].options), self.study.options)

    def _laid_over(self, run: str, values: dict, others: dict[str, dict]) -> dict:
        for name, changed in others.items():
            if self.applies(name, run):
                values |= changed
        return values

    def applies(self, name: str, run: str) -> bool:
        """Whether an entry of `overrides` or `options` (method, name, pattern) is for a run."""
        return name == self.runs[run].method or fnmatchcase(run, name)

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

    def reported(self) -> list[str]:
        """Tables: of Dice and, where the study has the paper's main one, of costs and data."""
        return [*self.tables, *(MEASURED_TABLES if COMPARISON in self.tables else ())]

    def configured(self) -> list[str]:
        """Tables that `results/` has under the paper's names where this study is configured."""
        found = self.reported() if COMPARISON in self.tables else []
        return [name for name in PAPER_TABLES if name in found]

    def scored_runs(self) -> list[str]:
        """Names of the runs that any table scores, in the order of `runs`."""
        scored = {run for table in self.tables.values() for run, _ in table.scored()}
        return [name for name in self.runs if name in scored]


READ_BY_CONVERT = ("images", "labels", "ignored_values", "unlisted_values", "modality", "sides")
"""Keys of a card that decide what the convert stage makes."""

READ_BY_TRAIN = ("labels", "task_family", "modality", "intensity", "sampling_weight")
READ_BY_TRAIN += ("augmentation_probability",)
"""Keys of a card that decide what a training is told: `Plan.training_sets`, `Plan.preparation`."""


def names_in(value: str | Sequence[str] | None) -> list[str]:
    """A list of the configuration; on the command line also words parted by commas or spaces."""
    return value.replace(",", " ").split() if isinstance(value, str) else list(value or ())


def load_study(path: str | Path, known_datasets: Iterable[str]) -> Study:
    """Read and check one study; every dataset it names must have a card."""
    path = Path(path)
    study = validate(Study, read_yaml(path), path)
    known = list(known_datasets)
    for name in study.datasets:
        if name not in known:
            raise RegistryError(f"{path}: no card for dataset {name!r}{nearest(name, known)}")
    if study.kind == "phantom" and study.phantom is None:
        raise RegistryError(f"{path}: a phantom study needs the section 'phantom'")
    if study.name != path.stem:
        raise RegistryError(f"{path}: name is {study.name!r}, but the file is called {path.stem!r}")
    return study


def load_plan(
    config: str | Path,
    study: str,
    without: Sequence[str] = (),
    protocol: Mapping[str, Any] | None = None,
) -> Plan:
    """Read a study and everything it refers to.

    Args:
        config: the folder `config/`.
        study: the study's name, a file in `config/studies/`.
        without: datasets of the study that are left out; the tables lose their columns.
        protocol: switches that differ from the study's: of its `protocol`, or of its `preprocess`
            those in `PROTOCOL_OF_PREPROCESS`.

    Raises:
        RegistryError: naming the file, the key and the nearest right name.
    """
    config = Path(config)
    path = config / "studies" / f"{study}.yaml"
    known = [file.stem for file in (config / "datasets").glob("*.yaml")]
    loaded = load_study(path, known)
    structures = load_structures(config / "structures.tsv")
    cards = load_cards(config / "datasets", loaded.datasets, structures)
    check_study(path, loaded, cards)
    check_overrides(path, loaded, _runs(config / "runs.yaml", _trained(cards), known))
    loaded = _switched(loaded, protocol or {}, cards)
    loaded = _changed(loaded, without)
    cards = {name: cards[name] for name in loaded.datasets}
    declared = _runs(config / "runs.yaml", _trained(cards), known)
    # a run on a dataset that the study lacks is declared for another study
    runs = {name: run for name, run in declared.items() if set(run.datasets) <= set(cards)}
    tables = load_tables(config, study, cards, without, declared)
    tables = {n: t for n, t in tables.items() if all(run in runs for run, _ in t.scored())}
    return Plan(loaded, cards, structures, runs, tables)


def _switched(study: Study, switches: Mapping[str, Any], cards: Mapping[str, Card]) -> Study:
    """The study with other switches of the protocol, some of which are values of `preprocess`.

    A switch that has keys (by dataset, by modality) changes those it names and leaves the others.
    """
    where = "configuration: protocol"
    own = study.preprocess.model_dump(exclude_none=True)
    prepared, values = {}, study.protocol.model_dump()
    for name, value in switches.items():
        if name in PROTOCOL_OF_PREPROCESS:
            merged = isinstance(value, Mapping) and isinstance(own[name], Mapping)
            prepared[name] = own[name] | dict(value) if merged else value
        elif name in values:
            values[name] = value
        else:
            near = nearest(str(name), [*values, *PROTOCOL_OF_PREPROCESS])
            raise RegistryError(f"{where}: {name}: unknown key{near}")
    protocol = validate(Protocol, values, where)
    preprocess = validate(Preprocess, own | prepared, where)
    check_preprocess(f"{where}: ", preprocess, study.datasets, cards)
    return study.model_copy(update={"protocol": protocol, "preprocess": preprocess})


def _changed(study: Study, without: Sequence[str]) -> Study:
    """The study without some datasets."""
    for name in without:
        if name not in study.datasets:
            near = nearest(name, study.datasets)
            raise RegistryError(f"configuration: without: {name!r} is not in {study.name}{near}")
    kept = [name for name in study.datasets if name not in without]
    if not kept:
        raise RegistryError(f"configuration: without: no dataset of {study.name} is left")
    return study.model_copy(update={"datasets": kept})


def _trained(cards: dict[str, Card]) -> list[str]:
    return [name for name, card in cards.items() if card.role != "downstream"]


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
        return Run(
            name=name,
            method=entry.method,
            backbone=entry.backbone,
            options=entry.options,
            datasets=datasets,
        )

    if entry.each == "training":
        return [run(entry.name.replace("{dataset}", name), [name]) for name in trained]
    return [run(entry.name, trained if entry.datasets == "training" else entry.datasets)]
