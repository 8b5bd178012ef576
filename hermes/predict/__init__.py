"""Predict: sliding windows over prepared images, written back on the scanner's own grid.

Two files per case: the segmentation as a NIfTI volume on the grid of the raw input, and the class
masks on the training grid (thresholded one by one, so that they may overlap), for the numbers that
the paper takes there. What is predicted of a scan (`hermes.predict.crop`) stands in the manifest.

A case that is done is recorded and passed over by a later run (`hermes.predict.cases`), so that
one that was killed goes on with the next case.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hermes.config.registry import modality_id
from hermes.dataset import cases_of
from hermes.files.masks import save_masks
from hermes.files.nifti import write_nifti
from hermes.files.store import open_case
from hermes.files.tables import write_tsv
from hermes.files.volume import Volume, reorient_like
from hermes.jobs.bars import Bar, barred
from hermes.jobs.precision import choose_device, choose_dtype
from hermes.jobs.strict import pin
from hermes.models.build import ModelSpec, load_model
from hermes.origin import file_hash
from hermes.predict.cases import (
    COLUMNS,
    PredictError,
    arithmetic,
    files_of,
    fingerprint,
    gather,
    recall,
    records_of,
    remember,
)
from hermes.predict.crop import WHOLE, Crop, Mode, Part, on_grid, predicted_part, within
from hermes.predict.windows import sliding_window
from hermes.resample import resample_label_to

__all__ = [
    "PredictError",
    "Windows",
    "predict_case",
    "run",
    "segment",
    "to_canonical",
    "to_native",
    "windows_of",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Windows:
    """How a volume is covered: window and stride in voxels (z, y, x), windows per forward pass."""

    size: tuple[int, int, int]
    stride: tuple[int, int, int]
    batch: int
    threshold: float
    precision: str = "auto"


def windows_of(training: dict, prediction: dict) -> Windows:
    """Windows as large as the training crop; the stride is a share of it.

    Args:
        training: the training values kept with a model.
        prediction: values of `hermes.config.study_schema.Prediction`.
    """
    size = tuple(training["crop"])
    stride = tuple(max(1, round(n * prediction["stride"])) for n in size)
    return Windows(
        size, stride, prediction["batch"], prediction["threshold"], training["precision"]
    )


def run(
    *,
    name: str,
    model: str | Path,
    dataset: str,
    folder: str | Path,
    split: str | Path,
    out: str | Path,
    prediction: dict,
    test_crop: Mode = "none",
    test_crop_margin: int = 0,
    shard: Sequence[int] = (0, 1),
    shards: Sequence[str | Path] = (),
    device: str = "auto",
    threads: int = 1,
    strict: bool = False,
) -> None:
    """Predict the test cases of a dataset with one trained model, or a shard of them.

    Args:
        name: the run's name.
        model: its `model.safetensors`.
        dataset: the dataset to predict.
        folder: of its preprocessed cases.
        split: its split file.
        out: manifest to write, a row per case; the files lie beside it.
        prediction: values of `hermes.config.study_schema.Prediction`.
        test_crop: what is predicted of a scan, `none` (all that is stored), `image` or
            `reference`.
        test_crop_margin: voxels of the training grid around the box.
        shard: (i, n): test cases i, i + n, i + 2n, ... alone; (0, 1): all of them, and what
            earlier runs left of other cases is removed.
        shards: manifests of all shards; nothing is predicted where they are given, but gathered.
        device: `auto`, `cpu`, `cuda`, ...
        threads: CPU threads; their number decides how sums round.
        strict: see `hermes.jobs.strict`.

    Raises:
        PredictError: shards that are not those of this split.
    """
    if shards:
        gather(shards, cases_of(split, "test"), out)
        logger.info("%s: %s, %d shards gathered", name, dataset, len(shards))
        return
    torch.set_num_threads(threads)
    where = choose_device(device)
    network, spec, extra = load_model(Path(model).parent, where)
    windows = windows_of(extra["training"], prediction)
    if strict:
        windows = replace(windows, precision=pin(windows.precision, where.type))
    crop = Crop(test_crop, test_crop_margin)
    first, step = shard
    cases = cases_of(split, "test")[first::step]
    weights, beside, rows, known = file_hash(model), Path(out).parent, [], 0
    how = {"weights": weights, "spec": asdict(spec), "dataset": dataset}
    how |= {"windows": asdict(windows), "crop": asdict(crop)}
    how |= arithmetic(windows.precision, where)
    started = time.perf_counter()
    for case in barred(cases, Bar(f"predict {name} {dataset}", len(cases), "case")):
        mark = fingerprint(how, folder, case)
        facts = recall(beside, case, mark)
        known += facts is not None
        if facts is None:
            part = predict_case(network, spec, dataset, folder, case, beside, windows, crop)
            facts = remember(beside, case, mark, part)
        rows.append(facts | {"model_sha256": weights})
    if step == 1:
        records_of(beside).tidy(cases)
    write_tsv(out, COLUMNS, rows)
    seconds = time.perf_counter() - started
    modes = ", ".join(sorted({row["crop"] for row in rows})) or crop.mode
    done = f" ({known} of them done before)" if known else ""
    count = f"{len(cases)} cases{done}"
    logger.info("%s: %s, %s, crop %s, %.1f s", name, dataset, count, modes, seconds)


def predict_case(
    network: nn.Module,
    spec: ModelSpec,
    dataset: str,
    folder: str | Path,
    case: str,
    out: Path,
    windows: Windows,
    crop: Crop = WHOLE,
) -> Part:
    """Predict all classes of a dataset on one preprocessed case and write both files.

    Returns what was predicted of it.
    """
    stored = open_case(folder, case)
    part = predicted_part(stored, crop)
    box = part.box
    image = torch.from_numpy(stored.image[within(box, stored.box)].astype(np.float32))
    found = segment(
        network, spec, image, spec.datasets[dataset], dataset, stored.meta["modality"], windows
    )
    size = tuple(stored.meta["grid_size"])
    masks, label = (on_grid(array, box, size) for array in found)
    native, grid = files_of(out, case)
    save_masks(grid, masks)
    write_nifti(native, to_native(label, stored.meta), dtype=np.uint8)
    return part


@torch.no_grad()
def segment(
    network: nn.Module,
    spec: ModelSpec,
    image: Tensor,
    tasks: tuple[str, ...],
    dataset: str,
    modality: str,
    windows: Windows,
) -> tuple[np.ndarray, np.ndarray]:
    """Ask a network for some of its tasks on one prepared image.

    Args:
        network: a trained model.
        spec: its description.
        image: float32 [z, y, x], on the training grid, z-scored.
        tasks: names of the wanted tasks.
        dataset: whose protocol is asked for (methods with a dataset code need it).
        modality: name of the image's modality.
        windows: how the volume is covered.

    Returns:
        Masks uint8 [K, z, y, x] in the order of `tasks`, and the label map uint8 [z, y, x] with
        values 1..K.
    """
    network.eval()
    where = next(network.parameters()).device
    dtype = choose_dtype(windows.precision, where)
    rows = torch.tensor([[spec.tasks.index(task) for task in tasks]], device=where)
    which = torch.tensor([list(spec.datasets).index(dataset)], device=where)
    kind = torch.tensor([modality_id(modality)], device=where)

    def forward(crops: Tensor) -> Tensor:
        count = len(crops)
        crops = crops.to(where).contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(where.type, dtype=dtype, enabled=dtype != torch.float32):
            output = network(crops, rows.expand(count, -1), which.expand(count), kind.expand(count))
        return output.logits

    return sliding_window(
        image,
        windows.size,
        windows.stride,
        forward,
        batch_size=windows.batch,
        classes=len(tasks),
        threshold=windows.threshold,
        device=where,
    )


def to_canonical(label: np.ndarray, meta: dict) -> np.ndarray:
    """Bring a label map [z, y, x] from the training grid to the canonical grid of its case."""
    affine = np.reshape(meta["canonical_affine"], (4, 4))
    spacing_mm = Volume(np.empty((1, 1, 1), np.uint8), affine).spacing_mm
    return resample_label_to(label, meta["grid_spacing_mm"], meta["canonical_size"], spacing_mm)


def to_native(label: np.ndarray, meta: dict) -> Volume:
    """Bring a label map [z, y, x] from the training grid to the grid of the raw input."""
    canonical = Volume(to_canonical(label, meta), np.reshape(meta["canonical_affine"], (4, 4)))
    native_affine = np.reshape(meta["native_affine"], (4, 4))
    return reorient_like(canonical, native_affine, meta["native_size"])
