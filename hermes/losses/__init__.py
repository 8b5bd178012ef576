"""Losses on one integer label map: per (image, class) sums, and nothing else as large as logits.

Binary cross-entropy and the adaptive Tversky loss need, of each (image, class) pair, only five
sums over voxels. `PairSums` makes them block by block, and in the backward pass writes the
gradient directly; a mask per class is never made. The losses are then formulas on a small table.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Integer
from torch import Tensor

if TYPE_CHECKING:
    from hermes.dataset import Batch
    from hermes.models.interface import ModelOutput

TVERSKY_EPS = 1e-6  # published
TVERSKY_RANGE = (0.2, 0.8)  # published; the weight of false positives is kept within it
DICE_SMOOTH = 1.0  # voxels, added to the denominator alone; published by DoDNet

# Logits worked on at once: what a core's cache holds, or what fills a GPU.
BLOCK = {"cpu": 2**15, "cuda": 2**25}


class SegmentationLoss(NamedTuple):
    """The two parts of a method's loss, scalars that are added: cross-entropy and overlap."""

    cross_entropy: Tensor
    overlap: Tensor


def segmentation_loss(
    logits: Float[Tensor, "b k d h w"],
    label: Integer[Tensor, "b d h w"],
    values: Int[Tensor, "b k"],
) -> SegmentationLoss:
    """Binary cross-entropy and adaptive Tversky loss of the wanted classes.

    Args:
        logits: one channel per wanted class, any floating type; sums are float64.
        label: label values, 0 to 255, 0 is background.
        values: the label value of each channel, unique in an image; 0 marks a padded channel,
            which counts in no average and gets a zero gradient.

    A class's mask is exactly where the label has its value. With p = sigmoid(logit) summed over
    an image's voxels, TP = sum p in the mask, FP = sum p outside, FN = sum (1 - p) in the mask:

        Tversky = 1 - TP / (TP + a FP + (1 - a) FN + 1e-6),  a = FP / (FP + FN) within 0.2-0.8.

    The weight a takes part in the gradient, as in the published code. If no pair is real, both
    losses are 0.
    """
    pairs = pair_sums(logits, label, values)
    wrong = (pairs.false_positive + pairs.false_negative).clamp(min=TVERSKY_EPS)
    weight = (pairs.false_positive / wrong).clamp(*TVERSKY_RANGE)
    penalty = weight * pairs.false_positive + (1 - weight) * pairs.false_negative
    tversky = 1 - pairs.true_positive / (pairs.true_positive + penalty + TVERSKY_EPS)
    return SegmentationLoss(pairs.mean(pairs.bce), pairs.mean(tversky))


def common_loss(output: "ModelOutput", batch: "Batch") -> SegmentationLoss:
    """The loss that Hermes is trained with, for any method.

    An auxiliary prediction and the main one count half each.
    """
    main = segmentation_loss(output.logits, batch.label, batch.values)
    if output.auxiliary is None:
        return main
    auxiliary = segmentation_loss(output.auxiliary, batch.label, batch.values)
    return SegmentationLoss(
        (main.cross_entropy + auxiliary.cross_entropy) / 2, (main.overlap + auxiliary.overlap) / 2
    )


def bce_dice_loss(output: "ModelOutput", batch: "Batch") -> SegmentationLoss:
    """Binary cross-entropy and Dice, means over the real pairs: DoDNet's and CLIP-driven's loss.

    Dice loss = 1 - 2 TP / (sum p + size + 1), which is 1 without a gradient where a crop lacks
    the class: there cross-entropy alone teaches.
    """
    pairs = pair_sums(output.logits, batch.label, batch.values)
    both = 2 * pairs.true_positive + pairs.false_positive + pairs.false_negative
    dice = 1 - 2 * pairs.true_positive / (both + DICE_SMOOTH)
    return SegmentationLoss(pairs.mean(pairs.bce), pairs.mean(dice))


def modality_loss(
    modality_logits: Float[Tensor, "b m"], modality: Int[Tensor, " b"]
) -> Float[Tensor, ""]:
    """Cross-entropy over the images whose modality is known (not -1); 0 if none is."""
    known = (modality >= 0).sum().clamp(min=1)
    summed = F.cross_entropy(modality_logits.float(), modality, ignore_index=-1, reduction="sum")
    return summed / known


class Pairs(NamedTuple):
    """Of each (image, class) pair, (b, k), float64: what every loss here is a formula of.

    Attributes:
        bce: binary cross-entropy, mean over the image's voxels.
        true_positive: sum of p in the class's mask.
        false_positive: sum of p outside of it.
        false_negative: sum of 1 - p in it.
        real: not padded.
    """

    bce: Tensor
    true_positive: Tensor
    false_positive: Tensor
    false_negative: Tensor
    real: Tensor

    def mean(self, value: Tensor) -> Tensor:
        """Mean of (b, k) over the real pairs, float32; 0 if none is real."""
        return (value.where(self.real, 0.0).sum() / self.real.sum().clamp(min=1)).float()


def pair_sums(
    logits: Float[Tensor, "b k d h w"],
    label: Integer[Tensor, "b d h w"],
    values: Int[Tensor, "b k"],
) -> Pairs:
    """Sums over voxels for each (image, class) pair; arguments as of `segmentation_loss`."""
    sums = PairSums.apply(logits, label, values)
    softplus, probability, mask_logit, mask_probability, mask_size = sums
    return Pairs(
        bce=(softplus - mask_logit) / label[0].numel(),
        true_positive=mask_probability,
        false_positive=probability - mask_probability,
        false_negative=mask_size - mask_probability,
        real=values > 0,
    )


class PairSums(torch.autograd.Function):
    """Sums over the voxels of each (image, class) pair, (5, b, k), float64.

    In order: softplus(z) and sigmoid(z) over all voxels; z, sigmoid(z) and 1 over those of the
    class's mask. The gradient with respect to a logit z with p = sigmoid(z) is then
    g0 p + g1 p (1 - p), plus, in the mask, g2 + g3 p (1 - p).
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, label: Tensor, values: Tensor) -> Tensor:
        sums = logits.new_zeros((5, *values.shape), dtype=torch.float64)
        saved = [logits]
        for row, image in enumerate(logits.flatten(2)):
            for _, block in blocks(image):
                sums[:2, row] += dense_sums(block)
            masks = find_masks(label[row].flatten(), values[row])
            sums[2:, row] = mask_sums(image, masks)
            saved += masks
        ctx.save_for_backward(*saved)
        return sums

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        logits, *masks = ctx.saved_tensors
        out = torch.empty_like(logits, memory_format=torch.contiguous_format)
        for row, (image, target) in enumerate(zip(logits.flatten(2), out.flatten(2), strict=True)):
            weights = gradient[:, row]
            for voxels, block in blocks(image):
                dense_gradient(block, weights[:2], target[:, voxels])
            mask_gradient(image, Masks(*masks[2 * row :][:2]), weights[:4], target)
        return out, None, None


def blocks(image: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Slices of voxels, and the image (k, n) there, a cache full at a time."""
    size = max(1, BLOCK.get(image.device.type, BLOCK["cuda"]) // image.shape[0])
    for start in range(0, image.shape[1], size):
        voxels = slice(start, start + size)
        yield voxels, image[:, voxels]


def dense_sums(block: Tensor) -> Tensor:
    """Sums of softplus and sigmoid over a block (k, n) -> (2, k).

    softplus(z) = max(z, 0) - log(max(p, 1 - p)), which needs no second exponential.
    """
    block = block.float()
    p = block.sigmoid()
    total = p.sum(1)
    nearest = p.sub_(0.5).abs_().add_(0.5)
    softplus = block.clamp(min=0).sum(1) - nearest.log_().sum(1)
    return torch.stack([softplus, total])


def dense_gradient(block: Tensor, weights: Tensor, out: Tensor) -> None:
    """Write g0 p + g1 p (1 - p) = p (g0 + g1 - g1 p) to `out` (k, n); weights (2, k)."""
    g0, g1 = weights.float()[..., None]
    p = block.float().sigmoid()
    torch.mul(p, (p * -g1).add_(g0 + g1), out=out)


class Masks(NamedTuple):
    """The voxels of all classes' masks in an image's logits (k, n); both (m,), m <= n."""

    position: Tensor  # in the flattened logits
    channel: Tensor


def find_masks(label: Tensor, values: Tensor) -> Masks:
    """The masks of the classes with these label values (k) in a label map (n)."""
    channel_of = torch.full((256,), -1, device=label.device, dtype=torch.int32)
    channel_of[values] = torch.arange(len(values), device=label.device, dtype=torch.int32)
    channel_of[0] = -1
    channel = channel_of[label.int()]
    voxel = (channel >= 0).nonzero()[:, 0]
    channel = channel[voxel]
    return Masks(voxel.add_(channel, alpha=len(label)), channel)


def mask_sums(image: Tensor, masks: Masks) -> Tensor:
    """Sums of z, sigmoid(z) and 1 over each class's mask -> (3, k), float64."""
    z = image.flatten()[masks.position].double()
    sums = z.new_zeros(3, image.shape[0])
    sums[0].index_add_(0, masks.channel, z)
    sums[1].index_add_(0, masks.channel, z.sigmoid_())
    sums[2] = masks.channel.bincount(minlength=image.shape[0])
    return sums


def mask_gradient(image: Tensor, masks: Masks, weights: Tensor, out: Tensor) -> None:
    """Write g0 p + g2 + (g1 + g3) p (1 - p) to `out` (k, n) in the masks; weights (4, k).

    With q = 1 - p, g0 p + g2 is g0 + g2 - g0 q: cross-entropy has g2 = -g0, so that nothing
    cancels where p is nearly 1.
    """
    z = image.flatten()[masks.position].float()
    g0, g1, g2, g3 = weights
    constant, linear, product = (
        coefficient.float()[masks.channel] for coefficient in (g0 + g2, -g0, g1 + g3)
    )
    q = (-z).sigmoid_()
    gradient = constant + q * (linear + product * z.sigmoid_())
    out.view(-1)[masks.position] = gradient.to(out.dtype)
