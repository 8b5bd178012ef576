"""Which class of which dataset a task is, for methods that are told the dataset of an image.

Such a method has outputs per dataset and answers only its own dataset's tasks. Tasks that datasets
share (AMOS CT and MR) are an output of each of them.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int
from torch import Tensor, nn


class DatasetClasses(nn.Module):
    """A table (dataset, task row) -> class number in that dataset, from 1; 0 where it has none.

    It has no parameters and is not saved: the specification says it all.
    """

    table: Tensor

    def __init__(self, tasks: Sequence[str], datasets: Mapping[str, Sequence[str]]) -> None:
        """Args:
        tasks: names in row order.
        datasets: dataset -> its tasks in class order.
        """
        super().__init__()
        if not datasets or not all(datasets.values()):
            raise ValueError(f"each dataset needs a task, and there must be one: {dict(datasets)}")
        self.tasks, self.datasets = tuple(tasks), tuple(datasets)
        self.counts = tuple(len(own) for own in datasets.values())
        table = torch.zeros(len(datasets), len(tasks), dtype=torch.int64)
        for line, own in enumerate(datasets.values()):
            table[line, [self.tasks.index(task) for task in own]] = torch.arange(1, len(own) + 1)
        self.register_buffer("table", table, persistent=False)

    def forward(self, tasks: Int[Tensor, "b k"], dataset: Int[Tensor, " b"]) -> Int[Tensor, "b k"]:
        """Class numbers of the wanted tasks, 0 where padded.

        Raises ValueError for a task that is not of its image's dataset.
        """
        indices = self.indices(dataset)
        number = self.table[dataset[:, None], tasks.clamp(min=0)].where(tasks >= 0, 0)
        foreign = (number == 0) & (tasks >= 0)
        if not tasks.is_meta and foreign.any():
            row, column = foreign.nonzero()[0].tolist()
            raise ValueError(
                f"task {self.tasks[tasks[row, column]]!r} is not one of dataset"
                f" {self.datasets[indices[row]]!r}: this method answers a dataset's own tasks;"
                " ask once per dataset"
            )
        return number

    def indices(self, dataset: Int[Tensor, " b"]) -> list[int]:
        """The datasets as integers. Raises ValueError for one that the network was not built for.

        On the meta device, where costs are counted, all are the first.
        """
        indices = [0] * len(dataset) if dataset.is_meta else dataset.tolist()
        if unknown := [index for index in indices if not 0 <= index < len(self.datasets)]:
            raise ValueError(f"dataset {unknown[0]}: known are 0..{len(self.datasets) - 1}")
        return indices
