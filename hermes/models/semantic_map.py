"""Semantic maps of MedFormer: a feature summed up in a few tokens, and their fusion."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hermes.models.attention import merge
from hermes.models.depthwise import voxels
from hermes.models.interface import as_given
from hermes.models.resunet import conv3

FUSION_EPS = 1e-4  # published: layer norms of the map fusion; other layer norms have 1e-5


class SemanticMap(nn.Module):
    """A feature summed up in a few tokens, each a weighted mean over all voxels.

    The voxels may be fewer than the tokens; the tokens do not depend on the image's size.
    """

    def __init__(self, channels: int, tokens: int) -> None:
        super().__init__()
        self.content = conv3(channels, channels)
        self.weights = conv3(channels, tokens)

    def forward(self, feature: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b t c"]:
        both = F.conv3d(feature, torch.cat([self.content.weight, self.weights.weight]), padding=1)
        sizes = self.content.out_channels, self.weights.out_channels
        content, scores = voxels(both).split(sizes, -1)  # b n c, b n t
        with as_given(feature):
            scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
            return torch.bmm(scores.softmax(1).transpose(1, 2), content.to(scores.dtype))


class MapFusion(nn.Module):
    """The maps of all encoder stages, projected to one width, through a transformer and back."""

    def __init__(self, channels: tuple[int, ...], width: int, heads: int, depth: int = 2) -> None:
        super().__init__()
        self.inward = nn.ModuleList(nn.Linear(each, width, bias=False) for each in channels)
        self.layers = nn.ModuleList(TransformerLayer(width, heads) for _ in range(depth))
        self.outward = nn.ModuleList(nn.Linear(width, each, bias=False) for each in channels)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps (b, t, c) of each stage's channels, fused; in float32, as they are small."""
        with as_given(maps[0]):
            tokens = [inward(each) for inward, each in zip(self.inward, maps, strict=True)]
            fused = torch.cat(tokens, 1)
            for layer in self.layers:
                fused = layer(fused)
            parts = fused.chunk(len(maps), 1)
            return [outward(part) for outward, part in zip(self.outward, parts, strict=True)]


class TransformerLayer(nn.Module):
    """Pre-norm self-attention and a GELU network as wide as the tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width, eps=FUSION_EPS)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width, eps=FUSION_EPS),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, width),
        )

    def forward(self, x: Float[Tensor, "b t c"]) -> Float[Tensor, "b t c"]:
        rows = self.query_key_value(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = rows.permute(2, 0, 3, 1, 4)  # b heads t dim
        x = x + self.output(merge(F.scaled_dot_product_attention(query, key, value)))
        return x + self.feed_forward(x)
