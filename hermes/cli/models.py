"""Every method on every backbone it is made for: its size, its arithmetic, its source."""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from hermes.models.build import ModelSpec, build_model, count_parameters
from hermes.models.methods import METHODS
from hermes.report.cost import count_macs


class Entry(NamedTuple):
    """One network of 32 base channels; `gmac` of 1x1x128^3 asked for one dataset's classes."""

    method: str
    backbone: str
    title: str
    parameters: int
    gmac: float
    paper: str


def list_models(
    datasets: dict[str, tuple[str, ...]], modalities: tuple[str, ...], asked: str
) -> Iterator[Entry]:
    """Yield an entry per method and backbone, counted for the tasks of some datasets.

    Args:
        datasets: name -> tasks in class order.
        modalities: names, "unknown" last.
        asked: the dataset whose classes are asked for.
    """
    tasks = tuple(dict.fromkeys(task for each in datasets.values() for task in each))
    for name, method in METHODS.items():
        for backbone in method.networks:
            spec = ModelSpec(name, backbone, 32, tasks, datasets, modalities)
            with torch.device("meta"):
                parameters = count_parameters(build_model(spec))
            gmac = count_macs(spec, asked) / 1e9
            yield Entry(name, backbone, method.title, parameters, gmac, method.paper)
