"""What a training says of itself: a row of metrics and a line of log per epoch."""

import csv
from pathlib import Path

from hermes.files.atomic import writing

METRICS = (
    "epoch",
    "step",
    "learning_rate",
    "loss",
    "cross_entropy",
    "overlap",
    "modality",
    "val_loss",
)


def line(row: dict[str, int | float], epochs: int) -> str:
    """An epoch in one line."""
    return (
        f"epoch {row['epoch']}/{epochs} lr {row['learning_rate']:.2e} loss {row['loss']:.4f} "
        f"ce {row['cross_entropy']:.4f} overlap {row['overlap']:.4f} "
        f"modality {row['modality']:.3f} val {row['val_loss']:.4f}"
    )


def write_metrics(path: Path, history: list[dict[str, int | float]]) -> None:
    """TSV with a row per epoch."""
    with writing(path) as aside, open(aside, "w", encoding="utf-8", newline="") as handle:
        table = csv.DictWriter(handle, METRICS, delimiter="\t", lineterminator="\n")
        table.writeheader()
        table.writerows({key: f"{value:.8g}" for key, value in row.items()} for row in history)
