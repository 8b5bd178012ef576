"""Weights of the published ResUNet-based Hermes, read by the names that its checkpoints use.

Its tables have one row more than there are tasks: the last one, which -1 selects, pads the lists
of wanted tasks and takes part in attention. Ours has no such row and masks what is padded, so the
row is dropped unless it is asked for; with it, as one more task, padded lists give the published
numbers too.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hermes.models.build import UNKNOWN, ModelSpec, build_model

NULL_TASK = "published/null"
STATES = ("ema_model_state_dict", "model_state_dict")  # in order of preference

# Every published name is rewritten by these, in turn.
RENAMES = (
    (r"^inc\.conv1\.", "backbone.encoder.stem.0."),
    (r"^inc\.conv2\.", "backbone.encoder.stem.1."),
    (r"^(down\d)\.conv\.1\.", r"backbone.encoder.\1.blocks.0."),
    (r"^(down\d)\.conv\.2\.", r"backbone.encoder.\1.blocks.1."),
    (r"^(up\d)\.conv\.", r"backbone.decoder.\1.blocks."),
    (r"\.(conv1|conv2|shortcut)\.conv\.", r".\1."),
    (r"^prior_(?:init_)?fuse_(\d)\.", lambda found: f"fusions.{int(found[1]) - 2}."),
    (r"\.attn_layers\.", ".blocks."),
    (r"\.prior_aggregate_block\.", ".gather."),
    (r"\.feat_aggregate_block\.", ".inject."),
    (r"\.prior_ffn\.", ".token_ffn."),
    (r"\.feat_ffn\.", ".voxel_ffn."),
    (r"\.fn\.to_q\.", ".query."),
    (r"\.fn\.to_kv\.", ".key_value."),
    (r"\.fn\.to_out\.", ".output."),
    (r"\.(gather|inject)\.norm1\.", r".\1.norm_query."),
    (r"\.(gather|inject)\.norm2\.", r".\1.norm_context."),
    (r"_ffn\.fn\.fc1\.", "_ffn.widen."),
    (r"_ffn\.fn\.fc2\.", "_ffn.narrow."),
    (r"^out\.norm\.", "readout.0."),
    (r"^out\.classifier_pred\.0\.", "readout.1."),
    (r"^out\.classifier_pred\.1\.", "readout.2."),
    (r"^mod_out\.", "modality_head."),
    (r"\.fc1\.", ".0."),
    (r"\.fc2\.", ".2."),
)


def import_published(
    source: str | os.PathLike | Mapping[str, Tensor],
    tasks: Sequence[str] | None = None,
    modalities: Sequence[str] | None = None,
    datasets: Mapping[str, Sequence[str]] | None = None,
    keep_null: bool = False,
) -> tuple[nn.Module, ModelSpec]:
    """A network of ours with the published weights, and its specification.

    Args:
        source: published parameter names -> tensors, or a .safetensors file of them, or a torch
            checkpoint (EMA weights are preferred).
        tasks: names of the task rows in order, without the null row; numbered if not given.
        modalities: names of the modality rows in order, the last one "unknown"; numbered if not
            given.
        datasets: dataset -> its tasks in class order.
        keep_null: keep the null row, as the last task, `NULL_TASK`.

    Raises ValueError if the weights are not those of a ResUNet-based Hermes, or the names are not
    as many as the rows.
    """
    state = read_state(source) if isinstance(source, str | os.PathLike) else source
    state = {our_name(name): value.float() for name, value in state.items()}
    expected = (
        "fusions.0.task_prior",
        "fusions.0.modality_prior",
        "backbone.encoder.stem.0.weight",
    )
    if missing := [name for name in expected if name not in state]:
        raise ValueError(f"not the weights of a published ResUNet-based Hermes: no {missing}")
    rows, (kinds, length, _) = len(state[expected[0]]) - 1, state[expected[1]].shape
    spec = ModelSpec(
        method="hermes",
        backbone="resunet",
        base_channels=len(state[expected[2]]),
        tasks=named("tasks", tasks, [f"published/{row}" for row in range(rows)])
        + (NULL_TASK,) * keep_null,
        datasets={name: tuple(each) for name, each in (datasets or {}).items()},
        modalities=named(
            "modalities", modalities, [f"published {row}" for row in range(kinds - 1)] + [UNKNOWN]
        ),
        prior_length=length,
    )
    if not keep_null:
        state |= {name: value[:-1] for name, value in state.items() if "task_prior" in name}
    model = build_model(spec)
    model.load_state_dict(state)
    return model.eval(), spec


def named(what: str, given: Sequence[str] | None, default: Sequence[str]) -> tuple[str, ...]:
    """The given names, or the default ones; ValueError if they are not equally many."""
    if given is not None and len(given) != len(default):
        raise ValueError(f"{len(given)} names of {what} for {len(default)} rows")
    return tuple(default if given is None else given)


def read_state(path: str | os.PathLike) -> Mapping[str, Tensor]:
    """Parameter names and tensors of a .safetensors file or a torch checkpoint."""
    if Path(path).suffix == ".safetensors":
        return load_file(path)
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    for key in STATES:
        if checkpoint.get(key):
            return checkpoint[key]
    raise ValueError(f"{path} has none of {', '.join(STATES)}; its keys are {list(checkpoint)}")


def our_name(published: str) -> str:
    """Our name of a published parameter."""
    name = published.removeprefix("module.")
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return name
