"""MultiTalent: one sigmoid output per class of every dataset, and a loss summed over classes.

Ulrich, Isensee, Wald, Zenk, Baumgartner and Maier-Hein 2023, MultiTalent: A Multi-Dataset Approach
to Medical Image Segmentation (MICCAI). Here: the ResUNet with a 1x1 output per task (the network
of `hermes.models.traditional`; 40,562,823 parameters for 71 tasks at base 32), trained on all
datasets with the loss below and with datasets drawn by the square root of their cases. Left out:
its nnU-Net backbones, deep supervision, and nested regions (a class is its exact label value, as
for all methods).
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hermes.jobs.distributed import gather_batch
from hermes.losses import SegmentationLoss, pair_sums

if TYPE_CHECKING:
    from hermes.dataset import Batch
    from hermes.models.interface import ModelOutput

SMALLEST_SUM = 1e-7  # voxels; published


def multitalent_loss(output: "ModelOutput", batch: "Batch") -> SegmentationLoss:
    """Sums, never means, over classes, so that a class's gradient is the same in any company.

    Cross-entropy: of each labelled (image, class), the mean over voxels. Overlap: of each class
    1 - 2 TP / (2 TP + FP + FN), with TP, FP and FN summed over the batch's images that label it.
    A batch with more classes has a larger loss; LAMB scales every gradient to a norm of at most 1,
    and then every parameter's update, so the sum's size as such changes no step by much.
    """
    pairs = pair_sums(output.logits, batch.label, batch.values)
    sums = (pairs.bce, pairs.true_positive, pairs.false_positive, pairs.false_negative)
    bce, *counts = gather_batch(torch.stack(sums, 1)).unbind(1)
    all_tasks = gather_batch(batch.tasks)
    tasks, pooled = pool(all_tasks, torch.stack(counts))
    true_positive, false_positive, false_negative = pooled
    size = (2 * true_positive + false_positive + false_negative).clamp(min=SMALLEST_SUM)
    overlap = (1 - 2 * true_positive / size).where(tasks >= 0, 0.0)
    cross_entropy = bce.where(all_tasks >= 0, 0.0)
    return SegmentationLoss(cross_entropy.sum().float(), overlap.sum().float())


def pool(
    tasks: Int[Tensor, "b k"], sums: Float[Tensor, "3 b k"]
) -> tuple[Int[Tensor, " r"], Float[Tensor, "3 r"]]:
    """Sums of (image, class) pairs added up per task, padded ones under -1."""
    rows, row_of = tasks.unique(return_inverse=True)
    pooled = sums.new_zeros(3, len(rows)).index_add(1, row_of.flatten(), sums.flatten(1))
    return rows, pooled
