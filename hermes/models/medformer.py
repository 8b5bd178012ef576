"""MedFormer (Gao et al. 2022, A Data-Scalable Transformer for Medical Image Segmentation).

Here: the 3D backbone as the Hermes paper uses it, 43,198,112 parameters at 32 base channels
without a head, and the traditional network on it. Convolutions at the two finest scales, B-MHA
attention blocks at the three coarser ones. The encoder's semantic maps are fused and handed to
the decoder. Hermes-M lets priors take part in the attention: `features` has a place for them.

Options (`options:` of a run):
    attention_blocks: at down2, down3, down4, up1, up2; 2, 4, 8, 4, 2 by default.
    heads: at the same places; of 32 channels by default.
    map_tokens: tokens of a semantic map; 64 by default.
    auxiliary (traditional alone): also a 1x1 output on the feature after up2, which training looks
        at; no by default.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from hermes.models.attention import Exchange, TokenInstanceNorm, TokenNorm
from hermes.models.depthwise import Merge
from hermes.models.fusion import HEAD_DIM, Priors
from hermes.models.interface import (
    Backbone,
    ModelOutput,
    as_given,
    channels_last,
    check_size,
    row_logits,
    up_to,
)
from hermes.models.resunet import Block, conv3, widths
from hermes.models.semantic_map import MapFusion, SemanticMap
from hermes.models.traditional import Traditional

if TYPE_CHECKING:
    from hermes.models.build import ModelSpec

ATTENTION_BLOCKS = (2, 4, 8, 4, 2)  # at down2, down3, down4, up1, up2
MAP_TOKENS = 64  # 4^3
OPTIONS = ("attention_blocks", "heads", "map_tokens")
TRADITIONAL_OPTIONS = (*OPTIONS, "auxiliary")


class Features(NamedTuple):
    """What the backbone makes of an image.

    Attributes:
        full: (b, base, d, h, w).
        quarter: (b, 4 base, d/4, h/4, w/4), after up2.
        posteriors: the priors (b, t, c) after down2, down3, down4, up1, up2; none without priors.
    """

    full: Tensor
    quarter: Tensor
    posteriors: list[Tensor]


class AttentionDown(nn.Module):
    """Halve the size, sum up what is seen in a semantic map, exchange."""

    def __init__(
        self,
        inputs: int,
        channels: int,
        depth: int,
        heads: int,
        token_norm: TokenNorm,
        map_tokens: int,
    ) -> None:
        super().__init__()
        self.merge = Merge(inputs, channels)
        self.map = SemanticMap(channels, map_tokens)
        self.exchange = Exchange(channels, channels, depth, heads, token_norm)

    def forward(self, x: Tensor, priors: Priors | None) -> tuple[Tensor, Tensor, Tensor]:
        x = self.merge(x)
        return self.exchange(x, self.map(x), priors)


class AttentionUp(nn.Module):
    """Double the size, join feature and map with those of the encoder, exchange."""

    def __init__(
        self,
        inputs: int,
        skip: int,
        depth: int,
        heads: int,
        token_norm: TokenNorm,
        map_wanted: bool,
    ) -> None:
        super().__init__()
        self.map_reduction = nn.Linear(inputs + skip, skip, bias=False)
        self.exchange = Exchange(inputs + skip, skip, depth, heads, token_norm, map_wanted)

    def forward(
        self, x: Tensor, skip: Tensor, maps: tuple[Tensor, Tensor], priors: Priors | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`maps`: that of `x`, then that of `skip`."""
        with as_given(x):
            semantic_map = self.map_reduction(torch.cat(maps, -1))
        return self.exchange(double_and_join(x, skip), semantic_map, priors)


class ConvUp(nn.Module):
    """Double the size, join the encoder's feature, two convolution blocks."""

    def __init__(self, inputs: int, skip: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(inputs + skip, skip), Block(skip, skip))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.blocks(double_and_join(x, skip))


def double_and_join(x: Tensor, skip: Tensor) -> Tensor:
    """[x, twice as large by trilinear interpolation (corners aligned) | skip]."""
    up = F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=True)
    if up.requires_grad:
        # the gradient is a slice of the concatenation's; from a slice the kernel is 7x slower
        up.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last_3d))
    return torch.cat([up, skip], 1)


def head_count(channels: int) -> int:
    """Heads of 32 channels, the published width.

    ASSUME: where 32 does not divide the channels, which no published network has, as many heads
    as divide them without being narrower.
    """
    return max(
        heads for heads in range(1, max(1, channels // HEAD_DIM) + 1) if channels % heads == 0
    )


class MedFormer(Backbone):
    """Stem and four down stages, map fusion, four up stages; without a head.

    Args:
        base_channels: channels at full resolution; 32 in the paper.
        attention_blocks: at down2, down3, down4, up1, up2.
        heads: at the same places; 32 channels each if not given. The map fusion has those of
            down4, and its width.
        map_tokens: tokens of a semantic map.
        token_norm: LayerNorm in Hermes-M.
    """

    def __init__(
        self,
        base_channels: int,
        attention_blocks: Sequence[int] = ATTENTION_BLOCKS,
        heads: Sequence[int] | None = None,
        map_tokens: int = MAP_TOKENS,
        token_norm: TokenNorm = TokenInstanceNorm,
    ) -> None:
        super().__init__()
        self.base_channels = base_channels
        c0, c1, c2, c3, c4 = widths(base_channels)
        self.prior_channels = (c2, c3, c4, c3, c2)
        heads = tuple(heads or map(head_count, self.prior_channels))
        if not len(heads) == len(attention_blocks) == 5 or min(*heads, *attention_blocks) < 1:
            raise ValueError(
                "attention_blocks and heads are five positive numbers each (down2, down3, down4,"
                f" up1, up2), got {list(attention_blocks)} and {list(heads)}"
            )
        if map_tokens < 1:
            raise ValueError(f"map_tokens must be at least 1, got {map_tokens}")
        at2, at3, at4, at5, at6 = (
            (depth, each, token_norm) for depth, each in zip(attention_blocks, heads, strict=True)
        )
        self.stem = nn.Sequential(conv3(1, c0), Block(c0, c0))
        self.down1 = nn.Sequential(Merge(c0, c1), Block(c1, c1), Block(c1, c1))
        self.down2 = AttentionDown(c1, c2, *at2, map_tokens)
        self.down3 = AttentionDown(c2, c3, *at3, map_tokens)
        self.down4 = AttentionDown(c3, c4, *at4, map_tokens)
        self.map_fusion = MapFusion((c2, c3, c4), c4, heads[2])
        self.up1 = AttentionUp(c4, c3, *at5, map_wanted=True)
        self.up2 = AttentionUp(c3, c2, *at6, map_wanted=False)
        self.up3, self.up4 = ConvUp(c2, c1), ConvUp(c1, c0)
        channels_last(self)

    def forward(self, image: Float[Tensor, "b 1 d h w"]) -> Float[Tensor, "b c d h w"]:
        """The full-resolution feature."""
        return self.features(image).full

    def features(
        self, image: Float[Tensor, "b 1 d h w"], priors: Sequence[Priors | None] = (None,) * 5
    ) -> Features:
        """All that a head may read. `priors` of down2, down3, down4, up1, up2."""
        check_size(image)
        prior2, prior3, prior4, prior5, prior6 = priors
        x0 = self.stem(image)  # b 32 128^3 in the paper's setting
        x1 = self.down1(x0)  # b 64 64^3
        x2, map2, posterior2 = self.down2(x1, prior2)  # b 128 32^3, b 64 128
        x3, map3, posterior3 = self.down3(x2, prior3)  # b 256 16^3, b 64 256
        x4, map4, posterior4 = self.down4(x3, prior4)  # b 320 8^3, b 64 320
        map2, map3, map4 = self.map_fusion([map2, map3, map4])
        y3, map5, posterior5 = self.up1(x4, x3, (map4, map3), prior5)  # b 256 16^3
        y2, _, posterior6 = self.up2(y3, x2, (map5, map2), prior6)  # b 128 32^3
        full = self.up4(self.up3(y2, x1), x0)  # b 32 128^3
        return Features(full, y2, [posterior2, posterior3, posterior4, posterior5, posterior6])


def medformer(
    spec: "ModelSpec", token_norm: TokenNorm, known: Sequence[str] = OPTIONS
) -> MedFormer:
    """The backbone that a specification asks for. Raises ValueError for unknown options."""
    options = spec.options
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(f"medformer: unknown options {unknown}: known are {', '.join(known)}")
    return MedFormer(
        spec.base_channels,
        options.get("attention_blocks", ATTENTION_BLOCKS),
        options.get("heads"),
        options.get("map_tokens", MAP_TOKENS),
        token_norm,
    )


class TraditionalMedFormer(Traditional):
    """MedFormer with one 1x1 output per task; 43,198,211 parameters for 3 tasks."""

    backbone: MedFormer

    def __init__(self, spec: "ModelSpec") -> None:
        super().__init__(medformer(spec, TokenInstanceNorm, TRADITIONAL_OPTIONS), spec.rows)
        channels = self.backbone.prior_channels[-1]
        wanted = spec.options.get("auxiliary", False)
        self.auxiliary_head = nn.Linear(channels, spec.rows) if wanted else None

    def forward(
        self,
        image: Float[Tensor, "b 1 d h w"],
        tasks: Int[Tensor, "b k"],
        dataset: Int[Tensor, " b"],
        modality: Int[Tensor, " b"],
    ) -> ModelOutput:
        """Logits of the wanted tasks; dataset and modality are not looked at."""
        features = self.backbone.features(image)
        logits = row_logits(self.head, tasks, features.full)
        if self.auxiliary_head is None or not self.training:
            return ModelOutput(logits)
        auxiliary = row_logits(self.auxiliary_head, tasks, features.quarter)
        return ModelOutput(logits, auxiliary=up_to(auxiliary, image))
