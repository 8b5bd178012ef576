"""What a network costs before it is run: its multiply-accumulates."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from hermes.models.build import ModelSpec, build_model


def wanted(
    spec: ModelSpec, dataset: str, batch: int, device: str | torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tasks [batch, k], dataset [batch] and modality [batch] that ask for a dataset's classes."""
    rows = [spec.tasks.index(task) for task in spec.datasets[dataset]]
    tasks = torch.tensor([rows] * batch, device=device)
    which = torch.full((batch,), list(spec.datasets).index(dataset), device=device)
    return tasks, which, torch.zeros(batch, dtype=torch.int64, device=device)


def count_macs(spec: ModelSpec, dataset: str, size: int = 128) -> float:
    """Multiply-accumulates of one image [1, 1, size, size, size] asked for a dataset's classes.

    Convolutions and matrix products are counted, on shapes alone: nothing is computed.
    """
    with torch.device("meta"):
        model = build_model(spec).eval()
        image = torch.empty(1, 1, size, size, size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image, *wanted(spec, dataset, 1, "meta"))
    return counter.get_total_flops() / 2
