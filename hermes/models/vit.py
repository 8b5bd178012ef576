"""A plain 3D vision transformer with a light convolutional decoder (UNETR's shape).

The encoder is standard: patches of 8 voxels, pre-norm blocks of self-attention and a GELU network.
Further tokens may join the patches in every block, which is how conventional attention takes up
priors (the paper's supplement, figure 1 C and equation 1). The decoder upsamples tokens of four
depths, as UNETR (Hatamizadeh 2022) does, with the blocks of the ResUNet.

ASSUME: the paper publishes no sizes for this backbone. Width 12 x base, 8 blocks, patches of 8 and
sinusoidal positions, which fit any crop, are ours.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hermes.axes import triple
from hermes.models.fusion import Priors
from hermes.models.interface import Backbone, channels_last, check_size
from hermes.models.resunet import Block, Up, conv3, widths

PATCH = 8  # voxels per side
HEAD_DIM = 32
WIDTH = 12  # channels of a token, in base channels: 384 at base 32
TAPS = (2, 4, 6, 8)  # blocks after which tokens go to the decoder; the last is the depth
LONGEST = 10_000.0  # of the sinusoidal positions' wavelengths, in patches, as Vaswani 2017


class SelfAttention(nn.Module):
    """Multi-head attention of tokens among themselves; padded ones are read by nobody."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // HEAD_DIM)
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.output = nn.Linear(channels, channels)

    def forward(
        self, x: Float[Tensor, "b t c"], real: Bool[Tensor, "b t"] | None
    ) -> Float[Tensor, "b t c"]:
        qkv = self.query_key_value(x).unflatten(-1, (3, self.heads, -1))  # b t 3 heads dim
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mask = None if real is None else real[:, None, None]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.output(mixed.transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Pre-norm self-attention, then a GELU network four times as wide; 12 c^2 + 13 c parameters."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(channels)
        self.attention = SelfAttention(channels)
        self.norm_ffn = nn.LayerNorm(channels)
        self.ffn = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        x = x + self.attention(self.norm_attention(x), real)
        return x + self.ffn(self.norm_ffn(x))


def positions(
    size: tuple[int, int, int], channels: int, device: torch.device
) -> Float[Tensor, "n c"]:
    """Sines and cosines of each patch's z, y and x; a sixth of the channels each, rest 0."""
    share = channels // 6
    rate = torch.exp(-math.log(LONGEST) * torch.arange(share, device=device) / share)
    axes = torch.meshgrid(*(torch.arange(n, device=device) for n in size), indexing="ij")
    angles = [axis.flatten()[:, None] * rate for axis in axes]
    found = torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], 1)
    return F.pad(found, (0, channels - 6 * share))


class ViT(Backbone):
    """Transformer encoder and convolutional decoder, without a head."""

    def __init__(self, base_channels: int) -> None:
        super().__init__()
        self.base_channels = base_channels
        self.width = width = WIDTH * base_channels
        c0, c1, c2, c3, _ = widths(base_channels)
        self.stem = nn.Sequential(conv3(1, c0), Block(c0, c0))
        self.embed = nn.Conv3d(1, width, PATCH, stride=PATCH)
        self.blocks = nn.ModuleList(TransformerBlock(width) for _ in range(TAPS[-1]))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in TAPS)
        self.to_half = nn.ConvTranspose3d(width, c1, 4, stride=4)  # 1/8 -> 1/2
        self.to_quarter = nn.ConvTranspose3d(width, c2, 2, stride=2)  # 1/8 -> 1/4
        self.to_eighth = nn.Conv3d(2 * width, c3, 1)
        self.up2, self.up3, self.up4 = Up(c3, c2), Up(c2, c1), Up(c1, c0)
        channels_last(self)

    def forward(self, image: Float[Tensor, "b 1 d h w"]) -> Float[Tensor, "b c d h w"]:
        return self._encode(image, None)[0]

    def with_tokens(
        self,
        image: Float[Tensor, "b 1 d h w"],
        tokens: Float[Tensor, "b t c"],
        real: Bool[Tensor, "b t"],
    ) -> tuple[Float[Tensor, "b c0 d h w"], Float[Tensor, "b t c"]]:
        """The full-resolution feature, and the tokens that joined the patches, after all blocks."""
        return self._encode(image, Priors(tokens, real))

    def _encode(self, image: Tensor, joined: Priors | None) -> tuple[Tensor, Tensor]:
        check_size(image)
        patches = self.embed(image)  # b c d/8 h/8 w/8
        size = patches.shape[2:]
        x = patches.flatten(2).transpose(1, 2) + positions(triple(size), self.width, image.device)
        n, mask = x.shape[1], None
        if joined is not None:
            x = torch.cat([x, joined.tokens], 1)
            mask = F.pad(joined.real, (n, 0), value=True)
        taps: list[Tensor] = []
        for depth, block in enumerate(self.blocks, start=1):
            x = block(x, mask)
            if depth in TAPS:
                voxels = self.norms[len(taps)](x[:, :n])
                taps.append(voxels.transpose(1, 2).unflatten(2, size))
        return self._decode(image, taps), x[:, n:]

    def _decode(self, image: Tensor, taps: list[Tensor]) -> Tensor:
        first, second, third, last = taps
        x = self.to_eighth(torch.cat([third, last], 1))  # b 256 d/8, at base 32
        x = self.up2(x, self.to_quarter(second))  # b 128 d/4
        x = self.up3(x, self.to_half(first))  # b 64 d/2
        return self.up4(x, self.stem(image))  # b 32 d
