"""B-MHA, MedFormer's attention between a feature map and a few tokens that sum it up.

Equation 4 of the paper's supplement (section 1.1): the query of a voxel is also its key, that of a
token too, so one matrix of logits serves both ways. Softmax over tokens updates the voxels,
softmax over voxels updates the tokens. Each way is one call of torch's fused attention, which
forms the logits block by block and never holds the matrix: less memory, and faster than to keep
and transpose it. Tokens are the semantic map, followed by priors in Hermes-M.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hermes.models.depthwise import INPUT_EPS, DepthwiseSeparable, volume, voxels
from hermes.models.fusion import Priors
from hermes.models.interface import as_given
from hermes.models.mbconv import MBConv
from hermes.models.norm import norm_relu

TokenNorm = Callable[[int], nn.Module]
"""From a number of channels to a norm of tokens (b, t, c)."""


class TokenInstanceNorm(nn.Module):
    """MedFormer's norm of map tokens: per channel, over the tokens, without affine."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, tokens: Float[Tensor, "b t c"]) -> Float[Tensor, "b t c"]:
        return F.instance_norm(tokens.transpose(1, 2)).transpose(1, 2)


class BidirectionalAttention(nn.Module):
    """Equation 4, with the projections before and after it.

    Args:
        inputs: channels of the feature that comes in.
        channels: channels of the tokens, and of the feature that goes out.
        heads: must divide `channels`; channels are head by head.
        token_output: whether the tokens' update is projected.
    """

    def __init__(self, inputs: int, channels: int, heads: int, token_output: bool) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{heads} heads do not divide {channels} channels")
        self.heads = heads
        self.voxel_input = DepthwiseSeparable(inputs, 2 * channels, INPUT_EPS)
        self.voxel_output = DepthwiseSeparable(channels, channels)
        self.token_input = nn.Linear(channels, 2 * channels, bias=False)
        self.token_output = nn.Linear(channels, channels, bias=False) if token_output else None

    def forward(
        self,
        feature: Float[Tensor, "b i d h w"],
        tokens: Float[Tensor, "b t c"],
        real: Bool[Tensor, "b t"] | None,
        first: int,
    ) -> tuple[Float[Tensor, "b c d h w"], Float[Tensor, "b u c"]]:
        """The updates of the voxels, and of the tokens from number `first` on.

        `tokens` are normalised; those that are not `real` are read by no voxel.
        """
        rows = voxels(self.voxel_input(feature))
        if rows.requires_grad and rows.device.type == "cpu":
            # its bfloat16 backward pass takes 1.2 to 4 times as long, as measured
            rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        query, value = self.split(rows)
        token_query, token_value = self.split(self.token_input(tokens).to(rows.dtype))
        mask = None if real is None else real[:, None, None]  # b 1 1 t
        update = F.scaled_dot_product_attention(query, token_query, token_value, attn_mask=mask)
        update = self.voxel_output(volume(merge(update).to(feature.dtype), feature))
        if first == tokens.shape[1]:
            return update, tokens[:, first:]
        gathered = F.scaled_dot_product_attention(token_query[:, :, first:], query, value)
        gathered = gathered.to(tokens.dtype)
        if self.token_output is None:
            # the published order, a head's channels far apart, which no projection undoes here
            return update, gathered.permute(0, 2, 3, 1).flatten(2)
        return update, self.token_output(merge(gathered))

    def split(self, rows: Float[Tensor, "b n c2"]) -> tuple[Tensor, Tensor]:
        """Query (which is the key too) and value, each (b, heads, n, dim)."""
        query, value = rows.unflatten(-1, (2, self.heads, -1)).unbind(2)
        return query.transpose(1, 2), value.transpose(1, 2)


def merge(x: Float[Tensor, "b heads n dim"]) -> Float[Tensor, "b n c"]:
    """The heads side by side again."""
    return x.transpose(1, 2).flatten(2)


class AttentionBlock(nn.Module):
    """B-MHA; the voxels then go through an MBConv, the tokens have their residual alone."""

    def __init__(
        self,
        inputs: int,
        channels: int,
        heads: int,
        token_norm: TokenNorm,
        token_output: bool = True,
    ) -> None:
        super().__init__()
        self.token_norm = token_norm(channels)
        self.attention = BidirectionalAttention(inputs, channels, heads, token_output)
        self.shortcut = nn.Linear(inputs, channels, bias=False) if inputs != channels else None
        self.feed_forward = MBConv(channels)

    def forward(
        self,
        feature: Float[Tensor, "b i d h w"],
        tokens: Float[Tensor, "b t c"],
        real: Bool[Tensor, "b t"] | None = None,
        first: int = 0,
    ) -> tuple[Float[Tensor, "b c d h w"], Float[Tensor, "b u c"]]:
        """The new feature, and the new tokens from number `first` on; `real` as above."""
        with as_given(feature):
            update, gathered = self.attention(feature, self.token_norm(tokens), real, first)
            if self.shortcut is not None:
                weight = self.shortcut.weight.to(feature.dtype)
                feature = volume(F.linear(voxels(norm_relu(feature)), weight), feature)
            return self.feed_forward(feature + update), tokens[:, first:] + gathered


class Exchange(nn.Module):
    """Attention blocks between a feature and tokens [semantic map | priors].

    `map_wanted=False`: nobody reads the map afterwards, so the last block does not update it.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        depth: int,
        heads: int,
        token_norm: TokenNorm,
        map_wanted: bool = True,
    ) -> None:
        super().__init__()
        self.map_wanted = map_wanted
        last = depth - 1
        self.blocks = nn.ModuleList(
            AttentionBlock(
                inputs if row == 0 else channels,
                channels,
                heads,
                token_norm,
                token_output=map_wanted or row != last,
            )
            for row in range(depth)
        )

    def forward(
        self, feature: Tensor, semantic_map: Float[Tensor, "b t c"], priors: Priors | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The new feature, map (without tokens, if nobody wants it) and posteriors."""
        count, tokens, real = semantic_map.shape[1], semantic_map, None
        if priors is not None:
            tokens = torch.cat([semantic_map, priors.tokens], 1)
            real = F.pad(priors.real, (count, 0), value=True)
        for block in self.blocks[:-1]:
            feature, tokens = block(feature, tokens, real)
        first = 0 if self.map_wanted else count
        feature, tokens = self.blocks[-1](feature, tokens, real, first)
        return feature, tokens[:, : count - first], tokens[:, count - first :]
