"""Checks of names that a study, the runs and the tables refer to; mistakes get the nearest name."""

import fnmatch
from collections.abc import Iterable, Mapping
from pathlib import Path

from hermes.config.registry import RegistryError, nearest, validate
from hermes.config.schema import Card
from hermes.config.study_schema import ALL, Preprocess, Run, Study, TableEntry, Training


def check_study(path: Path, study: Study, cards: Mapping[str, Card]) -> None:
    """Check the keys by dataset and by modality of a study.

    Raises:
        RegistryError: a key that is no dataset of the study, a dataset or modality without a value.
    """
    check_preprocess(f"{path}: preprocess.", study.preprocess, study.datasets, cards)
    _known(f"{path}: predict.shards", study.predict.shards, ["default", *study.datasets])
    if study.phantom:
        _with_default(f"{path}: phantom.voxel_scale", study.phantom.voxel_scale, study.datasets)
        _known(f"{path}: phantom.patients", study.phantom.patients, study.datasets)
        _complete(f"{path}: phantom.patients", study.phantom.patients, study.datasets)


def check_preprocess(
    where: str, section: Preprocess, datasets: list[str], cards: Mapping[str, Card]
) -> None:
    """Check the keys by dataset and by modality of a study's preprocessing.

    Args:
        where: what messages begin with, before a key: the file and the section.
        section: the values.
        datasets: of the study.
        cards: of these datasets.

    Raises:
        RegistryError: a key that is no dataset of the study, a dataset or modality without a value.
    """
    _with_default(f"{where}spacing_mm", section.spacing_mm, datasets)
    _known(f"{where}keep_native_z", section.keep_native_z, datasets)
    _known(f"{where}body_crop", section.body_crop, datasets)
    _known(f"{where}blocks", section.blocks, ["default", *datasets])
    for card in cards.values():
        for modality in (card.modality, *(i.modality for i in card.images if i.modality)):
            if modality not in section.intensity:
                raise RegistryError(
                    f"{where}intensity: no window for modality {modality!r}, which {card.name} has"
                )


def check_overrides(path: Path, study: Study, runs: Mapping[str, Run]) -> None:
    """Check that overrides and options name a method or runs, and training values that exist.

    Raises:
        RegistryError: an unknown method or run, or an unknown training value.
    """
    known = {run.method for run in runs.values()} | set(runs)
    for section, names in (("overrides", study.overrides), ("options", study.options)):
        for name in names:
            if not fnmatch.filter(runs, name):
                _known(f"{path}: {section}", [name], known)
    for name, values in study.overrides.items():
        validate(Training, study.train.model_dump() | values, f"{path}: overrides.{name}")


def check_table(
    where: str,
    entry: TableEntry,
    cards: Mapping[str, Card],
    datasets: Iterable[str],
    studies: Iterable[str],
) -> None:
    """Check the study, the datasets and the structures that a table names.

    Args:
        where: the file and the table, for messages.
        entry: the table.
        cards: cards of the study that is loaded; structures of other datasets are not checked.
        datasets: every dataset with a card.
        studies: every study with a file.

    Raises:
        RegistryError: a name that is not known.
    """
    if entry.study:
        _known(f"{where}: study", [entry.study], studies)
    if entry.columns == "each":
        return
    for column in entry.columns:
        where_of = f"{where}: column {column.key}: of"
        if column.of == [ALL]:
            continue
        for each in column.of:
            dataset, _, structure = each.partition("/")
            _known(where_of, [dataset], datasets)
            if structure and dataset in cards:
                _known(where_of, [structure], cards[dataset].structures)


def _known(where: str, names: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            raise RegistryError(f"{where}: {name!r}{nearest(name, known)}")


def _complete(where: str, values: Mapping[str, object], datasets: Iterable[str]) -> None:
    without = [name for name in datasets if name not in values]
    if without:
        raise RegistryError(f"{where}: no value for {', '.join(without)}")


def _with_default(where: str, values: Mapping[str, object], datasets: list[str]) -> None:
    _known(where, values, ["default", *datasets])
    if "default" not in values:
        _complete(f"{where}: no default", values, datasets)
