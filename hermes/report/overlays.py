"""Overlays: a test scan in three planes, with the reference and every run's prediction on it.

Slices are shown as a radiologist reads them: the patient's right on the left of the picture, the
front on top (axial), the head on top (coronal and sagittal). The prediction that is drawn is the
file a user gets, on the scan's own grid, brought to the canonical orientation for display.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.patches import Patch

from hermes.files.atomic import writing
from hermes.files.nifti import read_nifti
from hermes.files.tables import read_tsv
from hermes.files.volume import Volume, reorient

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
    window: list[float] | None,
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
        label: what the study's numbers are, printed under the title.
        window: grey values shown as black and white, in the scan's unit; None: by percentiles.
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
    figure = draw(scan, maps, structures, f"{title}: {case}\n{label}", window)
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
    scan: Volume,
    maps: dict[str, np.ndarray],
    structures: list[dict],
    title: str,
    window: list[float] | None,
) -> plt.Figure:
    """Draw a scan and label maps of it, all [z, y, x] in LPS: a row per plane, a column per map.

    Args:
        scan: the image.
        maps: name -> label map; the slices go through the first one's richest places.
        structures: per class, `title` and `colour`.
        title: over the picture.
        window: grey values shown as black and white, in the scan's unit; None: by percentiles.
    """
    centre = richest_slices(next(iter(maps.values())))
    columns: list[tuple[str, np.ndarray | None]] = [("scan", None), *maps.items()]
    z, y, x = np.asarray(scan.array.shape) * scan.spacing_mm
    heights = (y / x, z / x, z / y)  # of the planes, in column widths
    figure, axes = plt.subplots(
        3,
        len(columns),
        figsize=(3.4 * len(columns), 3.4 * sum(heights) + 1.4),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    grey = window or np.percentile(scan.array, (1, 99.5))
    for plane, line in enumerate(axes):
        for axis, (name, values) in zip(line, columns, strict=True):
            _panel(axis, scan, values, plane, centre[plane], structures, grey)
            if plane == 0:
                axis.set_title(name, color="white", fontsize=10)
        line[0].text(0.01, 0.98, PLANES[plane], color="0.8", fontsize=8, va="top",
                     transform=line[0].transAxes)  # fmt: skip
    figure.suptitle(title, color="white", fontsize=9)
    _legend(figure, next(iter(maps.values())), structures)
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


def _panel(
    axis: plt.Axes,
    scan: Volume,
    label: np.ndarray | None,
    plane: int,
    index: int,
    structures: list[dict],
    grey: Sequence[float],
) -> None:
    """One slice; the head is on top, so z is turned over."""
    image = _slice(scan.array, plane, index)
    low, high = grey
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
        ncols=2 * (1 + len(figure.axes) // 3),
        fontsize=7,
        frameon=False,
        labelcolor="white",
    )
