"""Hermes-M: context-prior learning on a MedFormer (Gao et al., CVPR 2024, supplement figure 1 B).

Here: task and modality priors join the semantic map's tokens in every B-MHA block, prototypes
are read out of the posterior task tokens as in Hermes-R, and, while training, a second readout
answers from the feature after up2. 44,499,776 parameters at base 32 with 42 tasks, 2 modalities
and neither modality head nor second readout, as the paper counts.
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hermes.models.fusion import PriorTables
from hermes.models.hermes import ModalityHead, Readout
from hermes.models.interface import ModelOutput, as_given, class_logits, up_to
from hermes.models.medformer import MedFormer, medformer

if TYPE_CHECKING:
    from hermes.models.build import ModelSpec


class HermesM(nn.Module):
    """MedFormer whose tokens have layer norms, five tables of priors, readouts, modality head.

    `auxiliary=False` and `modality_head=False` leave those out, as in the paper's count.
    """

    def __init__(
        self,
        backbone: MedFormer,
        tasks: int,
        modalities: int,
        prior_length: int = 10,
        modality_head: bool = True,
        auxiliary: bool = True,
    ) -> None:
        super().__init__()
        stages = backbone.prior_channels
        total = sum(stages)
        self.backbone = backbone
        self.priors = nn.ModuleList(
            PriorTables(channels, tasks, modalities, prior_length) for channels in stages
        )
        self.readout = Readout(total, backbone.base_channels)
        self.auxiliary_readout = Readout(total, stages[-1]) if auxiliary else None
        self.modality_head = ModalityHead(total, modalities) if modality_head else None

    def forward(
        self,
        image: Float[Tensor, "b 1 d h w"],
        tasks: Int[Tensor, "b k"],
        dataset: Int[Tensor, " b"],
        modality: Int[Tensor, " b"],
    ) -> ModelOutput:
        """Logits of the wanted tasks and of the modality; auxiliary ones in training mode alone.

        Padded tasks (-1) change nothing for the others; modality -1 is the row "unknown".
        """
        priors = []
        for tables in self.priors:
            assert isinstance(tables, PriorTables)
            priors.append(tables.select(tasks, modality))
        features = self.backbone.features(image, priors)
        posterior = torch.cat(features.posteriors, -1)  # b k+10 1088
        wanted = tasks.shape[1]
        head, second = self.modality_head, self.auxiliary_readout if self.training else None
        with as_given(image):  # few tokens: float32 is faster
            prototypes = self.readout(posterior[:, :wanted])
            modality_logits = None if head is None else head(posterior[:, wanted:])
            coarse = None if second is None else second(posterior[:, :wanted])
        logits = class_logits(prototypes, features.full)
        if coarse is None:
            return ModelOutput(logits, modality_logits)
        auxiliary = up_to(class_logits(coarse, features.quarter), image)
        return ModelOutput(logits, modality_logits, auxiliary)


def hermes_m(spec: "ModelSpec") -> HermesM:
    """The network that a specification asks for."""
    backbone = medformer(spec, nn.LayerNorm)
    return HermesM(backbone, spec.rows, len(spec.modalities), spec.prior_length)
