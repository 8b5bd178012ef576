"""Which case, which crop, which tasks a step trains on; a pure function of (seed, run, step).

Places are drawn for a step's whole batch, and then read: all of them, or the part of a process.
"""

import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hermes.batch import Batch, Part, collate
from hermes.config.registry import modality_id
from hermes.files.store import StoredCase, open_case
from hermes.files.tables import read_tsv

OPEN_CASES = 200
"""Cases that a process holds open, two files each: ASSUME: well below the usual limit of 1,024."""


@dataclass(frozen=True)
class TrainingSet:
    """One dataset of a run.

    Attributes:
        name: the dataset.
        tasks: task names in class order; class k (1-based) has the label value k.
        folder: of the preprocessed cases.
        cases: names of the cases to draw from.
        weight: published weight of one of its volumes in universal training.
        augmentation_probability: of each intensity augmentation.
    """

    name: str
    tasks: tuple[str, ...]
    folder: Path
    cases: tuple[str, ...]
    weight: float
    augmentation_probability: float


def cases_of(split: str | Path, part: str) -> tuple[str, ...]:
    """Names of the cases that a split file assigns to `train`, `val` or `test`."""
    return tuple(row["case"] for row in read_tsv(split) if row["split"] == part)


def labelled_cases(folder: str | Path) -> set[str]:
    """Names of the preprocessed cases that have a reference: voxels were counted in it."""
    return {row["case"] for row in read_tsv(Path(folder) / "cases.tsv") if row["foreground_voxels"]}


def case_probabilities(sets: Sequence[TrainingSet], sampling: str) -> np.ndarray:
    """Probability of every (dataset, case), in order; sums to 1.

    Args:
        sets: the run's datasets.
        sampling: `published` (weight per volume), `uniform` (datasets alike) or `sqrt` (datasets
            by the square root of their volumes, as MultiTalent does).
    """
    per_case = {
        "published": lambda s: s.weight,
        "uniform": lambda s: 1.0 / len(s.cases),
        "sqrt": lambda s: len(s.cases) ** -0.5,
    }[sampling]
    weights = np.concatenate([np.full(len(s.cases), per_case(s)) for s in sets if s.cases])
    return weights / weights.sum()


@dataclass(frozen=True)
class CaseFacts:
    """What drawing a crop needs to know of a case.

    Attributes:
        shape: voxels of its image, (z, y, x).
        points: for each of its classes, some voxels, [n, 3].
        modality: -1 where unknown.
    """

    shape: tuple[int, ...]
    points: list[np.ndarray]
    modality: int


@dataclass(frozen=True)
class Place:
    """A crop that was drawn: the case, and the crop's first voxel (z, y, x), maybe outside."""

    dataset: int
    case: str
    start: np.ndarray
    modality: int


class CropDataset(torch.utils.data.Dataset):
    """Map-style dataset whose item `step` is the whole batch of that step."""

    def __init__(
        self,
        sets: Sequence[TrainingSet],
        tasks: Sequence[str],
        *,
        size: Sequence[int],
        batch: int,
        steps: int,
        seed: int,
        sampling: str,
        foreground: float,
        some_empty: bool = False,
    ) -> None:
        """Args:
        sets: datasets to draw from, in the run's order.
        tasks: the run's task names; a task's id is its index.
        size: voxels read per crop, z y x (training crop plus margin).
        batch: crops per step.
        steps: length of the training.
        seed: mixes the study's seed and the run's name.
        sampling: see `case_probabilities`.
        foreground: share of crops centred on a voxel of a random class of the case.
        some_empty: a dataset may have no case; it is never drawn.
        """
        empty = [s.name for s in sets if not s.cases]
        if empty and not some_empty:
            raise ValueError(f"no cases to draw from in: {', '.join(empty)}")
        self.sets = list(sets)
        self.size = np.asarray(size)
        self.batch, self.steps, self.seed, self.foreground = batch, steps, seed, foreground
        self.members = [(i, case) for i, s in enumerate(self.sets) for case in s.cases]
        self.probabilities = case_probabilities(self.sets, sampling)
        rows = {task: row for row, task in enumerate(tasks)}
        self.task_ids = [[rows[task] for task in s.tasks] for s in self.sets]
        self.opened: OrderedDict[tuple[int, str], StoredCase] = OrderedDict()
        self.facts: dict[tuple[int, str], CaseFacts] = {}

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        return self.read(self.places(step))

    def places(self, step: int) -> list[Place]:
        """Where the crops of a step's whole batch lie."""
        generator = np.random.default_rng([self.seed, step])
        drawn = generator.choice(len(self.members), size=self.batch, p=self.probabilities)
        return [self._place(*self.members[int(i)], generator) for i in drawn]

    def read(self, places: Sequence[Place], width: int = 0) -> Batch:
        """The crops at these places, their tasks padded to `width` or to the longest."""
        return collate([self._sample(place) for place in places], width)

    def _sample(self, place: Place) -> dict:
        image, label = self._open(place.dataset, place.case).crop(place.start, self.size)
        return {
            "image": image,
            "label": label,
            "tasks": self.task_ids[place.dataset],
            "dataset": place.dataset,
            "modality": place.modality,
            "probability": self.sets[place.dataset].augmentation_probability,
        }

    def _open(self, dataset: int, case: str) -> StoredCase:
        key = (dataset, case)
        if key not in self.opened:
            self.opened[key] = open_case(self.sets[dataset].folder, case)
            if len(self.opened) > OPEN_CASES:
                self.opened.popitem(last=False)
        self.opened.move_to_end(key)
        return self.opened[key]

    def _facts(self, dataset: int, case: str) -> CaseFacts:
        key = (dataset, case)
        if key not in self.facts:
            stored = self._open(dataset, case)
            points = stored.meta["foreground"]
            self.facts[key] = CaseFacts(
                shape=tuple(stored.image.shape),
                points=[np.asarray(points[k], np.int32) for k in sorted(points, key=int)],
                modality=modality_id(stored.meta["modality"]),
            )
        return self.facts[key]

    def _place(self, dataset: int, case: str, generator: np.random.Generator) -> Place:
        facts = self._facts(dataset, case)
        return Place(dataset, case, self._start(facts, generator), facts.modality)

    def _start(self, facts: CaseFacts, generator: np.random.Generator) -> np.ndarray:
        """First voxel of a crop; a volume smaller than the crop is centred in it."""
        points, spare = facts.points, np.asarray(facts.shape) - self.size
        if points and generator.random() < self.foreground:
            of_class = points[generator.integers(len(points))]
            centre = of_class[generator.integers(len(of_class))]
            jitter = generator.integers(-(self.size // 4), self.size // 4 + 1)
            start = np.clip(centre - self.size // 2 + jitter, 0, np.maximum(spare, 0))
        else:
            start = generator.integers(0, np.maximum(spare, 0) + 1)
        return np.where(spare > 0, start, spare // 2)


class PartsDataset(torch.utils.data.Dataset):
    """The share that one of several processes has of each step's batch, in equal parts."""

    def __init__(self, crops: CropDataset, *, rank: int, ranks: int, accumulate: int) -> None:
        """Args:
        crops: whole batches.
        rank: number of this process, from 0.
        ranks: number of processes.
        accumulate: parts that a process works off one after the other.

        Raises ValueError: the batch cannot be shared equally.
        """
        if crops.batch % (ranks * accumulate):
            raise ValueError(
                f"{crops.batch} crops per step cannot be shared equally by {ranks} processes in "
                f"{accumulate} parts each; change batch, ranks or accumulate"
            )
        self.crops = crops
        self.size = crops.batch // (ranks * accumulate)
        self.firsts = [(rank * accumulate + part) * self.size for part in range(accumulate)]

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, step: int) -> list[Part]:
        places = self.crops.places(step)
        return [self._part(places, first) for first in self.firsts]

    def _part(self, places: list[Place], first: int) -> Part:
        own = places[first : first + self.size]
        counts = [len(self.crops.task_ids[place.dataset]) for place in places]
        known = [place.modality >= 0 for place in places]
        chances = [self.crops.sets[place.dataset].augmentation_probability for place in places]
        rows = slice(first, first + self.size)
        return Part(
            batch=self.crops.read(own, width=max(counts)),
            first=first,
            probability=torch.tensor(chances, dtype=torch.float32),
            pairs=sum(counts[rows]) / sum(counts),
            known=sum(known[rows]) / max(1, sum(known)),
        )


def run_seed(seed: int, run: str) -> int:
    """A seed for one run of a study, independent of the order in which runs are trained."""
    return zlib.crc32(f"{seed}/{run}".encode())
