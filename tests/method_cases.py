"""What the tests of methods have in common: a small specification, batches, a published form."""

import dataclasses
import functools
from pathlib import Path

import torch

from hermes.config.registry import MODALITIES, tasks_of
from hermes.config.study import Plan, load_plan
from hermes.dataset import Batch
from hermes.models import ModelSpec, build_model

ROOT = Path(__file__).parents[1]
# two datasets share tasks, in another class order; the others have one and two classes
SPEC = ModelSpec(
    method="",
    backbone="resunet",
    base_channels=4,
    tasks=("abdomen/liver", "abdomen/spleen", "abdomen/kidney", "heart/heart", "x/aorta", "x/vein"),
    datasets={
        "ct": ("abdomen/liver", "abdomen/spleen", "abdomen/kidney"),
        "mr": ("abdomen/spleen", "abdomen/liver"),
        "heart": ("heart/heart",),
        "x": ("x/aorta", "x/vein"),
    },
    modalities=("ct", "unknown"),
)
METHODS = ("multi_decoder", "dodnet", "clip_driven", "uniseg", "multitalent")


def spec_of(method: str, **options) -> ModelSpec:
    """The small specification; UniSeg's prompt has the size of a 32^3 crop's bottleneck."""
    if method == "uniseg":
        options = {"prompt_size": 2} | options
    return dataclasses.replace(SPEC, method=method, options=options)


@functools.cache
def paper_plan() -> Plan:
    return load_plan(ROOT / "config", "paper")


def paper_spec(method: str, **options) -> ModelSpec:
    """A network of the paper's size for its eleven datasets."""
    cards = [card for card in paper_plan().cards.values() if card.role == "upstream"]
    return ModelSpec(
        method=method,
        backbone="resunet",
        base_channels=32,
        tasks=tasks_of(cards),
        datasets={card.name: card.tasks for card in cards},
        modalities=MODALITIES,
        options=options,
    )


def fresh(method: str, **options) -> torch.nn.Module:
    """A network whose biases and affine norms are not left at their start."""
    torch.manual_seed(0)
    model = build_model(spec_of(method, **options))
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def batch_of(*datasets: int, size: int = 32) -> Batch:
    """A sample per index; each class is a slab that is as bright as its label value."""
    torch.manual_seed(1)
    own = list(SPEC.datasets.values())
    longest = max(len(own[index]) for index in datasets)
    tasks = torch.full((len(datasets), longest), -1)
    values = torch.zeros_like(tasks)
    label = torch.zeros(len(datasets), size, size, size, dtype=torch.uint8)
    for sample, index in enumerate(datasets):
        count = len(own[index])
        tasks[sample, :count] = torch.tensor([SPEC.tasks.index(task) for task in own[index]])
        values[sample, :count] = torch.arange(1, count + 1)
        for value in range(1, count + 1):
            label[sample, 6 * value : 6 * value + 5, 4:28] = value
    image = label[:, None].float() + 0.3 * torch.randn(len(datasets), 1, size, size, size)
    unknown, dataset = torch.full((len(datasets),), -1), torch.tensor(datasets)
    return Batch(image, label, tasks, values, dataset, unknown, torch.zeros(len(datasets)))


def sample_of(batch: Batch, row: int) -> Batch:
    """One sample of a batch, without padding."""
    real = batch.values[row] > 0
    one = {name: value[row : row + 1] for name, value in vars(batch).items()}
    return Batch(**one | {"tasks": one["tasks"][:, real], "values": one["values"][:, real]})


def ask(model: torch.nn.Module, batch: Batch):
    """The model's output for a batch, in the model's floating type."""
    image = batch.image.to(next(model.parameters()).dtype)
    return model(image, batch.tasks, batch.dataset, batch.modality)
