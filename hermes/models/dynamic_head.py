"""Dynamic heads, shared by DoDNet and the CLIP-driven model.

A controller computes the weights of a head of three 1x1 layers, 8-8-8-outputs with ReLU between,
from the pooled bottleneck and a code of the task. The head sees eight channels of the decoder's
feature.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hermes.models.interface import as_given

WIDTH = 8  # channels of the head, published
GROUPS = 16  # of the group norms, published

Layer = tuple[Tensor, Tensor]
"""Weight (..., outputs, inputs) and bias (..., outputs) of a 1x1 layer."""


class GroupNormReLU(nn.GroupNorm):
    """Group norm, then ReLU, in the dtype of `x` (autocast would widen it to float32).

    ASSUME: 16 groups, as published, where they divide the channels (base 32 and 8); else as many
    as they have in common.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(math.gcd(GROUPS, channels), channels)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        with as_given(x):
            return F.relu_(F.group_norm(x, self.num_groups, weight, bias, self.eps))


class PooledBottleneck(nn.Module):
    """Group norm, ReLU, mean over the voxels: (b, c, d, h, w) -> (b, c) in the weights' dtype."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = GroupNormReLU(channels)

    def forward(self, x: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b c"]:
        return self.norm(x).mean((2, 3, 4), dtype=self.norm.weight.dtype)


class PreHead(nn.Sequential):
    """Group norm, ReLU and a 1x1 convolution to the channels of the head, 32 -> 8."""

    def __init__(self, channels: int) -> None:
        super().__init__(GroupNormReLU(channels), nn.Conv3d(channels, WIDTH, 1))

    def forward(self, x: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b 8 n"]:
        """The voxels' channels, a view."""
        return super().forward(x).permute(0, 2, 3, 4, 1).flatten(1, 3).transpose(1, 2)


def parameter_count(widths: Sequence[int]) -> int:
    """Numbers in a head of these widths, such as 8-8-8-outputs."""
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))


def split_parameters(numbers: Float[Tensor, "*b p"], widths: Sequence[int]) -> list[Layer]:
    """A head's layers from a controller's numbers: first all weights, then all biases."""
    shapes = [(outputs, inputs) for inputs, outputs in pairwise(widths)]
    sizes = [math.prod(shape) for shape in shapes] + [outputs for outputs, _ in shapes]
    parts = numbers.split(sizes, -1)
    weights = [part.unflatten(-1, shape) for part, shape in zip(parts, shapes, strict=False)]
    return list(zip(weights, parts[len(shapes) :], strict=True))


def apply_layers(x: Float[Tensor, "g c n"], layers: Sequence[Layer]) -> Float[Tensor, "g k n"]:
    """Each group's voxels through its own layers: a grouped convolution as matrix products."""
    for number, (weight, bias) in enumerate(layers):
        x = torch.baddbmm(bias[..., None], weight, x if number == 0 else F.relu_(x))
    return x
