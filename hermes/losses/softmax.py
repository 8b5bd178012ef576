"""Cross-entropy and Dice of classes that exclude each other, from sums over voxels.

The counterpart of `hermes.losses` for a softmax: the sums are made block by block and the backward
pass writes the gradient directly, so that neither probabilities nor a mask per class are ever held.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from hermes.losses import blocks

DICE_SMOOTH = 1e-5  # voxels, in numerator and denominator; nnU-Net's


class SoftmaxSums(NamedTuple):
    """Of each image, float64; p is the softmax over an image's channels.

    Attributes:
        cross_entropy: (b), mean over voxels.
        probability: (b, c), sum of p.
        true_positive: (b, c), sum of p where the label is the channel.
        size: (b, c), voxels where it is.
    """

    cross_entropy: Tensor
    probability: Tensor
    true_positive: Tensor
    size: Tensor


def softmax_sums(
    logits: Float[Tensor, "b c d h w"], label: Integer[Tensor, "b d h w"]
) -> SoftmaxSums:
    """Sums over voxels. Channel v is label value v; one of -inf has probability 0."""
    cross_entropy, (probability, true_positive), size = Sums.apply(logits, label)
    return SoftmaxSums(cross_entropy / label[0].numel(), probability, true_positive, size)


def batch_dice_loss(
    sums: SoftmaxSums, own: Integer[Tensor, "b c"], dataset: Int[Tensor, " b"]
) -> Float[Tensor, ""]:
    """1 - Dice of each class that `own` (not 0) marks, over the batch, without background; mean.

    Sums are added up over a dataset's images before the ratio is taken:
    (2 TP + 1e-5) / (sum p + size + 1e-5).
    """
    datasets, group = dataset.unique(return_inverse=True)
    parts = torch.stack([sums.true_positive, sums.probability, sums.size])
    shape = (len(parts), len(datasets), parts.shape[2])
    true_positive, probability, size = parts.new_zeros(shape).index_add(1, group, parts)
    dice = (2 * true_positive + DICE_SMOOTH) / (probability + size + DICE_SMOOTH)
    counted = torch.zeros_like(dice, dtype=torch.bool)
    counted[group] = own != 0
    return (1 - dice)[:, 1:][counted[:, 1:]].mean().float()


class Sums(torch.autograd.Function):
    """Cross-entropy (b), [sum p, sum p in the class] (2, b, c) and class sizes (b, c), float64."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(logits, label)
        count, channels = logits.shape[:2]
        entropy = logits.new_zeros(count, dtype=torch.float64)
        classes = logits.new_zeros((2, count, channels), dtype=torch.float64)
        for row, (image, truth) in enumerate(zip(logits.flatten(2), label.flatten(1), strict=True)):
            for voxels, block in blocks(image):
                log_p, value = block.float().log_softmax(0), truth[voxels].long()
                at_label = log_p.gather(0, value[None])[0]
                entropy[row] -= at_label.sum()
                classes[0, row] += log_p.exp_().sum(1)
                classes[1, row].index_add_(0, value, at_label.exp_().double())
        size = torch.stack([each.bincount(minlength=channels) for each in label.flatten(1).int()])
        ctx.mark_non_differentiable(size)
        return entropy, classes, size

    @staticmethod
    def backward(
        ctx: Any, for_entropy: Tensor, for_classes: Tensor, _: Tensor
    ) -> tuple[Tensor, None]:
        """With q the gradient of a voxel's p: dz = p (q - sum p q) + entropy's (p - [label])."""
        logits, label = ctx.saved_tensors
        out = torch.empty_like(logits, memory_format=torch.contiguous_format)
        rows = zip(logits.flatten(2), label.flatten(1), out.flatten(2), strict=True)
        for row, (image, truth, target) in enumerate(rows):
            everywhere, in_class = for_classes[:, row].float()
            entropy = for_entropy[row].float()
            for voxels, block in blocks(image):
                p, value = block.float().softmax(0), truth[voxels].long()
                p_label = p.gather(0, value[None])[0]
                extra = p_label * in_class[value]
                mean = everywhere @ p + extra
                gradient = p * (everywhere[:, None] + entropy - mean)
                gradient.scatter_add_(0, value[None], (extra - entropy)[None])
                target[:, voxels] = gradient
        return out, None
