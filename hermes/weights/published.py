"""Weights of the two published Hermes networks, read by the names that their checkpoints use.

Their tables have one row more than there are tasks: the last one, which -1 selects, pads the lists
of wanted tasks and takes part in attention. Ours has no such row and masks what is padded, so the
row is dropped unless it is asked for; with it, as one more task, padded lists give the published
numbers too.
"""

import os
import pickle
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hermes.models.build import UNKNOWN, ModelSpec, build_model
from hermes.models.medformer import head_count
from hermes.models.resunet import widths
from hermes.weights.published_names import MEDFORMER, RESUNET, STAGES, head_by_head, our_names

NULL_TASK = "published/null"
STATES = ("ema_model_state_dict", "model_state_dict")  # in order of preference


def import_published(
    source: str | os.PathLike | Mapping[str, Tensor],
    tasks: Sequence[str] | None = None,
    modalities: Sequence[str] | None = None,
    datasets: Mapping[str, Sequence[str]] | None = None,
    keep_null: bool = False,
    heads: Sequence[int] | None = None,
) -> tuple[nn.Module, ModelSpec]:
    """A network of ours with the published weights, and its specification.

    Args:
        source: published parameter names -> tensors, or a .safetensors file of them, or a torch
            checkpoint (EMA weights are preferred). Which network it is, and its sizes, follow
            from names and shapes.
        tasks: names of the task rows in order, without the null row; numbered if not given.
        modalities: names of the modality rows in order, the last one "unknown"; numbered if not
            given.
        datasets: dataset -> its tasks in class order.
        keep_null: keep the null row, as the last task, `NULL_TASK`.
        heads: attention heads of a MedFormer-based network at down2, down3, down4, up1, up2, which
            no shape tells; of 32 channels, as published, if not given.

    Raises ValueError if the weights are not those of a published Hermes, or the names are not as
    many as the rows, or a file cannot be read as tensors alone.
    """
    published = read_state(source) if isinstance(source, str | os.PathLike) else source
    backbone, state, options = recognise(published, heads)
    tables = "priors.0" if backbone == "medformer" else "fusions.0"
    stem = "backbone.stem.0" if backbone == "medformer" else "backbone.encoder.stem.0"
    expected = (f"{tables}.task_prior", f"{tables}.modality_prior", f"{stem}.weight")
    if missing := [name for name in expected if name not in state]:
        raise ValueError(f"not the weights of a published Hermes: no {missing}")
    rows, (kinds, length, _) = len(state[expected[0]]) - 1, state[expected[1]].shape
    spec = ModelSpec(
        method="hermes",
        backbone=backbone,
        base_channels=len(state[expected[2]]),
        tasks=named("tasks", tasks, [f"published/{row}" for row in range(rows)])
        + (NULL_TASK,) * keep_null,
        datasets={name: tuple(each) for name, each in (datasets or {}).items()},
        modalities=named(
            "modalities", modalities, [f"published {row}" for row in range(kinds - 1)] + [UNKNOWN]
        ),
        prior_length=length,
        options=options,
    )
    if not keep_null:
        state |= {name: value[:-1] for name, value in state.items() if "task_prior" in name}
    model = build_model(spec)
    if backbone == "medformer":
        state = head_by_head(state, options["heads"])
    try:
        model.load_state_dict(state)
    except RuntimeError as error:  # torch lists what is missing, what is new and what has no fit
        raise ValueError(f"not the weights of a published Hermes: {error}") from error
    return model.eval(), spec


def recognise(
    published: Mapping[str, Tensor], heads: Sequence[int] | None
) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
    """The backbone, its state under our names, and the options that its shapes tell."""
    if not any("map_fusion." in name for name in published):
        return "resunet", our_names(published, RESUNET), {}
    state = our_names(published, MEDFORMER)
    stem, weights = "backbone.stem.0.weight", "backbone.down2.map.weights.weight"
    blocks = [count_blocks(state, stage) for stage in STAGES]
    if missing := [name for name in (stem, weights) if name not in state]:
        raise ValueError(f"not the weights of a published Hermes: no {missing}")
    if heads is None:
        _, _, c2, c3, c4 = widths(len(state[stem]))
        heads = [head_count(channels) for channels in (c2, c3, c4, c3, c2)]
    options = {
        "attention_blocks": blocks,
        "heads": list(heads),
        "map_tokens": len(state[weights]),
    }
    return "medformer", state, options


def count_blocks(state: Mapping[str, Tensor], stage: str) -> int:
    """Attention blocks of a stage, from the names of its parameters."""
    pattern = re.compile(rf"backbone\.{stage}\.exchange\.blocks\.(\d+)\.")
    return 1 + max((int(found[1]) for found in map(pattern.match, state) if found), default=-1)


def named(what: str, given: Sequence[str] | None, default: Sequence[str]) -> tuple[str, ...]:
    """The given names, or the default ones; ValueError if they are not equally many."""
    if given is not None and len(given) != len(default):
        raise ValueError(f"{len(given)} names of {what} for {len(default)} rows")
    return tuple(default if given is None else given)


def task_rows(published: Mapping[str, Tensor]) -> int:
    """Number of tasks of published weights, the null row not counted."""
    for name, value in published.items():
        if name.endswith("task_prior"):
            return len(value) - 1
    raise ValueError("not the weights of a published Hermes: no table of task priors")


def read_state(path: str | os.PathLike) -> Mapping[str, Tensor]:
    """Parameter names and tensors of a .safetensors file or a torch checkpoint.

    A checkpoint is a pickle, which may hold code; it is read as tensors and plain values alone,
    and refused if it holds anything else, of which nothing has been run then.
    """
    try:
        if Path(path).suffix == ".safetensors":
            return load_file(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its text advises to run what the file holds
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f": it holds {found[1]}" if found else ""
        raise ValueError(
            f"{path} is no checkpoint of tensors and plain values alone{what}; nothing of it was"
            " run. If you trust where it comes from, save its weights as .safetensors and give that"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, struct.error) as error:
        raise ValueError(
            f"{path} is no file of weights, or only a part of one ({error}); get it again"
        ) from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f"{path} holds a {type(checkpoint).__name__}, not a checkpoint's dict")
    for key in STATES:
        if checkpoint.get(key):
            return checkpoint[key]
    raise ValueError(f"{path} has none of {', '.join(STATES)}; its keys are {list(checkpoint)}")
