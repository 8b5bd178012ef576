"""MBConv, MedFormer's feed-forward of voxels: widen, depthwise, squeeze and excite, narrow.

Squeeze-and-excitation scales each channel, the instance norm after it is a scale and a shift of
each channel, and both follow from the channel's mean and variance. So neither touches the voxels:
they are folded into the 1^3 convolution that comes next, a matrix per image. Exact, and the
hidden feature, four times as wide as the block's, is read twice and not written again.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hermes.models.depthwise import depthwise, volume, voxels
from hermes.models.norm import NORM_EPS, norm_relu

EXPANSION = 4
SQUEEZE = 4  # hidden channels per channel of the squeezed vector


class MBConv(nn.Module):
    """x + narrow(IN(SE(depthwise(ReLU(IN(widen(ReLU(IN(x)))))))); norms without affine."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = EXPANSION * channels
        self.widen = nn.Linear(channels, wide, bias=False)
        self.depthwise = nn.Conv3d(wide, wide, 3, padding=1, groups=wide, bias=False)
        self.excitation = nn.Sequential(
            nn.Linear(wide, wide // SQUEEZE),
            nn.ReLU(),
            nn.Linear(wide // SQUEEZE, wide),
            nn.Sigmoid(),
        )
        self.narrow = nn.Linear(wide, channels, bias=False)

    def forward(self, x: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b c d h w"]:
        """In the dtype of `x`, whatever that of the weights; autocast must be off."""
        hidden = F.linear(voxels(norm_relu(x)), self.widen.weight.to(x.dtype))
        hidden = depthwise(volume(hidden, x), self.depthwise.weight, NORM_EPS, relu=True)
        mean, variance = moments(hidden)  # b 4c
        excited = self.excitation(mean)
        scale = excited * (excited.square() * variance + NORM_EPS).rsqrt()
        weight = (self.narrow.weight * scale[:, None]).to(x.dtype)  # b c 4c
        # from the rounded weight, so that the mean's part cancels in bfloat16 too
        shift = -(weight.to(mean.dtype) @ mean[..., None]).transpose(1, 2).to(x.dtype)
        narrowed = torch.baddbmm(shift, voxels(hidden), weight.transpose(1, 2))
        return x + volume(narrowed, x)


def moments(x: Float[Tensor, "b c d h w"]) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c"]]:
    """Mean and (biased) variance of each channel of each image, at least float32."""
    wide = torch.promote_types(x.dtype, torch.float32)
    if x.device.type == "cpu":
        return Moments.apply(x, wide)
    variance, mean = torch.var_mean(x.to(wide), (2, 3, 4), correction=0)
    return mean, variance


class Moments(torch.autograd.Function):
    """`moments` through the batch-norm kernel, which is several times as fast channels-last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, wide: torch.dtype) -> tuple[Tensor, Tensor]:
        unused = x.new_zeros(x.shape[1], dtype=wide)
        images = [
            torch.batch_norm_update_stats(image, unused, unused.clone(), 0.0)
            for image in x.split(1)
        ]
        mean, variance = (torch.stack(each) for each in zip(*images, strict=True))
        ctx.save_for_backward(x, mean)
        return mean, variance

    @staticmethod
    def backward(ctx: Any, to_mean: Tensor, to_variance: Tensor) -> tuple[Tensor, None]:
        """d mean / dx = 1 / n; d variance / dx = 2 (x - mean) / n."""
        x, mean = ctx.saved_tensors
        count = x[0, 0].numel()
        slope = 2 * to_variance / count
        offset, slope = (
            each[:, :, None, None, None].to(x.dtype)
            for each in (to_mean / count - slope * mean, slope)
        )
        return torch.addcmul(offset, x, slope), None
