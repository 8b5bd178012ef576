"""What every method has in common: what goes in, what comes out, what it says of itself.

A method is one `nn.Module`,

    forward(image[b 1 d h w], tasks[b k], dataset[b], modality[b]) -> ModelOutput

where `tasks` holds the rows of the wanted tasks, padded with -1, so that training, prediction and
evaluation know nothing of the method. It lives in one file, which ends in a line of
`hermes.models.methods`.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

if TYPE_CHECKING:
    from hermes.dataset import Batch
    from hermes.losses import SegmentationLoss
    from hermes.models.build import ModelSpec

Network = TypeVar("Network", bound=nn.Module)

STRIDE = 16  # four halvings
SMALLEST = 32  # voxels per side; at 16 the bottleneck is one voxel, which has no variance


class ModelOutput(NamedTuple):
    """What a network says of a batch.

    Attributes:
        logits: (b, k, d, h, w) of the wanted tasks, for a sigmoid; padded ones hold finite numbers
            without a meaning.
        modality_logits: (b, m), where there is a head.
        auxiliary: (b, k, d, h, w), a second prediction that only the loss looks at.
        softmax_logits: (b, 1 + K, d, h, w) at each supervised depth, the finest first, for methods
            whose classes exclude each other; channel v is label value v, 0 the background, and
            channels beyond a dataset's own classes hold -inf.
    """

    logits: Tensor
    modality_logits: Tensor | None = None
    auxiliary: Tensor | None = None
    softmax_logits: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Method:
    """A row of `hermes.models.methods`.

    Attributes:
        title: as tables print it.
        paper: author, year, title.
        networks: backbone -> builder of a network of fresh weights.
        loss: the method's own loss of an output and its batch.
        sampling: how its own training draws datasets, see `hermes.dataset.case_probabilities`.
        grows: new tasks can be added without a change of what was learned.
        pools: the loss adds up sums of several images before it takes a ratio, and asks
            `hermes.jobs.distributed.gather_batch` for those of the whole batch.
        remark: what a network's options make of it, as tables print it behind the title.
    """

    title: str
    paper: str
    networks: Mapping[str, Callable[["ModelSpec"], nn.Module]]
    loss: Callable[[ModelOutput, "Batch"], "SegmentationLoss"]
    sampling: Literal["published", "uniform", "sqrt"] = "published"
    grows: bool = False
    pools: bool = False
    remark: Callable[["ModelSpec"], str] | None = None


class Backbone(nn.Module):
    """A network from an image to its full-resolution feature.

    Attributes:
        base_channels: of the feature.
    """

    base_channels: int


def channels_last(module: Network) -> Network:
    """The module, its 3D weights laid out as convolution is fastest."""
    # torch's types do not know this argument
    return module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


def as_given(x: Tensor) -> AbstractContextManager[None]:
    """Autocast off, for arithmetic in the type that its arguments have."""
    if x.device.type == "meta":  # shapes alone, for counting; autocast does not know the device
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def check_size(image: Float[Tensor, "b 1 d h w"]) -> None:
    """Raise ValueError unless each side of the image is a multiple of 16 and at least 32 voxels."""
    size = tuple(image.shape[2:])
    if any(side % STRIDE or side < SMALLEST for side in size):
        raise ValueError(
            f"image of {size} voxels (z, y, x): each side must be a multiple of {STRIDE} and at"
            f" least {SMALLEST}; pad the image or choose another crop size"
        )


def class_logits(
    weights: Float[Tensor, "b k c"],
    feature: Float[Tensor, "b c d h w"],
    bias: Float[Tensor, "b k"] | None = None,
) -> Float[Tensor, "b k d h w"]:
    """Logit of a class at a voxel: the class's vector times the voxel's feature, plus its bias.

    Each image has its own classes, so the cost is that of the classes asked for.
    """
    voxels = feature.permute(0, 2, 3, 4, 1).flatten(1, 3).transpose(1, 2)  # b c (d h w), a view
    if bias is None:
        logits = torch.bmm(weights, voxels)
    else:
        logits = torch.baddbmm(bias[..., None], weights, voxels)
    return logits.unflatten(2, feature.shape[2:])


def row_logits(
    head: nn.Linear, tasks: Int[Tensor, "b k"], feature: Float[Tensor, "b c d h w"]
) -> Float[Tensor, "b k d h w"]:
    """Logits of a 1x1 head with a row per task, for the wanted rows only."""
    rows = tasks.clamp(min=0)
    return class_logits(head.weight[rows], feature, head.bias[rows])


def up_to(logits: Float[Tensor, "b k d h w"], image: Tensor) -> Float[Tensor, "b k d2 h2 w2"]:
    """Logits at the image's size, by trilinear interpolation (corners aligned)."""
    return F.interpolate(logits, size=image.shape[2:], mode="trilinear", align_corners=True)
