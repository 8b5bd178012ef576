"""Instance norm followed by ReLU, the pair that precedes every convolution of the ResUNet."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

NORM_EPS = 1e-4  # the published value
FOLD = 8  # voxels read as one row
FEW_CHANNELS, MANY_VOXELS = 32, 4096  # below and from which folding pays, as measured


def norm_relu(x: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b c d h w"]:
    """Instance norm without affine, then ReLU, in the dtype of `x`."""
    if x.device.type == "cpu":
        return NormReLU.apply(x)
    return F.relu_(F.instance_norm(x, eps=NORM_EPS))


class NormReLU(torch.autograd.Function):
    """The pair for channels-last images on a CPU, through the batch-norm kernels.

    One image's instance norm is its batch norm, whose channels-last kernels are several times
    faster than those of instance norm. Sums are float32 or wider. The backward kernel runs in
    that type too: in torch 2.13 the channels-last bfloat16 one returns wrong gradients.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last_3d)
        y = torch.empty_like(x)
        ctx.moments = []
        for image, out in zip(x.split(1), y.split(1), strict=True):
            ctx.moments.append(normalise(image, out))
            out.relu_()  # image by image, while it is in the cache
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        x, y = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        out = torch.empty_like(x)
        volumes = (volume.split(1) for volume in (gradient, x, y, out))
        for moments, g, image, active, into in zip(ctx.moments, *volumes, strict=True):
            g = torch.ops.aten.threshold_backward(g, active, 0).to(moments[0].dtype)
            into.copy_(
                torch.ops.aten.native_batch_norm_backward(
                    g, image.to(g.dtype), None, None, None, *moments, True, NORM_EPS,
                    [True, False, False],
                )[0]
            )  # fmt: skip
        return out


def normalise(image: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """Write the normalised image (1, c, d, h, w) to `out`; return its mean and 1 / std, (c).

    Where channels are few and voxels many, eight voxels are read as one row: this fills the
    vector registers, and sums in eight parts, which is more exact.
    """
    channels, voxels = image.shape[1], image[0, 0].numel()
    wide = torch.promote_types(image.dtype, torch.float32)
    # running moments are never used, but their type is the one that the kernel sums in
    zeros = image.new_zeros((channels,), dtype=wide)
    ones = image.new_ones((channels,), dtype=wide)
    if channels >= FEW_CHANNELS or voxels < MANY_VOXELS or voxels % FOLD:
        return batch_norm(image, zeros, ones, out, training=True)
    x, y = (
        volume.permute(0, 2, 3, 4, 1).view(1, -1, FOLD * channels, 1).transpose(1, 2)
        for volume in (image, out)
    )
    parts = torch.batch_norm_update_stats(x, zeros.repeat(FOLD), ones.repeat(FOLD), 0.0)
    means, variances = (part.view(FOLD, channels) for part in parts)
    mean = means.mean(0)
    variance = (variances + (means - mean).square_()).mean(0)
    batch_norm(x, mean.repeat(FOLD), variance.repeat(FOLD), y, training=False)
    return mean, (variance + NORM_EPS).rsqrt_()


def batch_norm(
    x: Tensor, mean: Tensor, variance: Tensor, out: Tensor, training: bool
) -> tuple[Tensor, Tensor]:
    """Normalise into `out`, by x's own moments in training; return these, as mean and 1 / std."""
    moments = torch.empty_like(mean), torch.empty_like(mean)
    torch.ops.aten.native_batch_norm.out(
        x, None, None, mean, variance, training, 0.0, NORM_EPS,
        out=out, save_mean=moments[0], save_invstd=moments[1],
    )  # fmt: skip
    return moments
