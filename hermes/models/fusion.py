"""Prior fusion: task and modality priors exchange information with a feature map.

Equations 2 and 3 of the paper's supplement (section 1.1): the prior tokens read the voxels, the
voxels read the updated tokens, each followed by a feed-forward layer. Tokens are few (a dozen or
two) and voxels many (32,768 and more), so each attention is written as two matrix products
between the voxels and vectors that belong to (token, head): the key, query, value and output
matrices are applied on the tokens' side, where they cost nothing. That is associativity, not an
approximation.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hermes.models.interface import as_given

HEAD_DIM = 32
FFN_RATIO = 4
SMALL = 2**17  # numbers in a feature below which float32 is faster than bfloat16, as measured
FFN_NORM_EPS = 1e-4  # found by parity with the published weights; the other layer norms have 1e-5


class CrossAttention(nn.Module):
    """The parameters of multi-head attention, queries and context both layer-normed."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // HEAD_DIM)
        inner = self.heads * HEAD_DIM
        self.norm_query = nn.LayerNorm(channels)
        self.norm_context = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, inner, bias=False)
        self.key_value = nn.Linear(channels, 2 * inner, bias=False)
        self.output = nn.Linear(inner, channels)

    def split_heads(self, x: Tensor) -> Tensor:
        """(b, t, inner) -> (b, heads, t, head_dim)."""
        return x.unflatten(-1, (self.heads, HEAD_DIM)).transpose(1, 2)


class TokensReadVoxels(CrossAttention):
    """MHA(LN tokens, LN voxels, LN voxels): what the tokens gather from the image."""

    def forward(
        self, tokens: Float[Tensor, "b t c"], voxels: Float[Tensor, "b n c"]
    ) -> Float[Tensor, "b t c"]:
        """`voxels` are standardised; the norm's scale and shift are applied to the tokens.

        The shift adds the same to a token's scores at all voxels, which softmax ignores.
        """
        norm = self.norm_context
        key, value = self.key_value.weight.unflatten(0, (2, self.heads, HEAD_DIM))
        query = self.split_heads(self.query(self.norm_query(tokens)))
        probes = (query @ key).flatten(1, 2) * (norm.weight * HEAD_DIM**-0.5)  # b (heads t) c
        scores = torch.bmm(probes.to(voxels.dtype), voxels.transpose(1, 2))
        gathered = torch.bmm(scores.softmax(-1), voxels).to(tokens.dtype)  # b (heads t) c
        gathered = (gathered * norm.weight + norm.bias).unflatten(1, (self.heads, -1))
        return self.output((gathered @ value.transpose(1, 2)).transpose(1, 2).flatten(2))


class VoxelsReadTokens(CrossAttention):
    """MHA(LN voxels, LN tokens, LN tokens): what the voxels take from the real tokens."""

    def forward(
        self,
        voxels: Float[Tensor, "b n c"],
        tokens: Float[Tensor, "b t c"],
        real: Bool[Tensor, "b t"],
    ) -> Float[Tensor, "b n c"]:
        """`voxels` are standardised, as above."""
        norm = self.norm_query
        key, value = self.key_value(self.norm_context(tokens)).chunk(2, -1)
        query = self.query.weight.unflatten(0, (self.heads, HEAD_DIM))
        output = self.output.weight.unflatten(1, (self.heads, HEAD_DIM)).permute(1, 2, 0)
        probes = (self.split_heads(key) @ query).flatten(1, 2) * HEAD_DIM**-0.5  # b (heads t) c
        offsets = (probes @ norm.bias).masked_fill(~real.repeat(1, self.heads), -torch.inf)
        scores = torch.baddbmm(  # b (heads t) n: softmax over t runs along n, 8x as fast
            offsets[..., None].to(voxels.dtype),
            (probes * norm.weight).to(voxels.dtype),
            voxels.transpose(1, 2),
        )
        weights = scores.unflatten(1, (self.heads, -1)).softmax(2).flatten(1, 2)
        answers = (self.split_heads(value) @ output).flatten(1, 2)  # b (heads t) c
        injected = torch.bmm(weights.transpose(1, 2), answers.to(voxels.dtype))
        return injected + self.output.bias.to(voxels.dtype)


class FeedForward(nn.Module):
    """Layer norm, then a two-layer GELU network four times as wide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=FFN_NORM_EPS)
        self.widen = nn.Linear(channels, FFN_RATIO * channels)
        self.narrow = nn.Linear(FFN_RATIO * channels, channels)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """In the dtype of `x`, whatever that of the weights."""
        norm, widen, narrow = (
            (layer.weight.to(x.dtype), layer.bias.to(x.dtype))
            for layer in (self.norm, self.widen, self.narrow)
        )
        x = F.layer_norm(x, x.shape[-1:], *norm, self.norm.eps)
        return F.linear(F.gelu(F.linear(x, *widen)), *narrow)


def standardise(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Layer norm over the last axis, without scale and shift."""
    return F.layer_norm(x, x.shape[-1:], eps=eps)


class FusionBlock(nn.Module):
    """One bidirectional cross-attention block; 24 c^2 + 24 c parameters."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gather = TokensReadVoxels(channels)
        self.token_ffn = FeedForward(channels)
        self.inject = VoxelsReadTokens(channels)
        self.voxel_ffn = FeedForward(channels)

    def forward(self, tokens: Tensor, voxels: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        context = standardise(voxels)  # the two attentions' norms of it differ in scale and shift
        tokens = tokens + self.gather(tokens, context)
        tokens = tokens + self.token_ffn(tokens)
        voxels = voxels + self.inject(context, tokens, real)
        return tokens, voxels + self.voxel_ffn(voxels)


class Priors(NamedTuple):
    """What a stage's tables hold for the images of a batch.

    Attributes:
        tokens: (b, t, c), [tasks | modality].
        real: (b, t), False for padded tasks.
    """

    tokens: Tensor
    real: Tensor


class PriorTables(nn.Module):
    """A stage's own tables of priors.

    `task_prior` has one row per task; `modality_prior` has `prior_length` tokens per modality.
    """

    def __init__(self, channels: int, tasks: int, modalities: int, prior_length: int) -> None:
        super().__init__()
        self.task_prior = nn.Parameter(torch.empty(tasks, channels))
        self.modality_prior = nn.Parameter(torch.empty(modalities, prior_length, channels))
        nn.init.xavier_uniform_(self.task_prior)
        nn.init.xavier_uniform_(self.modality_prior)

    def select(self, tasks: Int[Tensor, "b k"], modality: Int[Tensor, " b"]) -> Priors:
        """The wanted rows; t = k + prior_length. Modality -1 is the last row of the table."""
        tokens = torch.cat([self.task_prior[tasks.clamp(min=0)], self.modality_prior[modality]], 1)
        return Priors(tokens, F.pad(tasks >= 0, (0, self.modality_prior.shape[1]), value=True))


class PriorFusion(PriorTables):
    """A stage's own tables of priors, and its fusion blocks."""

    def __init__(
        self, channels: int, tasks: int, modalities: int, prior_length: int, depth: int
    ) -> None:
        super().__init__(channels, tasks, modalities, prior_length)
        self.blocks = nn.ModuleList(FusionBlock(channels) for _ in range(depth))

    def forward(
        self,
        feature: Float[Tensor, "b c d h w"],
        tasks: Int[Tensor, "b k"],
        modality: Int[Tensor, " b"],
    ) -> tuple[Float[Tensor, "b c d h w"], Float[Tensor, "b t c"]]:
        """The fused feature and the posterior tokens, [tasks | modality].

        Padded tasks (-1) are read by nobody; their own posterior tokens are finite numbers
        without a meaning.
        """
        tokens, real = self.select(tasks, modality)
        voxels = feature.permute(0, 2, 3, 4, 1).flatten(1, 3)  # b (d h w) c, a view
        if voxels.numel() < SMALL:
            voxels = voxels.to(tokens.dtype)
        with as_given(feature):
            for block in self.blocks:
                tokens, voxels = block(tokens, voxels, real)
        voxels = voxels.to(feature.dtype)
        fused = voxels.unflatten(1, feature.shape[2:]).permute(0, 4, 1, 2, 3)  # channels-last
        return fused, tokens
