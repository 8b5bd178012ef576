"""The one backbone of the comparison, a 3D ResUNet.

Widths, block order and the instance norm's epsilon are those of the published Hermes code
(40,560,480 parameters at 32 base channels, without a head). Activations are kept channels-last,
which is the layout that convolution, pooling and up-sampling are fastest in.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hermes.models.interface import Backbone, as_given, channels_last, check_size
from hermes.models.norm import norm_relu


def widths(base_channels: int) -> tuple[int, int, int, int, int]:
    """Channels from full resolution down to the bottleneck: 32-64-128-256-320 at base 32."""
    c = base_channels
    return c, 2 * c, 4 * c, 8 * c, 10 * c


def conv3(inputs: int, outputs: int) -> nn.Conv3d:
    """A 3^3 convolution without bias that keeps the size."""
    return nn.Conv3d(inputs, outputs, 3, padding=1, bias=False)


class Block(nn.Module):
    """Pre-activation residual block: (norm, ReLU, 3^3 conv) twice.

    Where channels change, the shortcut is a full 3^3 convolution, pre-activated as well. A norm
    without affine is the same for both branches, so it is computed once, and both convolutions
    of its result are one (a training step takes 4-8 % less time than with two).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = conv3(inputs, outputs)
        self.conv2 = conv3(outputs, outputs)
        self.shortcut = conv3(inputs, outputs) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        active = norm_relu(x)
        if self.shortcut is None:
            hidden = self.conv1(active)
        else:
            weight = torch.cat([self.conv1.weight, self.shortcut.weight])
            hidden, x = F.conv3d(active, weight, padding=1).chunk(2, 1)
        return x + self.conv2(norm_relu(hidden))


class Down(nn.Module):
    """Max pooling by 2, then two blocks."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(inputs, outputs), Block(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        # autocast would widen max_pool3d to float32; a maximum needs no more than its input has
        with as_given(x):
            pooled = F.max_pool3d(x, 2)
        return self.blocks(pooled)


class Up(nn.Module):
    """Trilinear up-sampling by 2 (corners aligned), concatenation [skip, up], two blocks."""

    def __init__(self, inputs: int, skip: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(skip + inputs, skip), Block(skip, skip))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        up = F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=True)
        if up.requires_grad:
            # the gradient is a slice of the concatenation's; from a slice the kernel is 7x slower
            up.register_hook(
                lambda gradient: gradient.contiguous(memory_format=torch.channels_last_3d)
            )
        return self.blocks(torch.cat([skip, up], 1))


class Encoder(nn.Module):
    """Stem and four down stages; 22,063,968 parameters at base 32."""

    def __init__(self, base_channels: int) -> None:
        super().__init__()
        c0, c1, c2, c3, c4 = widths(base_channels)
        self.stem = nn.Sequential(conv3(1, c0), Block(c0, c0))
        self.down1, self.down2 = Down(c0, c1), Down(c1, c2)
        self.down3, self.down4 = Down(c2, c3), Down(c3, c4)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The five features, from full resolution to the bottleneck."""
        features = [self.stem(image)]
        for down in (self.down1, self.down2, self.down3, self.down4):
            features.append(down(features[-1]))
        return features


class Decoder(nn.Module):
    """Four up stages; 18,496,512 parameters at base 32."""

    def __init__(self, base_channels: int) -> None:
        super().__init__()
        c0, c1, c2, c3, c4 = widths(base_channels)
        self.up1, self.up2 = Up(c4, c3), Up(c3, c2)
        self.up3, self.up4 = Up(c2, c1), Up(c1, c0)

    def forward(self, features: list[Tensor]) -> Tensor:
        """The full-resolution feature (b, base_channels, d, h, w)."""
        *skips, x = features
        for up in (self.up1, self.up2, self.up3, self.up4):
            x = up(x, skips.pop())
        return x


class ResUNet(Backbone):
    """Encoder and decoder, without a head; 40,560,480 parameters at base 32."""

    def __init__(self, base_channels: int) -> None:
        super().__init__()
        self.base_channels = base_channels
        self.encoder = Encoder(base_channels)
        self.decoder = Decoder(base_channels)
        channels_last(self)

    def forward(self, image: Float[Tensor, "b 1 d h w"]) -> Float[Tensor, "b c d h w"]:
        check_size(image)
        return self.decoder(self.encoder(image))
