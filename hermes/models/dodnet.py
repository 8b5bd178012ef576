"""DoDNet: a dynamic head, whose weights a controller computes from the image and the dataset.

Zhang, Xie, Xia and Shen 2021, DoDNet: Learning to Segment Multi-Organ and Tumors from Multiple
Partially Labeled Datasets (CVPR). Here: the dynamic head on the ResUNet with the dataset as the
one-hot task, and the published loss, binary cross-entropy and Dice of each labelled class. With 11
datasets and 22 classes at most: 342 dynamic and 40,674,992 learned parameters at base 32. Left
out: its own backbone with weight standardisation, and nested regions (there an organ holds its
tumour; here a class is its exact label value, as for all methods).
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from hermes.models.dataset_classes import DatasetClasses
from hermes.models.dynamic_head import (
    WIDTH,
    Layer,
    PooledBottleneck,
    PreHead,
    apply_layers,
    parameter_count,
    split_parameters,
)
from hermes.models.interface import ModelOutput, as_given, check_size
from hermes.models.resunet import ResUNet, widths


class DoDNet(nn.Module):
    """ResUNet, controller and a dynamic head of three 1x1 layers."""

    def __init__(
        self, backbone: ResUNet, tasks: Sequence[str], datasets: Mapping[str, Sequence[str]]
    ) -> None:
        super().__init__()
        c0, *_, c4 = widths(backbone.base_channels)
        self.classes = DatasetClasses(tasks, datasets)
        self.head_widths = (WIDTH, WIDTH, WIDTH, max(self.classes.counts))
        self.backbone = backbone
        self.pool = PooledBottleneck(c4)
        self.controller = nn.Linear(c4 + len(datasets), parameter_count(self.head_widths))
        self.pre_head = PreHead(c0)

    def forward(
        self,
        image: Float[Tensor, "b 1 d h w"],
        tasks: Int[Tensor, "b k"],
        dataset: Int[Tensor, " b"],
        modality: Int[Tensor, " b"],
    ) -> ModelOutput:
        """Logits of the wanted tasks. Raises ValueError for tasks of another dataset."""
        check_size(image)
        number = self.classes(tasks, dataset)
        features = self.backbone.encoder(image)
        layers = self.layers(features[-1], dataset, number)
        voxels = self.pre_head(self.backbone.decoder(features))
        return ModelOutput(apply_layers(voxels, layers).unflatten(2, image.shape[2:]))

    def layers(self, bottleneck: Tensor, dataset: Tensor, number: Tensor) -> list[Layer]:
        """The head of each image, its last layer for the wanted classes only."""
        with as_given(bottleneck):  # few numbers: float32
            code = F.one_hot(dataset, len(self.classes.datasets))
            condition = torch.cat([self.pool(bottleneck), code], 1)
            first, second, (weight, bias) = split_parameters(
                self.controller(condition), self.head_widths
            )
        rows = (number - 1).clamp(min=0)
        return [first, second, (weight.take_along_dim(rows[..., None], 1), bias.gather(1, rows))]
