"""From a specification to a network, and both to and from disk."""

import dataclasses
import difflib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from hermes.files.atomic import writing
from hermes.models.interface import Method
from hermes.models.methods import METHODS
from hermes.origin import file_hash

Value = TypeVar("Value")

UNKNOWN = "unknown"  # the modality of an image that does not say; the last row of the table


@dataclass(frozen=True)
class ModelSpec:
    """Everything that is needed to rebuild a network, and to ask it for a task by name.

    Attributes:
        method: a name in `hermes.models.methods`.
        backbone: one that the method is made for.
        base_channels: channels at full resolution; 32 in the paper.
        tasks: "<family>/<structure>" in row order.
        datasets: dataset -> its tasks in class order (class k is label value k, from 1).
        modalities: names in row order, "unknown" last.
        prior_length: tokens per modality prior; 10 in the paper.
        options: what only some methods know, by name; JSON values.
    """

    method: str
    backbone: str
    base_channels: int
    tasks: tuple[str, ...]
    datasets: dict[str, tuple[str, ...]]
    modalities: tuple[str, ...]
    prior_length: int = 10
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of tasks."""
        return len(self.tasks)

    def __post_init__(self) -> None:
        if not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"tasks must be unique and at least one, got {self.tasks}")
        for dataset, tasks in self.datasets.items():
            if missing := sorted(set(tasks) - set(self.tasks)):
                raise ValueError(f"dataset {dataset} has tasks that the model lacks: {missing}")
        if self.modalities[-1:] != (UNKNOWN,):
            raise ValueError(f'the last modality must be "{UNKNOWN}", got {self.modalities}')

    def to_json(self) -> str:
        """The specification as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "ModelSpec":
        """The specification of `to_json`. Raises TypeError for a missing or unknown field."""
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "ModelSpec":
        """The specification from decoded JSON, whose lists become tuples."""
        datasets = {name: tuple(tasks) for name, tasks in fields["datasets"].items()}
        sequences = {name: tuple(fields[name]) for name in ("tasks", "modalities")}
        return cls(**{**fields, **sequences, "datasets": datasets})


def build_model(spec: ModelSpec) -> nn.Module:
    """A network with fresh weights. Raises ValueError for an unknown method or backbone."""
    networks = method_of(spec).networks
    return choose("backbone", spec.backbone, networks)(spec)


def count_parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def method_of(spec: ModelSpec) -> Method:
    """The entry of a specification's method. Raises ValueError for an unknown one."""
    return choose("method", spec.method, METHODS)


def label_of(model: str, spec: ModelSpec) -> str:
    """A table's name of a model, with what the network's options make of it in brackets."""
    remark = method_of(spec).remark
    said = remark(spec) if remark else ""
    return f"{model} ({said})" if said else model


def grow(
    model: nn.Module,
    spec: ModelSpec,
    tasks: Sequence[str] = (),
    modalities: Sequence[str] = (),
    datasets: Mapping[str, Sequence[str]] | None = None,
) -> tuple[nn.Module, ModelSpec]:
    """A network with rows for more tasks and modalities; everything learned is kept as it was.

    New tasks follow the old ones, new modalities come before "unknown"; both start afresh.
    Answers for old tasks do not change. The model given is left alone; the new one is on the CPU.
    """
    if not method_of(spec).grows:
        raise ValueError(f"{spec.method} cannot take up new tasks: train it anew on all of them")
    grown_spec = dataclasses.replace(
        spec,
        tasks=(*spec.tasks, *tasks),
        modalities=(*spec.modalities[:-1], *modalities, UNKNOWN),
        datasets={
            **spec.datasets,
            **{name: tuple(each) for name, each in (datasets or {}).items()},
        },
    )
    grown = build_model(grown_spec)
    rows = {
        "modality": [grown_spec.modalities.index(name) for name in spec.modalities],
        "task": list(range(len(spec.tasks))),
    }
    state = grown.state_dict()
    for name, learned in model.state_dict().items():
        kept = slice(None)
        if learned.shape != state[name].shape:
            kept = rows["modality" if "modality" in name else "task"]
        state[name][kept] = learned.cpu()
    return grown, grown_spec


def choose(kind: str, name: str, known: Mapping[str, Value]) -> Value:
    """known[name], or a ValueError that names the nearest."""
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"unknown {kind} {name!r}: {hint}known are {', '.join(known)}")


def save_model(
    folder: str | os.PathLike, model: nn.Module, spec: ModelSpec, extra: Mapping
) -> None:
    """Write `model.safetensors`, and `model.json`: specification, hash of the weights, `extra`."""
    weights = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    with writing(Path(folder) / "model.safetensors") as aside:
        save_file(weights, aside)
    record = {
        "spec": dataclasses.asdict(spec),
        "weights_sha256": file_hash(Path(folder) / "model.safetensors"),
        "extra": dict(extra),
    }
    text = json.dumps(record, indent=2)
    with writing(Path(folder) / "model.json") as aside:
        aside.write_text(text + "\n")


def load_model(
    folder: str | os.PathLike, device: str | torch.device = "cpu"
) -> tuple[nn.Module, ModelSpec, dict]:
    """The network (in evaluation mode, on `device`), its specification and what was saved with it.

    Raises FileNotFoundError or ValueError naming the file and what to do.
    """
    described, stored = Path(folder) / "model.json", Path(folder) / "model.safetensors"
    for path in (described, stored):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: train the model, or give its folder")
    try:
        record = json.loads(described.read_text())
        spec = ModelSpec.from_dict(record["spec"])
        model = build_model(spec)
        model.load_state_dict(load_file(stored, device="cpu"))
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ValueError(
            f"{folder} holds no model that can be read ({error}); train it again"
        ) from error
    return model.eval().to(device), spec, record["extra"]
