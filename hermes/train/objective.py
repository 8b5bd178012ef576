"""What a step's batch teaches: losses of its parts, which add up to the loss of the whole.

Each part's loss is weighed by its share of the whole batch, so that losses and gradients do not
depend on the number of processes or of parts.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hermes.batch import Batch, Part
from hermes.config.study_schema import Training
from hermes.jobs.distributed import Gather, Ranks, gathering, live
from hermes.jobs.precision import choose_dtype
from hermes.losses import SegmentationLoss, common_loss, modality_loss
from hermes.models.build import ModelSpec, method_of
from hermes.models.interface import ModelOutput

Loss = Callable[[ModelOutput, Batch], SegmentationLoss]
"""A method's loss, or the common one."""

TERMS = ("loss", "cross_entropy", "overlap", "modality")
"""What is logged of a step; the first is the sum of the others, modality weighed."""


class PartLoss(nn.Module):
    """A network with its loss: a part of a batch -> what to go back from, and its share of TERMS.

    They are one module so that processes share the loss, four numbers, and not the logits.
    """

    def __init__(self, model: nn.Module, settings: Training, loss: Loss, parts: int) -> None:
        """Args:
        model: the network.
        settings: precision and the weight of the modality loss.
        loss: the method's, or the common one.
        parts: 0 where the loss is a mean over the real pairs of the images it is given; else it
            is the loss of the whole batch (see `hermes.jobs.distributed`) in each of so many parts.
        """
        super().__init__()
        self.model, self.settings, self.loss, self.parts = model, settings, loss, parts

    def forward(self, part: Part) -> tuple[Tensor, Tensor]:
        """Scalar with a gradient, and float32 [4] without one. Shares add up over the parts."""
        output = self.ask(part.batch)
        cross_entropy, overlap = self.loss(output, part.batch)
        if not self.parts:
            cross_entropy, overlap = cross_entropy * part.pairs, overlap * part.pairs
        modality = overlap.new_zeros(())
        if output.modality_logits is not None:
            modality = modality_loss(output.modality_logits, part.batch.modality) * part.known
        weighed = self.settings.modality_weight * modality
        share = 1 / max(1, self.parts)
        total = share * cross_entropy + share * overlap + weighed
        terms = torch.stack([total, share * cross_entropy, share * overlap, modality])
        return cross_entropy + overlap + weighed, terms.detach()

    def ask(self, batch: Batch) -> ModelOutput:
        """The network's answer, in the number format of the settings."""
        image = batch.image.contiguous(memory_format=torch.channels_last_3d)
        dtype = choose_dtype(self.settings.precision, image.device)
        with torch.autocast(image.device.type, dtype=dtype, enabled=dtype != torch.float32):
            return self.model(image, batch.tasks, batch.dataset, batch.modality)


@dataclass(frozen=True)
class Objective:
    """The loss of a step's whole batch, from the parts that this process has of it.

    Attributes:
        own: of this process alone, for losses without a gradient.
        shared: the same, adding up gradients over the processes.
        ranks: the processes.
    """

    own: PartLoss
    shared: nn.Module
    ranks: Ranks

    def backward(self, parts: Sequence[Part]) -> Float[Tensor, "4"]:
        """Add the gradient of the whole batch's loss to the parameters; returns its TERMS."""
        sums = torch.zeros(len(TERMS), dtype=torch.float64, device=self.ranks.device)
        gathers = self._gathers(parts)
        for number, (part, gather) in enumerate(zip(parts, gathers, strict=True), start=1):
            with gathering(gather), self._apart(number < len(parts)):
                loss, terms = self.shared(part)
                loss.backward()
            sums += terms
        return self.ranks.add_up(sums)

    @torch.no_grad()
    def value(self, parts: Sequence[Part]) -> Float[Tensor, "4"]:
        """TERMS of the whole batch's loss, the same in every process."""
        sums = torch.zeros(len(TERMS), dtype=torch.float64, device=self.ranks.device)
        for part, gather in zip(parts, self._gathers(parts), strict=True):
            with gathering(gather):
                sums += self.own(part)[1]
        return self.ranks.add_up(sums)

    def _apart(self, more: bool) -> AbstractContextManager[None]:
        """Gradients cross to other processes with the last part only."""
        if more and isinstance(self.shared, DistributedDataParallel):
            return self.shared.no_sync()
        return nullcontext()

    def _gathers(self, parts: Sequence[Part]) -> list[Gather | None]:
        """For each part, what `gather_batch` is while its loss is computed."""
        if not self.own.parts or self.own.parts == 1:
            return [None] * len(parts)
        if len(parts) == 1:  # all parts of the batch are worked on at once
            return [lambda rows: live(self.ranks.gather(rows), rows, parts[0].first)]
        tables = self._tables(parts)
        return [partial(_replay, iter(tables), part.first) for part in parts]

    @torch.no_grad()
    def _tables(self, parts: Sequence[Part]) -> list[Tensor]:
        """The tables of the whole batch in the order in which the loss asks for them.

        A pass through the network of its own: a ratio's gradient needs the sums of parts that are
        yet to come.
        """
        kept: list[list[Tensor]] = []
        for part in parts:
            asked: list[Tensor] = []
            with gathering(partial(_record, asked)):
                self.own(part)
            kept.append(asked)
        return [self.ranks.gather(torch.cat(rows)) for rows in zip(*kept, strict=True)]


def _record(asked: list[Tensor], rows: Tensor) -> Tensor:
    asked.append(rows)
    return rows


def _replay(tables: Iterator[Tensor], first: int, rows: Tensor) -> Tensor:
    return live(next(tables), rows, first)


def make_objective(
    model: nn.Module, spec: ModelSpec, settings: Training, ranks: Ranks
) -> Objective:
    """The objective of a run: the method's own loss, or the common one where settings say so."""
    method, native = method_of(spec), settings.loss == "native"
    parts = ranks.count * settings.accumulate if native and method.pools else 0
    own = PartLoss(model, settings, method.loss if native else common_loss, parts)
    return Objective(own, ranks.sharing(own), ranks)
