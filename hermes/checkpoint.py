"""Checkpoint: the state of a training, and whether a saved one may be taken up."""

import hashlib
import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from hermes.atomic import writing
from hermes.optim import Ema, Lamb


@dataclass
class Progress:
    """Where a training stands: everything that has to be saved to go on from here.

    The fingerprint says what is trained on what: a state of another training is not taken up.
    """

    model: nn.Module
    ema: Ema
    optimizer: Lamb
    fingerprint: str
    epoch: int
    history: list[dict[str, int | float]]

    def save(self, path: Path) -> None:
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "fingerprint": self.fingerprint,
            "epoch": self.epoch,
            "history": self.history,
        }
        with writing(path) as aside:
            torch.save(state, aside)

    def load(self, path: Path, device: torch.device) -> None:
        """Take up a saved state. Raises ValueError: unreadable, or of another training."""
        try:
            state = torch.load(path, map_location=device, weights_only=True)
            fingerprint = state["fingerprint"]
        except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: no state of a training ({error})") from error
        if fingerprint != self.fingerprint:
            raise ValueError(f"{path}: of other settings, cases or seed")
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.history = state["epoch"], state["history"]


def fingerprint(parts: list, splits: Sequence[str | Path], folders: Sequence[str | Path]) -> str:
    """SHA-256 of everything that decides what a training learns, but the code and the voxels.

    Args:
        parts: values that JSON can hold: network, settings, seed, how images were prepared.
        splits: split files.
        folders: of preprocessed cases, whose `cases.tsv` (checksums, grids) stands for the voxels.
    """
    digest = hashlib.sha256(json.dumps(parts).encode())
    for path in [*splits, *(Path(folder) / "cases.tsv" for folder in folders)]:
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()
