"""What a run trains on: its cases, the crops of each step, fixed crops to validate on."""

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hermes.batch import Batch, Part
from hermes.config.study_schema import Training
from hermes.dataset import (
    CropDataset,
    PartsDataset,
    TrainingSet,
    cases_of,
    labelled_cases,
    run_seed,
)
from hermes.jobs.distributed import Ranks
from hermes.models.build import ModelSpec, method_of
from hermes.train import augment

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Data:
    """What a process sees of a run's data.

    Attributes:
        train: its parts of every step.
        held_out: its parts of some fixed batches of validation cases; may be none.
        seed: the run's, mixed into the draws of augmentation.
    """

    train: PartsDataset
    held_out: list[list[Part]]
    seed: int


def load_data(
    datasets: list[dict],
    folders: list[str],
    splits: list[str],
    spec: ModelSpec,
    settings: Training,
    seed: int,
    name: str,
    ranks: Ranks,
) -> Data:
    """The data of run `name` of a study with this seed; other arguments as of `hermes.train.run`.

    Raises ValueError: a dataset without cases, or a batch that the processes cannot share.
    """
    of_run = run_seed(seed, name)
    steps = settings.epochs * settings.iterations
    train = crops(sets(datasets, folders, splits, "train"), spec, settings, of_run, steps)
    validation = sets(datasets, folders, splits, "val")
    held_out = []
    if any(s.cases for s in validation) and settings.validation_crops:
        plain = settings.model_copy(update={"augment": False, "sampling": "uniform"})
        count = -(-settings.validation_crops // settings.batch)
        of_all = run_seed(seed, "validation")
        whole = crops(validation, spec, plain, of_all, count, some_empty=True)
        own = parts(whole, settings, ranks)
        held_out = [own[step] for step in range(count)]
    return Data(parts(train, settings, ranks), held_out, of_run)


def sets(
    datasets: list[dict], folders: list[str], splits: list[str], part: str
) -> list[TrainingSet]:
    """The run's datasets with the cases of one part of their splits."""
    return [
        TrainingSet(
            name=d["name"],
            tasks=tuple(d["tasks"]),
            folder=Path(folder),
            cases=_labelled(d["name"], Path(folder), cases_of(split, part), part),
            weight=d["weight"],
            augmentation_probability=d["augmentation_probability"],
        )
        for d, folder, split in zip(datasets, folders, splits, strict=True)
    ]


def _labelled(dataset: str, folder: Path, cases: tuple[str, ...], part: str) -> tuple[str, ...]:
    known = labelled_cases(folder)
    dropped = [case for case in cases if case not in known]
    if dropped:
        logger.warning("%s: no reference, left out of %s: %s", dataset, part, ", ".join(dropped))
    return tuple(case for case in cases if case in known)


def crops(
    sets: list[TrainingSet],
    spec: ModelSpec,
    settings: Training,
    seed: int,
    steps: int,
    some_empty: bool = False,
) -> CropDataset:
    """Whole batches of so many steps; arguments as of `CropDataset`."""
    margin = settings.margin if settings.augment else 0
    native = settings.sampling == "native"
    return CropDataset(
        sets,
        spec.tasks,
        size=[n + margin for n in settings.crop],
        batch=settings.batch,
        steps=steps,
        seed=seed,
        sampling=method_of(spec).sampling if native else settings.sampling,
        foreground=settings.foreground,
        some_empty=some_empty,
    )


def parts(crops: CropDataset, settings: Training, ranks: Ranks) -> PartsDataset:
    """The share of a process in whole batches."""
    accumulate = settings.accumulate
    return PartsDataset(crops, rank=ranks.rank, ranks=ranks.count, accumulate=accumulate)


def augmented(part: Part, settings: Training, step: int, seed: int) -> Part:
    """The part, augmented by its rows of what is drawn for the whole batch."""
    generator = torch.Generator().manual_seed((seed << 24) + step)
    drawn = augment.draw(
        part.probability, settings.crop, settings.margin, generator, settings.affine_probability
    )
    own: dict[str, Any] = {
        name: value[part.rows] for name, value in vars(drawn).items() if isinstance(value, Tensor)
    }
    drawn = dataclasses.replace(drawn, **own)
    image, label = augment.apply(drawn, part.batch.image, part.batch.label)
    return part.holding(Batch(**{**vars(part.batch), "image": image, "label": label}))
