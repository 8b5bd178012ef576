"""Hermes on conventional attention (Gao et al., CVPR 2024, supplement figure 1 C, equation 1).

Here: priors join the patches of a plain vision transformer, every block attends over both, and
prototypes are read out of the posterior task tokens, as in Hermes-R. The paper shows the module
and gives no numbers for it; the sizes are those of `hermes.models.vit`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from hermes.models.hermes import ModalityHead, Readout
from hermes.models.interface import ModelOutput, as_given, class_logits
from hermes.models.vit import ViT


class HermesViT(nn.Module):
    """Vision transformer, one table of task priors and one of modality priors, readout, head."""

    def __init__(self, backbone: ViT, tasks: int, modalities: int, prior_length: int = 10) -> None:
        super().__init__()
        self.backbone = backbone
        self.task_prior = nn.Parameter(torch.empty(tasks, backbone.width))
        self.modality_prior = nn.Parameter(torch.empty(modalities, prior_length, backbone.width))
        nn.init.xavier_uniform_(self.task_prior)
        nn.init.xavier_uniform_(self.modality_prior)
        self.readout = Readout(backbone.width, backbone.base_channels)
        self.modality_head = ModalityHead(backbone.width, modalities)

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
        wanted = tasks.shape[1]
        priors = [self.task_prior[tasks.clamp(min=0)], self.modality_prior[modality]]
        real = F.pad(tasks >= 0, (0, self.modality_prior.shape[1]), value=True)
        feature, tokens = self.backbone.with_tokens(image, torch.cat(priors, 1), real)
        with as_given(image):  # few tokens: float32 is faster
            tokens = tokens.to(self.task_prior.dtype)
            prototypes = self.readout(tokens[:, :wanted])
            modality_logits = self.modality_head(tokens[:, wanted:])
        return ModelOutput(class_logits(prototypes, feature), modality_logits)
