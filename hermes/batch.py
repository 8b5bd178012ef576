"""A step's batch, whole or the part of it that one process works on at a time.

A batch mixes datasets. Labels stay one integer map per sample; which of its classes are wanted is
said by task ids and label values, padded to the longest sample of the step's whole batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


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
        """A copy on the device, not waited for where the memory is pinned."""
        return Batch(**{k: v.to(device, non_blocking=True) for k, v in vars(self).items()})

    def pin_memory(self) -> "Batch":
        """A copy in memory that a GPU reads by itself; the loader asks for it."""
        return Batch(**{k: v.pin_memory() for k, v in vars(self).items()})


@dataclass
class Part:
    """Some rows of a step's batch, and what must be known of the whole to weigh them.

    Attributes:
        batch: the rows.
        first: the first row's number in the whole batch.
        probability: float32 [whole batch], for draws that are those of the whole batch; stays on
            the CPU.
        pairs: share of the whole batch's real (image, class) pairs.
        known: share of its images whose modality is known.
    """

    batch: Batch
    first: int
    probability: Tensor
    pairs: float
    known: float

    @property
    def rows(self) -> slice:
        """Where the part lies in the whole batch."""
        return slice(self.first, self.first + len(self.batch.tasks))

    def to(self, device: torch.device) -> "Part":
        """A copy whose batch is on the device."""
        return self.holding(self.batch.to(device))

    def pin_memory(self) -> "Part":
        """A copy whose batch a GPU reads by itself."""
        return self.holding(self.batch.pin_memory())

    def holding(self, batch: Batch) -> "Part":
        """The same part of the step with these rows."""
        return Part(batch, self.first, self.probability, self.pairs, self.known)


def collate(samples: Sequence[dict], width: int = 0) -> Batch:
    """Stack samples; task lists are padded to `width`, or to the longest."""
    longest = max(width, *(len(sample["tasks"]) for sample in samples))
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
