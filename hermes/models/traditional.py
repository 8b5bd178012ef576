"""The traditional paradigm: one network per dataset, with one 1x1 output per task.

The paper's baseline (ResUNet, MedFormer). Here: a backbone and its head; a traditional row of a
table is as many runs as there are datasets.
"""

from jaxtyping import Float, Int
from torch import Tensor, nn

from hermes.models.interface import Backbone, ModelOutput, row_logits


class Traditional(nn.Module):
    """A backbone with one 1x1 output per task; 33 parameters per task at 32 channels."""

    def __init__(self, backbone: Backbone, tasks: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.base_channels, tasks)  # a 1x1 convolution, row per task

    def forward(
        self,
        image: Float[Tensor, "b 1 d h w"],
        tasks: Int[Tensor, "b k"],
        dataset: Int[Tensor, " b"],
        modality: Int[Tensor, " b"],
    ) -> ModelOutput:
        """Logits of the wanted tasks; dataset and modality are not looked at."""
        return ModelOutput(row_logits(self.head, tasks, self.backbone(image)))
