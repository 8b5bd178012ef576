"""Hermes-R: context-prior learning on a ResUNet (Gao et al., CVPR 2024).

Here: task and modality priors fused with the feature map at five stages, prototypes read out of
the posterior task tokens, and the modality head on the posterior modality tokens. Not here: the
MedFormer-based Hermes-M. 59,614,208 parameters at base 32 with 42 tasks, 2 modalities and no
modality head, as the paper counts.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hermes.models.fusion import PriorFusion
from hermes.models.interface import ModelOutput, as_given, check_size, class_logits
from hermes.models.resunet import ResUNet, widths

DEPTHS = (2, 2, 4, 2, 2)  # fusion blocks at down2, down3, down4, up1, up2


class Perceptron(nn.Sequential):
    """Linear, GELU, Linear."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


class Readout(nn.Sequential):
    """Posterior task tokens of all stages (b, k, 1088) -> prototypes (b, k, 32)."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__(
            nn.LayerNorm(inputs),
            Perceptron(inputs, inputs, channels),
            Perceptron(channels, channels, channels),
        )


class ModalityHead(nn.Module):
    """Posterior modality tokens (b, l, 1088) -> modality logits (b, m)."""

    def __init__(self, inputs: int, modalities: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.classifier = Perceptron(inputs, inputs, modalities)

    def forward(self, tokens: Float[Tensor, "b l c"]) -> Float[Tensor, "b m"]:
        return self.classifier(self.norm(tokens).mean(1))


class Hermes(nn.Module):
    """ResUNet, five prior fusions, readout and modality head.

    `modality_head=False` leaves the head out: then no modality can be learned or predicted, and
    the parameters are as many as the paper reports.
    """

    def __init__(
        self,
        backbone: ResUNet,
        tasks: int,
        modalities: int,
        prior_length: int = 10,
        modality_head: bool = True,
    ) -> None:
        super().__init__()
        c0, _, c2, c3, c4 = widths(backbone.base_channels)
        stages = (c2, c3, c4, c3, c2)
        self.backbone = backbone
        self.fusions = nn.ModuleList(
            PriorFusion(channels, tasks, modalities, prior_length, depth)
            for channels, depth in zip(stages, DEPTHS, strict=True)
        )
        self.readout = Readout(sum(stages), c0)
        self.modality_head = ModalityHead(sum(stages), modalities) if modality_head else None

    def forward(
        self,
        image: Float[Tensor, "b 1 d h w"],
        tasks: Int[Tensor, "b k"],
        dataset: Int[Tensor, " b"],
        modality: Int[Tensor, " b"],
    ) -> ModelOutput:
        """Logits of the wanted tasks and of the modality.

        Padded tasks (-1) change nothing for the others; modality -1 is the row "unknown".
        """
        check_size(image)
        feature, tokens = self.features(image, tasks, modality)
        wanted = tasks.shape[1]
        with as_given(image):  # few tokens: float32 is faster
            prototypes = self.readout(tokens[:, :wanted])
            head = self.modality_head
            modality_logits = None if head is None else head(tokens[:, wanted:])
        return ModelOutput(class_logits(prototypes, feature), modality_logits)

    def features(self, image: Tensor, tasks: Tensor, modality: Tensor) -> tuple[Tensor, Tensor]:
        """The full-resolution feature (b, 32, d, h, w) and the posterior tokens (b, t, 1088)."""
        encoder, decoder = self.backbone.encoder, self.backbone.decoder
        fuse2, fuse3, fuse4, fuse5, fuse6 = self.fusions
        x0 = encoder.stem(image)  # b 32 128^3 in the paper's setting
        x1 = encoder.down1(x0)  # b 64 64^3
        x2, tokens2 = fuse2(encoder.down2(x1), tasks, modality)  # b 128 32^3
        x3, tokens3 = fuse3(encoder.down3(x2), tasks, modality)  # b 256 16^3
        x4, tokens4 = fuse4(encoder.down4(x3), tasks, modality)  # b 320 8^3
        y3, tokens5 = fuse5(decoder.up1(x4, x3), tasks, modality)  # b 256 16^3
        y2, tokens6 = fuse6(decoder.up2(y3, x2), tasks, modality)  # b 128 32^3
        feature = decoder.up4(decoder.up3(y2, x1), x0)  # b 32 128^3
        return feature, torch.cat([tokens2, tokens3, tokens4, tokens5, tokens6], -1)
