"""Multi-decoder: one encoder, a whole decoder and head per dataset.

Chen, Ma and Zheng 2019, Med3D: Transfer Learning for 3D Medical Image Analysis (arXiv:1904.00625).
Here: the ResUNet's encoder, and for each dataset the ResUNet's decoder with one sigmoid output per
class; a sample goes through the decoder of its dataset, so no class needs masking. 225,528,372
parameters for the eleven datasets at base 32. Left out: Med3D's ResNets, its softmax heads, and
the transfer that it is about. Class meaning is that of all our methods, the exact label value.

Decoders whose dataset is not in a batch get no gradient: `hermes.train.optim.Lamb` leaves them and
their running means as they are. DistributedDataParallel must be told
`find_unused_parameters=True`; it divides a decoder's gradient by the number of processes, whichever
of them had its dataset.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hermes.models.dataset_classes import DatasetClasses
from hermes.models.interface import ModelOutput, channels_last, check_size, row_logits
from hermes.models.resunet import Decoder, Encoder


class MultiDecoder(nn.Module):
    """An encoder and, per dataset, a decoder and a 1x1 head."""

    def __init__(
        self, base_channels: int, tasks: Sequence[str], datasets: Mapping[str, Sequence[str]]
    ) -> None:
        super().__init__()
        self.classes = DatasetClasses(tasks, datasets)
        self.encoder = Encoder(base_channels)
        self.decoders = nn.ModuleList(Decoder(base_channels) for _ in datasets)
        self.heads = nn.ModuleList(nn.Linear(base_channels, n) for n in self.classes.counts)
        channels_last(self)

    def forward(
        self,
        image: Float[Tensor, "b 1 d h w"],
        tasks: Int[Tensor, "b k"],
        dataset: Int[Tensor, " b"],
        modality: Int[Tensor, " b"],
    ) -> ModelOutput:
        """Logits of the wanted tasks. Raises ValueError for tasks of another dataset."""
        check_size(image)
        channels = self.classes(tasks, dataset) - 1  # of the dataset's head; -1 where padded
        features = self.encoder(image)
        samples: dict[int, list[int]] = {}  # dataset -> its samples in the batch
        for sample, index in enumerate(self.classes.indices(dataset)):
            samples.setdefault(index, []).append(sample)
        if len(samples) == 1:
            (index,) = samples
            return ModelOutput(self.decode(index, features, channels))
        pieces = [feature.split(1) for feature in features]
        logits: list[Tensor] = [image] * len(image)  # in the batch's order
        for index, own in samples.items():
            features = [torch.cat([piece[sample] for sample in own]) for piece in pieces]
            parts = self.decode(index, features, channels[own]).split(1)
            for sample, part in zip(own, parts, strict=True):
                logits[sample] = part
        return ModelOutput(torch.cat(logits))

    def decode(self, index: int, features: list[Tensor], channels: Tensor) -> Tensor:
        """Logits (b, k, d, h, w) of samples of one dataset."""
        head = self.heads[index]
        assert isinstance(head, nn.Linear)
        return row_logits(head, channels, self.decoders[index](features))
