"""Depthwise 3^3 convolution, alone or after an instance norm; features channels-last.

On a CPU, torch's channels-last kernel is the fast one forwards (4-20 times as fast as
channels-first), but its gradients take 10-30 times as long as the convolution. Here the gradient
with respect to the input is a convolution by the mirrored weight, and that with respect to the
weight is three 2D ones per image, whose kernels are fast. The normalised input is made again in
the backward pass, so that only the input is kept. Elsewhere torch's own operations are used.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hermes.models.interface import as_given

INPUT_EPS = 1e-5  # published: norms before a depthwise-separable convolution; others have 1e-4


def voxels(feature: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b n c"]:
    """A feature as rows of channels; a view where it is channels-last."""
    return feature.permute(0, 2, 3, 4, 1).flatten(1, 3)


def volume(rows: Float[Tensor, "b n c"], like: Tensor) -> Float[Tensor, "b c d h w"]:
    """Rows of channels as a channels-last feature of the size of `like`; a view."""
    return rows.unflatten(1, like.shape[2:]).permute(0, 4, 1, 2, 3)


class DepthwiseSeparable(nn.Module):
    """Instance norm (if `eps` is given), depthwise 3^3, then 1^3 convolution; no bias."""

    def __init__(self, inputs: int, outputs: int, eps: float | None = None) -> None:
        super().__init__()
        self.eps = eps
        self.depthwise = nn.Conv3d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b k d h w"]:
        """In the dtype of `x`, whatever that of the weights."""
        hidden = depthwise(x, self.depthwise.weight, self.eps)
        return volume(F.linear(voxels(hidden), self.pointwise.weight.to(x.dtype)), x)


class Merge(nn.Module):
    """Halve the size: 2^3 voxels become one of 8 times the channels, which are then reduced."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.reduction = DepthwiseSeparable(8 * inputs, outputs, INPUT_EPS)

    def forward(self, x: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b k d2 h2 w2"]:
        """Merged channels run z offset, y offset, x offset, channel, the last the fastest."""
        halves = [side // 2 for side in x.shape[2:]]
        parts = x.permute(0, 2, 3, 4, 1)  # b d h w c
        for axis, half in zip((1, 3, 5), halves, strict=True):
            parts = parts.unflatten(axis, (half, 2))  # b d/2 2 h/2 2 w/2 2 c
        merged = parts.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)  # b d/2 h/2 w/2 8c
        return self.reduction(merged.permute(0, 4, 1, 2, 3))


def depthwise(
    x: Float[Tensor, "b c d h w"],
    weight: Float[Tensor, "c 1 3 3 3"],
    eps: float | None = None,
    relu: bool = False,
) -> Float[Tensor, "b c d h w"]:
    """Depthwise convolution of size 3^3 that keeps the size, in the dtype of `x`.

    Args:
        eps: if given, `x` is first instance-normalised (no affine) with this epsilon.
        relu: whether the normalised `x` goes through a ReLU.
    """
    weight = weight.to(x.dtype)
    if x.device.type == "cpu":
        return Depthwise.apply(x, weight, eps, relu)
    if eps is not None:
        x = F.instance_norm(x, eps=eps)
    return convolve(F.relu(x) if relu else x, weight)


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """The convolution itself, in the dtype of its arguments."""
    with as_given(x):
        return F.conv3d(x, weight, padding=1, groups=len(weight))


class Depthwise(torch.autograd.Function):
    """`depthwise` on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float | None, relu: bool) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last_3d)
        ctx.save_for_backward(x, weight)
        ctx.eps, ctx.relu = eps, relu
        return convolve(normalise(x, eps, relu)[0] if eps is not None else x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        active, moments = (x, None) if ctx.eps is None else normalise(x, ctx.eps, ctx.relu)
        to_weight = weight_gradient(active, gradient, weight) if ctx.needs_input_grad[1] else None
        if not ctx.needs_input_grad[0]:
            return None, to_weight, None, None
        to_x = convolve(gradient, weight.flip(2, 3, 4))
        if ctx.relu:
            to_x = torch.ops.aten.threshold_backward(to_x, active, 0)
        if moments is not None:
            to_x = norm_gradient(to_x, x, moments, ctx.eps)
        return to_x, to_weight, None, None


def weight_gradient(x: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
    """Gradient with respect to the weight: slices (z) are the batch of a 2D convolution.

    One image's slices are a view; those of several would be copied, image by image is faster.
    """
    groups, depth = len(weight), x.shape[2]
    total = weight.new_zeros(
        (3, groups, 1, 3, 3), dtype=torch.promote_types(x.dtype, torch.float32)
    )
    for image, grad in zip(x.transpose(1, 2), gradient.transpose(1, 2), strict=True):  # d c h w
        for offset in range(3):  # output slice z reads input slice z + offset - 1
            read = image[max(0, offset - 1) : depth + min(0, offset - 1)]
            made = grad[max(0, 1 - offset) : depth + min(0, 1 - offset)]
            total[offset] += torch.ops.aten.convolution_backward(
                made, read, weight[:, :, offset], None, [1, 1], [1, 1], [1, 1], False, [0, 0],
                groups, [False, True, False],
            )[1]  # fmt: skip
    return total.permute(1, 2, 0, 3, 4).to(weight.dtype)


def normalise(x: Tensor, eps: float, relu: bool) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Instance norm through the batch-norm kernels (see `hermes.models.norm`), image by image.

    Returns the normalised `x` (after a ReLU, if wanted) and each image's mean and 1 / std, (c).
    """
    y, moments = torch.empty_like(x), []
    sums = torch.promote_types(x.dtype, torch.float32)
    unused = x.new_zeros(x.shape[1], dtype=sums)  # its type is the one that the kernel sums in
    for image, out in zip(x.split(1), y.split(1), strict=True):
        moments.append((torch.empty_like(unused), torch.empty_like(unused)))
        torch.ops.aten.native_batch_norm.out(
            image, None, None, unused, unused.clone(), True, 0.0, eps,
            out=out, save_mean=moments[-1][0], save_invstd=moments[-1][1],
        )  # fmt: skip
        if relu:
            out.relu_()
    return y, moments


def norm_gradient(
    gradient: Tensor, x: Tensor, moments: list[tuple[Tensor, Tensor]], eps: float
) -> Tensor:
    """Gradient of an instance norm; in float32, as torch 2.13's bfloat16 kernel is wrong."""
    out = torch.empty_like(x)
    volumes = (each.split(1) for each in (gradient, x, out))
    for moment, g, image, into in zip(moments, *volumes, strict=True):
        wide = moment[0].dtype
        into.copy_(
            torch.ops.aten.native_batch_norm_backward(
                g.to(wide), image.to(wide), None, None, None, *moment, True, eps,
                [True, False, False],
            )[0]
        )  # fmt: skip
    return out
