"""Checkpoint: the state of a training, and whether a saved one may be taken up."""

import hashlib
import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from hermes.files.atomic import WriteError, writing
from hermes.train.optim import Ema, Lamb

KEYS = {"model", "ema", "optimizer", "fingerprint", "step", "sums", "history"}


@dataclass
class Progress:
    """Where a training stands: everything that has to be saved to go on from here.

    Attributes:
        model, ema, optimizer: weights, their average, running means of gradients.
        fingerprint: says what is trained on what; a state of another training is not taken up.
        sums: float64 [4], terms of the loss added up over the steps of the epoch that is not over.
        step: steps done.
        history: a row of metrics for each epoch that is over.
    """

    model: nn.Module
    ema: Ema
    optimizer: Lamb
    fingerprint: str
    sums: Tensor
    step: int = 0
    history: list[dict[str, int | float]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the state; it is whole, on the disk, before it replaces the last one.

        Raises WriteError: it could not be written; the last one is still there.
        """
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "fingerprint": self.fingerprint,
            "step": self.step,
            "sums": self.sums,
            "history": self.history,
        }
        try:
            with writing(path) as aside, open(aside, "wb") as file:
                torch.save(state, file)
        except WriteError as error:
            kept = "the last state is kept" if path.is_file() else "there is no state yet"
            raise WriteError(f"{error}; {kept}") from error

    def load(self, path: Path, device: torch.device) -> None:
        """Take up a saved state. Raises ValueError: unreadable, or of another training."""
        try:
            state = torch.load(path, map_location=device, weights_only=True)
            missing = KEYS - state.keys()
        except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError) as error:
            raise ValueError(f"{path}: no state of a training ({error})") from error
        if missing:
            raise ValueError(f"{path}: no state of a training, lacks {', '.join(sorted(missing))}")
        if state["fingerprint"] != self.fingerprint:
            raise ValueError(f"{path}: of other settings, code, cases or seed")
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.sums, self.history = state["step"], state["sums"], state["history"]


def fingerprint(parts: list, splits: Sequence[str | Path], folders: Sequence[str | Path]) -> str:
    """SHA-256 of everything that decides what a training learns, but the voxels themselves.

    Args:
        parts: values that JSON can hold: network, settings, seed, how images were prepared, code.
        splits: split files.
        folders: of preprocessed cases, whose `cases.tsv` (checksums, grids) stands for the voxels.
    """
    digest = hashlib.sha256(json.dumps(parts).encode())
    for path in [*splits, *(Path(folder) / "cases.tsv" for folder in folders)]:
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()
