"""Overlays: a test scan in three planes, with the reference and every run's prediction on it.

Slices are shown as a radiologist reads them: the patient's right on the left of the picture, the
front on top (axial), the head on top (coronal and sagittal). The prediction that is drawn is the
file a user gets, on the scan's own grid, brought to the canonical orientation for display.
"""

import logging
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.patches import Patch

from hermes.atomic import writing
from hermes.tables import read_tsv
from hermes.volume import Volume, read_nifti, reorient

logger = logging.getLogger(__name__)

PLANES = ("axial", "coronal", "sagittal")
LEGEND_MAX = 24  # names that fit under a picture


def run(
    *,
    dataset: str,
    title: str,
    structures: list[dict],
    runs: list[str],
    predictions: list[str],
    canonical: str | Path,
    label: str,
    picture: str | Path,
) -> None:
    """Draw one test case of a dataset: the scan, the reference, and each run's prediction.

    Where no case has a reference, the last one is drawn without.

    Args:
        dataset: its name.
        title: as printed.
        structures: per class, `title` and `colour`.
        runs: names of the runs.
        predictions: per run, the manifest of its predictions.
        canonical: folder of the converted cases.
        label: what the study's numbers are, printed under the picture.
        picture: PNG to write.
    """
    cases = [row["case"] for row in read_tsv(predictions[0])]
    canonical = Path(canonical)
    case = max(cases, key=lambda name: (_richness(canonical, name), name))
    scan = read_nifti(canonical / f"{case}.nii.gz")
    maps = {}
    if _label_file(canonical, case).is_file():
        maps["reference"] = read_nifti(_label_file(canonical, case)).array
    for name, manifest in zip(runs, predictions, strict=True):
        native = read_nifti(Path(manifest).parent / f"{case}.nii.gz")
        maps[name] = reorient(native).array
    figure = draw(scan, maps, structures, f"{title}: {case}", label)
    with writing(picture) as aside:
        figure.savefig(aside, dpi=110, facecolor="black")
    plt.close(figure)
    logger.info("%s: %s", dataset, case)


def _label_file(canonical: Path, case: str) -> Path:
    return canonical / f"{case}_label.nii.gz"


def _richness(canonical: Path, case: str) -> int:
    """Number of values in the reference of a case; 0 without one."""
    path = _label_file(canonical, case)
    return len(np.unique(read_nifti(path).array)) if path.is_file() else 0


def draw(
    scan: Volume, maps: dict[str, np.ndarray], structures: list[dict], title: str, label: str
) -> plt.Figure:
    """Draw a scan and label maps of it, all [z, y, x] in LPS, as rows of three planes.

    Args:
        scan: the image.
        maps: name -> label map; the slices go through the first one's richest places.
        structures: per class, `title` and `colour`.
        title: over the picture.
        label: under the picture.
    """
    centre = richest_slices(next(iter(maps.values())))
    rows: list[tuple[str, np.ndarray | None]] = [("scan", None), *maps.items()]
    figure, axes = plt.subplots(
        len(rows), 3, figsize=(10, 3.1 * len(rows) + 1), squeeze=False, layout="constrained"
    )
    for line, (name, values) in zip(axes, rows, strict=True):
        for axis, plane, panel in zip(line, range(3), PLANES, strict=True):
            _panel(axis, scan, values, plane, centre[plane], structures)
            axis.set_title(f"{name}, {panel}", color="white", fontsize=9)
    figure.suptitle(title, color="white")
    _legend(figure, next(iter(maps.values())), structures)
    figure.text(0.01, 0.004, label, color="0.7", fontsize=7)
    return figure


def richest_slices(label: np.ndarray) -> tuple[int, int, int]:
    """Per axis (z, y, x), the slice that shows most classes, then most labelled voxels."""
    indices = []
    for axis in range(3):
        planes = np.moveaxis(label, axis, 0)
        kinds = [len(np.unique(plane)) for plane in planes]
        voxels = (planes > 0).sum(axis=(1, 2))
        indices.append(max(range(len(planes)), key=lambda i: (kinds[i], voxels[i])))
    return indices[0], indices[1], indices[2]


def _panel(axis, scan: Volume, label: np.ndarray | None, plane: int, index: int, structures):
    """One slice; the head is on top, so z is turned over."""
    image = _slice(scan.array, plane, index)
    low, high = np.percentile(scan.array, (1, 99.5))
    spacing = np.delete(np.asarray(scan.spacing_mm), plane)
    aspect = spacing[0] / spacing[1]
    axis.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=aspect)
    axis.set_axis_off()
    if label is None:
        return
    values = np.ma.masked_equal(_slice(label, plane, index), 0)
    colours = ListedColormap([to_rgb(s["colour"]) for s in structures])
    axis.imshow(
        values,
        cmap=colours,
        vmin=0.5,
        vmax=len(structures) + 0.5,
        alpha=0.55,
        interpolation="nearest",
        aspect=aspect,
    )


def _slice(array: np.ndarray, plane: int, index: int) -> np.ndarray:
    cut = np.take(array, index, axis=plane)
    return cut if plane == 0 else cut[::-1]


def _legend(figure: plt.Figure, label: np.ndarray, structures: list[dict]) -> None:
    present = [k for k in np.unique(label) if 0 < k <= len(structures)][:LEGEND_MAX]
    patches = [
        Patch(color=structures[k - 1]["colour"], label=structures[k - 1]["title"]) for k in present
    ]
    figure.legend(
        handles=patches,
        loc="outside lower center",
        ncols=6,
        fontsize=7,
        frameon=False,
        labelcolor="white",
    )
