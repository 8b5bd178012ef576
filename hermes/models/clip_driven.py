"""The CLIP-driven universal model: a dynamic head per image and class, from a class embedding.

Liu, Zhang, Chen, Xiao, Lu, Landman, Yuan, Yuille, Tang and Zhou 2023, CLIP-Driven Universal Model
for Organ Segmentation and Tumor Detection (ICCV). Here: class embedding and pooled bottleneck
(256 numbers each) -> controller -> a head of 153 numbers per (image, class), on the ResUNet; the
published loss, binary cross-entropy and Dice of each labelled class. 40,853,441 parameters at base
32 with text embeddings, which are a buffer. Left out: its backbones, its label merging and
post-processing, and nested regions (a class is its exact label value, as for all methods).

Options (`options:` of a run):
    embedding: `learnable` (default), a vector of 256 per class; `one_hot`, fixed; or `file`, fixed
        text embeddings made by `hermes.weights.clip_embeddings`. Without text the method is not
        CLIP, so tables call it "CLIP-driven (no text)".
    path: the file. It is read for a fresh network; a saved one holds its embeddings.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from hermes.models.dynamic_head import (
    WIDTH,
    PooledBottleneck,
    PreHead,
    apply_layers,
    parameter_count,
    split_parameters,
)
from hermes.models.interface import ModelOutput, as_given, check_size
from hermes.models.resunet import ResUNet, widths

if TYPE_CHECKING:
    from hermes.models.build import ModelSpec

TEXT_SIZE = 512  # numbers in a text embedding of CLIP ViT-B/32
CODE_SIZE = 256  # numbers for the image and for the class, published
HEAD_WIDTHS = (WIDTH, WIDTH, WIDTH, 1)


class CLIPDriven(nn.Module):
    """ResUNet, class embeddings, controller and a dynamic head per image and class."""

    def __init__(self, backbone: ResUNet, tasks: Sequence[str], options: Mapping[str, Any]) -> None:
        super().__init__()
        c0, *_, c4 = widths(backbone.base_channels)
        self.backbone = backbone
        self.embedding = make_embedding(tasks, options)
        self.image_code = nn.Sequential(PooledBottleneck(c4), nn.Linear(c4, CODE_SIZE))
        self.controller = nn.Linear(2 * CODE_SIZE, parameter_count(HEAD_WIDTHS))
        self.pre_head = PreHead(c0)

    def forward(
        self,
        image: Float[Tensor, "b 1 d h w"],
        tasks: Int[Tensor, "b k"],
        dataset: Int[Tensor, " b"],
        modality: Int[Tensor, " b"],
    ) -> ModelOutput:
        """Logits of the wanted tasks; dataset and modality are not looked at."""
        check_size(image)
        columns = wanted_columns(tasks)
        features = self.backbone.encoder(image)
        numbers = self.head_numbers(features[-1], tasks)
        voxels = self.pre_head(self.backbone.decoder(features))
        samples = zip(voxels, numbers, columns, strict=True)
        logits = torch.stack([class_heads(*sample) for sample in samples])
        return ModelOutput(logits.unflatten(2, image.shape[2:]))

    def head_numbers(self, bottleneck: Tensor, tasks: Tensor) -> Float[Tensor, "b k p"]:
        """The controller's answer for each (image, class)."""
        with as_given(bottleneck):  # few numbers: float32
            classes = self.embedding()[tasks.clamp(min=0)]
            images = self.image_code(bottleneck)[:, None].expand_as(classes)
            return self.controller(torch.cat([images, classes], -1))


def wanted_columns(tasks: Int[Tensor, "b k"]) -> list[list[int]]:
    """Of each image, the columns that are not padded (all on the meta device)."""
    rows = torch.zeros(tasks.shape).tolist() if tasks.is_meta else tasks.tolist()
    return [[column for column, task in enumerate(row) if task >= 0] for row in rows]


def class_heads(
    voxels: Float[Tensor, "8 n"], numbers: Float[Tensor, "k p"], columns: list[int]
) -> Float[Tensor, "k n"]:
    """Logits of an image's classes; those of padded ones, 0, cost nothing.

    The first layer of all classes is one product, since all see the same voxels.
    """
    first, *others = split_parameters(numbers[columns], HEAD_WIDTHS)
    weight, bias = (part.flatten(0, 1) for part in first)
    hidden = torch.addmm(bias[:, None], weight, voxels).unflatten(0, (-1, WIDTH))
    logits = apply_layers(F.relu_(hidden), others)[:, 0]
    if len(columns) == len(numbers):
        return logits
    index = torch.tensor(columns, dtype=torch.int64, device=logits.device)
    return logits.new_zeros(len(numbers), logits.shape[1]).index_copy(0, index, logits)


class LearnableEmbedding(nn.Module):
    """A learned code per class."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.randn(classes, CODE_SIZE))

    def forward(self) -> Float[Tensor, "t 256"]:
        return self.codes


class FixedEmbedding(nn.Module):
    """A fixed vector per class, linearly to a code, ReLU."""

    vectors: Tensor

    def __init__(self, vectors: Float[Tensor, "t e"]) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors)
        self.to_code = nn.Linear(vectors.shape[1], CODE_SIZE)

    def forward(self) -> Float[Tensor, "t 256"]:
        return F.relu(self.to_code(self.vectors))


class FileEmbedding(FixedEmbedding):
    """Fixed vectors from a file, or from the state that is loaded.

    What is wrong with the file is said when the network is used, since one that is loaded from
    disk brings its own vectors.
    """

    def __init__(self, path: str | Path, tasks: Sequence[str]) -> None:
        super().__init__(torch.zeros(len(tasks), TEXT_SIZE))
        self.problem = ""
        try:
            self.vectors = read_embeddings(path, tasks).to(self.vectors.device)
        except (OSError, ValueError) as error:
            self.problem = str(error)
        self.register_load_state_dict_post_hook(lambda module, _: setattr(module, "problem", ""))

    def forward(self) -> Float[Tensor, "t 256"]:
        if self.problem:
            raise ValueError(self.problem)
        return super().forward()


def make_embedding(tasks: Sequence[str], options: Mapping[str, Any]) -> nn.Module:
    """The embedding that the options ask for. Raises ValueError for options that do not exist."""
    if unknown := sorted(set(options) - {"embedding", "path"}):
        raise ValueError(f"clip_driven: unknown options {unknown}: known are embedding, path")
    kind, path = options.get("embedding", "learnable"), options.get("path")
    if (kind == "file") != bool(path):
        raise ValueError("clip_driven: `embedding: file` and `path: ...` go together")
    if path:
        return FileEmbedding(path, tasks)
    if kind == "learnable":
        return LearnableEmbedding(len(tasks))
    if kind == "one_hot":
        return FixedEmbedding(torch.eye(len(tasks)))
    raise ValueError(f"clip_driven: embedding {kind!r}: known are learnable, one_hot, file")


def read_embeddings(path: str | Path, tasks: Sequence[str]) -> Float[Tensor, "t 512"]:
    """Embeddings of the tasks, in their order, from a safetensors file.

    It holds the tensor `embeddings` (names x 512) and, in its metadata, `tasks`, a JSON list of
    names; it may know more tasks than are asked for. Raises FileNotFoundError or ValueError that
    says what is missing.
    """
    advice = "make it with `python -m hermes.weights.clip_embeddings`"
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file of text embeddings: {advice}")
    try:
        with safe_open(path, "pt") as file:
            embeddings = file.get_tensor("embeddings").float()
            names = json.loads((file.metadata() or {})["tasks"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: holds no text embeddings ({error}): {advice}") from error
    if embeddings.shape != (len(names), TEXT_SIZE) or len(set(names)) != len(names):
        shape = tuple(embeddings.shape)
        raise ValueError(f"{path}: {len(names)} names, embeddings {shape}: {advice}")
    if missing := [task for task in tasks if task not in names]:
        unknown = [name for name in names if name not in tasks]
        raise ValueError(f"{path}: lacks {missing}, has unknown {unknown}: {advice}")
    if not embeddings.isfinite().all():
        raise ValueError(f"{path}: some embeddings are not finite numbers: {advice}")
    return embeddings[[names.index(task) for task in tasks]]


def text_remark(spec: "ModelSpec") -> str:
    """What a table says of the row: whether text was used."""
    return "" if spec.options.get("embedding") == "file" else "no text"
