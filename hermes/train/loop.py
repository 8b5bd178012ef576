"""The training loop: steps, epochs, validation, and when the state is saved."""

import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from hermes.batch import Part
from hermes.config.study_schema import Training
from hermes.jobs.bars import Bar, barred
from hermes.jobs.distributed import Ranks
from hermes.jobs.interruption import Interrupted, Notice, leave_to_parent
from hermes.train.checkpoint import Progress
from hermes.train.data import Data, augmented
from hermes.train.log import line, write_metrics
from hermes.train.objective import TERMS, Objective
from hermes.train.optim import learning_rate

logger = logging.getLogger(__name__)

STEPS_EVERY_S = 600.0
"""ASSUME: seconds between two lines within an epoch, which has a line of its own at its end."""


def fit(
    progress: Progress,
    objective: Objective,
    data: Data,
    settings: Training,
    checkpoint: Path,
    name: str,
    curve: Path | None = None,
) -> None:
    """Train from where `progress` stands to the end; the state is saved on the way.

    Where a `curve` is asked for, the history so far is written there after each epoch, and at the
    beginning, so that it never says more than the state from which a training goes on.

    Raises Interrupted: a signal to stop came, and the state is saved.
    """
    ranks, iterations = objective.ranks, settings.iterations
    saver = Saver(progress, checkpoint, settings.save_minutes, ranks)
    batches = iter(loader(data, progress.step, ranks.device, settings.workers))
    draw(curve, progress, ranks)
    with Notice() as notice:
        for epoch in range(len(progress.history), settings.epochs):
            started = time.perf_counter()
            steps = range(progress.step, (epoch + 1) * iterations)
            set_rate(progress, settings, epoch)
            for _ in counted(f"{name} epoch {epoch + 1}", steps, iterations, ranks):
                train_step(progress, objective, next(batches), settings, data.seed)
                if ranks.any(bool(notice.received)):
                    saver.save()
                    leave(progress, ranks, notice, name)
                saver.save_when_due()
            means = (progress.sums / iterations).tolist()
            seconds = (time.perf_counter() - started) / max(1, len(steps))
            row = end_epoch(progress, objective, data, means)
            saver.save()
            draw(curve, progress, ranks)
            if ranks.first:
                logger.info("%s: %s, %.3f s a step", name, line(row, settings.epochs), seconds)


class Saver:
    """Saves the state of a training, in the first process only."""

    def __init__(self, progress: Progress, path: Path, minutes: float, ranks: Ranks) -> None:
        self.progress, self.path, self.minutes, self.ranks = progress, path, minutes, ranks
        self.last = time.monotonic()

    def save(self) -> None:
        """Save now."""
        if self.ranks.first:
            self.progress.save(self.path)
            self.last = time.monotonic()

    def save_when_due(self) -> None:
        """Save where the last state is so many minutes old."""
        if time.monotonic() - self.last > 60 * self.minutes:
            self.save()


def loader(data: Data, first: int, device: torch.device, workers: int) -> DataLoader:
    """Parts of the steps from `first` to the end of the training, read ahead by one set of workers.

    For a GPU they are put into memory from which it copies while it computes.
    """
    return DataLoader(
        data.train,
        batch_size=None,
        sampler=range(first, len(data.train)),
        num_workers=workers,
        pin_memory=device.type == "cuda",
        worker_init_fn=leave_to_parent,
    )


def counted(title: str, steps: range, iterations: int, ranks: Ranks) -> Iterable[int]:
    """The steps of an epoch, or what is left of it; the first process says how far it is."""
    if not ranks.first:
        return steps
    return barred(steps, Bar(title, iterations, "step", iterations - len(steps), STEPS_EVERY_S))


def draw(curve: Path | None, progress: Progress, ranks: Ranks) -> None:
    """Write the history so far where a person can look at it while the training runs."""
    if curve and ranks.first:
        write_metrics(curve, progress.history)


def set_rate(progress: Progress, settings: Training, epoch: int) -> None:
    """Set the learning rate of an epoch, counted from 0."""
    rate = learning_rate(epoch, settings.epochs, settings.warmup_epochs, settings.learning_rate)
    for group in progress.optimizer.param_groups:
        group["lr"] = rate


def train_step(
    progress: Progress, objective: Objective, parts: Sequence[Part], settings: Training, seed: int
) -> None:
    """One update. What is logged of it stays on the device: nobody waits for a GPU here."""
    step = progress.step
    parts = [part.to(objective.ranks.device) for part in parts]
    if settings.augment:
        parts = [augmented(part, settings, step, seed) for part in parts]
    progress.model.train()
    progress.optimizer.zero_grad(set_to_none=True)
    terms = objective.backward(parts)
    progress.optimizer.step()
    progress.ema.update(progress.model, step)
    progress.sums += terms
    progress.step = step + 1


def end_epoch(
    progress: Progress, objective: Objective, data: Data, means: Sequence[float]
) -> dict[str, int | float]:
    """Add the row of an epoch whose steps are done to the history, and return it.

    `means` are TERMS over the epoch's steps.
    """
    row = {
        "epoch": len(progress.history) + 1,
        "step": progress.step,
        "learning_rate": progress.optimizer.param_groups[0]["lr"],
        **dict(zip(TERMS, means, strict=True)),
        "val_loss": validate(progress, objective, data.held_out),
    }
    progress.sums.zero_()
    progress.history.append(row)
    return row


def validate(progress: Progress, objective: Objective, batches: list[list[Part]]) -> float:
    """Mean loss of the averaged weights on fixed crops of validation cases; NaN without any."""
    if not batches:
        return float("nan")
    device = objective.ranks.device
    with progress.ema.applied_to(progress.model):
        progress.model.eval()
        values = [objective.value([part.to(device) for part in parts])[0] for parts in batches]
    return float(torch.stack(values).float().mean())


def leave(progress: Progress, ranks: Ranks, notice: Notice, name: str) -> None:
    """End the process; the state is saved."""
    ranks.any(False)  # none leaves before the first one has saved: a lost process ends the others
    if ranks.first:
        told = "%s: stopped by %s, the state after step %d is saved; run it again to go on"
        logger.warning(told, name, notice.received or "another process", progress.step)
    raise Interrupted
