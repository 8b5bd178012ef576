"""Apply a trained model to one's own scan: prepared as in training, answered on its own grid."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hermes.config.registry import nearest
from hermes.config.schema import Intensity
from hermes.files.nifti import read_nifti, write_nifti
from hermes.files.volume import Volume, reorient
from hermes.jobs.precision import choose_device
from hermes.models.build import load_model
from hermes.predict import segment, to_native, windows_of
from hermes.preprocess import Settings, describe, normalise, target_spacing_mm
from hermes.resample import resample_image


@dataclass(frozen=True)
class Answer:
    """A segmentation of a scan: the label map on its own grid, and what its values mean."""

    label: Volume
    names: dict[int, str]


def segment_file(
    model: str | Path,
    image: str | Path,
    out: str | Path,
    *,
    dataset: str = "",
    modality: str = "",
    tasks: list[str] | None = None,
    device: str = "auto",
    stride: float = 0.5,
    batch: int = 1,
    threshold: float = 0.5,
) -> Answer:
    """Segment a NIfTI scan and write the label map on the scan's own grid.

    Args:
        model: folder of a trained model (`model.safetensors`, `model.json`).
        image: the scan, in any orientation.
        out: label map to write; its values are the keys of the answer's names.
        dataset: whose protocol (spacing, window, classes) is followed; default: the model's first.
        modality: of the scan; default: that dataset's.
        tasks: task names, default: all of the dataset's. Any task of the model may be asked for.
        device: `auto`, `cpu`, `cuda`, ...
        stride: step between windows, a share of the window.
        batch: windows per forward pass.
        threshold: probability over which a class is present.

    Raises:
        ValueError: an unknown dataset or task, answered with the nearest right name; an `out` that
            is the scan itself or no NIfTI name.
        FileNotFoundError: no folder for `out`.
    """
    _check_output(Path(image), Path(out))
    network, spec, extra = load_model(Path(model), choose_device(device))
    dataset = dataset or next(iter(spec.datasets))
    _known(dataset, spec.datasets, f"{model}: no dataset")
    wanted = tuple(tasks or spec.datasets[dataset])
    for task in wanted:
        _known(task, spec.tasks, f"{model}: no task")
    preparation = extra["preparation"][dataset]
    modality = modality or preparation["modality"]
    prepared, meta = _prepare(Path(image), dataset, modality, preparation)
    covering = {"stride": stride, "batch": batch, "threshold": threshold}
    windows = windows_of(extra["training"], covering)
    _, label = segment(network, spec, prepared, wanted, dataset, modality, windows)
    answer = Answer(to_native(label, meta), dict(enumerate(wanted, start=1)))
    write_nifti(out, answer.label, dtype=np.uint8)
    return answer


def _check_output(image: Path, out: Path) -> None:
    """Before any work, and before anything is lost."""
    if out.resolve() == image.resolve():
        raise ValueError(f"{out}: is the scan itself, which the answer would replace; name another")
    if not out.name.endswith((".nii", ".nii.gz")):
        raise ValueError(f"{out}: not a .nii or .nii.gz name; the answer is a NIfTI file")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"{out.parent}: no such folder; make it first")


def _known(name: str, names: Collection[str], problem: str) -> None:
    if name not in names:
        raise ValueError(f"{problem} {name!r}{nearest(name, names)}")


def _prepare(
    path: Path, dataset: str, modality: str, preparation: dict
) -> tuple[torch.Tensor, dict]:
    """The network's input float32 [z, y, x] and the way back to the scan's grid."""
    native = read_nifti(path)
    volume = reorient(native)
    settings = Settings(
        dataset=dataset,
        classes=0,
        spacing_mm=preparation["spacing_mm"],
        keep_native_z=preparation["keep_native_z"],
        intensity=preparation["intensity"],
        seed=0,
    )
    _known(modality, settings.intensity, f"{path}: no intensity window for modality")
    target = target_spacing_mm(volume, settings)
    resampled = resample_image(volume.array, volume.spacing_mm, target)
    image, _ = normalise(resampled, Intensity(**settings.intensity[modality]))
    row = {
        "case": path.name,
        "modality": modality,
        "native_axes": ",".join(native.axcodes),
        "native_affine": " ".join(repr(float(x)) for x in native.affine.ravel()),
        "native_size": " ".join(map(str, native.array.shape[::-1])),
    }
    return torch.from_numpy(image), describe(volume, row, settings, image.shape, target)
