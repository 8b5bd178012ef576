"""UniSeg: a universal prompt, from which the bottleneck makes the prompt of the sample's dataset.

Ye, Xie, Zhang, Chen and Xia 2023, UniSeg: A Prompt-Driven Universal Segmentation Model as Well as
a Strong Representation Learner (MICCAI). Here: the prompt, its fusion with the bottleneck and the
choice of a channel on the ResUNet; one softmax head, cut to [background, the dataset's classes];
deep supervision; cross-entropy and batch Dice without background. 41,519,956 parameters for the
eleven datasets at base 32, the heads of deep supervision not counted. Left out: its nnU-Net
backbone, inputs of several modalities, its batches of one dataset each (a mixed batch pools Dice
per dataset), and its use as pre-training.

Options: `prompt_size`, voxels per side (or z, y, x) of the prompt; 8, the bottleneck of a 128^3
crop, unless given. It is interpolated where the bottleneck has another size; a crop's side / 16
spares that.

A class's logit is log(p / (1 - p)) of its softmax probability, so that a sigmoid gives p back. A
voxel where no class has p > 0.5 is background in our tables, where UniSeg takes the likeliest.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hermes.jobs.distributed import gather_batch
from hermes.losses import SegmentationLoss
from hermes.losses.softmax import SoftmaxSums, batch_dice_loss, softmax_sums
from hermes.models.dataset_classes import DatasetClasses
from hermes.models.interface import ModelOutput, channels_last, check_size, class_logits
from hermes.models.resunet import ResUNet, Up, widths

if TYPE_CHECKING:
    from hermes.dataset import Batch

LEVEL_WEIGHTS = (1, 1 / 2, 1 / 4)  # at full, half and quarter size; published, as is 0 at 1/8
SLOPE = 0.01  # of the leaky ReLU; published


class UniSeg(nn.Module):
    """ResUNet with a prompt channel at the bottleneck and a softmax head at three depths."""

    def __init__(
        self,
        backbone: ResUNet,
        tasks: Sequence[str],
        datasets: Mapping[str, Sequence[str]],
        options: Mapping[str, Any],
    ) -> None:
        super().__init__()
        c0, c1, c2, c3, c4 = widths(backbone.base_channels)
        count = len(datasets)
        self.classes = DatasetClasses(tasks, datasets)
        self.backbone = backbone
        self.backbone.decoder.up1 = Up(c4 + 1, c3)
        self.prompt = nn.Parameter(torch.randn(1, count, *prompt_size(options)))
        hidden = (c4 + count) // 4
        self.fuse = nn.Sequential(
            fusion_layer(c4 + count, hidden),
            fusion_layer(hidden, hidden),
            fusion_layer(hidden, count),
        )
        outputs = 1 + max(self.classes.counts)
        self.heads = nn.ModuleList(nn.Linear(channels, outputs) for channels in (c0, c1, c2))
        channels_last(self)

    def forward(
        self,
        image: Float[Tensor, "b 1 d h w"],
        tasks: Int[Tensor, "b k"],
        dataset: Int[Tensor, " b"],
        modality: Int[Tensor, " b"],
    ) -> ModelOutput:
        """Logits of the wanted tasks, and what they come from, in training at three depths.

        Raises ValueError for tasks of another dataset.
        """
        check_size(image)
        number = self.classes(tasks, dataset)
        *skips, x = self.backbone.encoder(image)
        x = torch.cat([x, self.own_prompt(x, dataset)], 1)
        decoder = self.backbone.decoder
        levels: list[Tensor] = []
        for up in (decoder.up1, decoder.up2, decoder.up3, decoder.up4):
            x = up(x, skips.pop())
            levels.insert(0, x)
        heads = self.heads if self.training else self.heads[:1]
        softmax_logits: tuple[Tensor, ...] = ()
        for head, level in zip(heads, levels, strict=False):
            assert isinstance(head, nn.Linear)
            softmax_logits += (self.exclusive_logits(head, level, dataset),)
        # in training only the common loss looks at these: what they are made of is not kept
        logits = checkpoint(against_rest, softmax_logits[0], number, use_reentrant=False)
        return ModelOutput(logits, softmax_logits=softmax_logits)

    def own_prompt(self, bottleneck: Tensor, dataset: Tensor) -> Float[Tensor, "b 1 d h w"]:
        """The channel that belongs to each sample's dataset, of the prompts made for it."""
        prompt, size = self.prompt, bottleneck.shape[2:]
        if prompt.shape[2:] != size:
            prompt = F.interpolate(prompt, size, mode="trilinear", align_corners=False)
        prompt = prompt.to(bottleneck.dtype).expand(len(bottleneck), -1, -1, -1, -1)
        prompts = self.fuse(torch.cat([bottleneck, prompt], 1))
        index = dataset[:, None, None, None, None].expand(-1, 1, *size)
        return prompts.gather(1, index)

    def exclusive_logits(
        self, head: nn.Linear, feature: Tensor, dataset: Tensor
    ) -> Float[Tensor, "b c d h w"]:
        """Logits of background and of the dataset's classes; -inf where another has more."""
        counts = [self.classes.counts[index] for index in self.classes.indices(dataset)]
        channels = torch.arange(1 + max(counts), device=feature.device)
        beyond = channels > torch.tensor(counts, device=feature.device)[:, None]
        weight = head.weight[: len(channels)].expand(len(counts), -1, -1)
        bias = head.bias[: len(channels)].masked_fill(beyond, -torch.inf)
        return class_logits(weight, feature, bias)


def prompt_size(options: Mapping[str, Any]) -> tuple[int, int, int]:
    """The prompt's z, y, x. Raises ValueError for options that do not exist."""
    if unknown := sorted(set(options) - {"prompt_size"}):
        raise ValueError(f"uniseg: unknown options {unknown}: known is prompt_size")
    size = options.get("prompt_size", 8)
    sides = tuple(size) if isinstance(size, list | tuple) else (size,) * 3
    if len(sides) != 3 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"uniseg: prompt_size {size!r} must be a number or z, y, x, above 0")
    return sides


def fusion_layer(inputs: int, outputs: int) -> nn.Sequential:
    """3^3 convolution with bias, instance norm with affine, leaky ReLU."""
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, padding=1),
        nn.InstanceNorm3d(outputs, affine=True),
        nn.LeakyReLU(SLOPE),
    )


def against_rest(
    logits: Float[Tensor, "b c d h w"], number: Int[Tensor, "b k"]
) -> Float[Tensor, "b k d h w"]:
    """log(p / (1 - p)) of the numbered channels: z minus the log-sum-exp of all other channels.

    For the largest z the others are summed without it; for the rest p is at most a half, so that
    1 - p loses nothing.
    """
    z = logits.to(torch.promote_types(logits.dtype, torch.float32))
    best = z.argmax(1, keepdim=True)
    without_best = z.scatter(1, best, -torch.inf).logsumexp(1, keepdim=True)
    everything = z.logsumexp(1, keepdim=True)
    wanted = z[torch.arange(len(z), device=z.device)[:, None], number]
    is_best = number[..., None, None, None] == best
    p = (wanted - everything).exp().masked_fill(is_best, 0)
    others = torch.where(is_best, without_best, everything + torch.log1p(-p))
    return (wanted - others).to(logits.dtype)


def uniseg_loss(output: ModelOutput, batch: "Batch") -> SegmentationLoss:
    """Cross-entropy and batch Dice at each supervised depth, their weights normalised to 1.

    The label is read at every second (fourth) voxel where logits are half (a quarter) as large.
    """
    levels = output.softmax_logits
    dataset = gather_batch(batch.dataset)
    channels = max(1 + batch.tasks.shape[1], levels[0].shape[1])  # alike in all parts
    scale = sum(LEVEL_WEIGHTS[: len(levels)])
    cross_entropy, overlap = [], []
    for weight, logits in zip(LEVEL_WEIGHTS, levels, strict=False):
        step = batch.label.shape[-1] // logits.shape[-1]
        sums = softmax_sums(logits, batch.label[:, ::step, ::step, ::step])
        own = (logits[:, :, 0, 0, 0] > -torch.inf).int()
        sums, own = of_whole_batch(sums, own, channels)
        cross_entropy.append(weight / scale * sums.cross_entropy.mean().float())
        overlap.append(weight / scale * batch_dice_loss(sums, own, dataset))
    return SegmentationLoss(sum(cross_entropy[1:], cross_entropy[0]), sum(overlap[1:], overlap[0]))


def of_whole_batch(
    sums: SoftmaxSums, own: Int[Tensor, "b c"], channels: int
) -> tuple[SoftmaxSums, Int[Tensor, "B k"]]:
    """Sums and own channels of all parts of the batch; parts differ in their number of channels."""
    tables = torch.stack([*sums[1:], own], 1)
    tables = F.pad(tables, (0, channels - tables.shape[2]))
    probability, true_positive, size, own = gather_batch(tables).unbind(1)
    entropy = gather_batch(sums.cross_entropy)
    return SoftmaxSums(entropy, probability, true_positive, size), own.int()
