"""Training batches: which case, which crop, which tasks; a pure function of (seed, run, step).

A batch mixes datasets. Labels stay one integer map per sample; which of its classes are wanted is
said by task ids and label values, padded to the longest sample of the batch.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hermes.registry import modality_id
from hermes.store import StoredCase, open_case
from hermes.tables import read_tsv


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


@dataclass
class Batch:
    """Crops of a step, axes b c z y x.

    Attributes:
        image: float32 [B, 1, D, H, W], z-scored.
        label: uint8 [B, D, H, W], the dataset's own class values, 0 background.
        tasks: int64 [B, K], row of each wanted task, padded with -1.
        values: int64 [B, K], label value of each wanted task, padded with 0.
        dataset: int64 [B], index of the dataset in the run.
        modality: int64 [B], -1 where unknown.
        probability: float32 [B], of each intensity augmentation.
    """

    image: Tensor
    label: Tensor
    tasks: Tensor
    values: Tensor
    dataset: Tensor
    modality: Tensor
    probability: Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(**{k: v.to(device, non_blocking=True) for k, v in vars(self).items()})


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
    weights = np.concatenate([np.full(len(s.cases), per_case(s)) for s in sets])
    return weights / weights.sum()


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
    ) -> None:
        """Args:
        sets: datasets to draw from; none may be without cases.
        tasks: the run's task names; a task's id is its index.
        size: voxels read per crop, z y x (training crop plus margin).
        batch: crops per step.
        steps: length of the training.
        seed: mixes the study's seed and the run's name.
        sampling: see `case_probabilities`.
        foreground: share of crops centred on a voxel of a random class of the case.
        """
        empty = [s.name for s in sets if not s.cases]
        if empty:
            raise ValueError(f"no cases to draw from in: {', '.join(empty)}")
        self.sets = list(sets)
        self.size = np.asarray(size)
        self.batch, self.steps, self.seed, self.foreground = batch, steps, seed, foreground
        self.members = [(i, case) for i, s in enumerate(self.sets) for case in s.cases]
        self.probabilities = case_probabilities(self.sets, sampling)
        rows = {task: row for row, task in enumerate(tasks)}
        self.task_ids = [[rows[task] for task in s.tasks] for s in self.sets]
        self.opened: dict[tuple[int, str], StoredCase] = {}

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        generator = np.random.default_rng([self.seed, step])
        drawn = generator.choice(len(self.members), size=self.batch, p=self.probabilities)
        samples = [self._sample(*self.members[i], generator) for i in drawn]
        return collate(samples)

    def _open(self, dataset: int, case: str) -> StoredCase:
        key = (dataset, case)
        if key not in self.opened:
            self.opened[key] = open_case(self.sets[dataset].folder, case)
        return self.opened[key]

    def _sample(self, dataset: int, case: str, generator: np.random.Generator) -> dict:
        stored = self._open(dataset, case)
        start = self._start(stored, generator)
        image, label = stored.crop(start, self.size)
        return {
            "image": image,
            "label": label,
            "tasks": self.task_ids[dataset],
            "dataset": dataset,
            "modality": modality_id(stored.meta["modality"]),
            "probability": self.sets[dataset].augmentation_probability,
        }

    def _start(self, stored: StoredCase, generator: np.random.Generator) -> np.ndarray:
        """First voxel of a crop; a volume smaller than the crop is centred in it."""
        points = stored.meta["foreground"]
        if points and generator.random() < self.foreground:
            of_class = points[sorted(points, key=int)[generator.integers(len(points))]]
            centre = np.asarray(of_class[generator.integers(len(of_class))])
            jitter = generator.integers(-(self.size // 4), self.size // 4 + 1)
            return self._inside(stored, centre - self.size // 2 + jitter)
        spare = np.asarray(stored.image.shape) - self.size
        return np.where(spare > 0, generator.integers(0, np.maximum(spare, 0) + 1), spare // 2)

    def _inside(self, stored: StoredCase, start: np.ndarray) -> np.ndarray:
        spare = np.asarray(stored.image.shape) - self.size
        return np.where(spare > 0, np.clip(start, 0, np.maximum(spare, 0)), spare // 2)


def collate(samples: Sequence[dict]) -> Batch:
    """Stack samples; task lists are padded to the longest."""
    longest = max(len(sample["tasks"]) for sample in samples)
    tasks = torch.full((len(samples), longest), -1, dtype=torch.int64)
    values = torch.zeros((len(samples), longest), dtype=torch.int64)
    for row, sample in enumerate(samples):
        count = len(sample["tasks"])
        tasks[row, :count] = torch.tensor(sample["tasks"])
        values[row, :count] = torch.arange(1, count + 1)
    return Batch(
        image=torch.from_numpy(np.stack([s["image"] for s in samples]))[:, None],
        label=torch.from_numpy(np.stack([s["label"] for s in samples])),
        tasks=tasks,
        values=values,
        dataset=torch.tensor([s["dataset"] for s in samples]),
        modality=torch.tensor([s["modality"] for s in samples]),
        probability=torch.tensor([s["probability"] for s in samples], dtype=torch.float32),
    )


def run_seed(seed: int, run: str) -> int:
    """A seed for one run of a study, independent of the order in which runs are trained."""
    return zlib.crc32(f"{seed}/{run}".encode())
