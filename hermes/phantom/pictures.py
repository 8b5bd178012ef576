"""Pictures of the phantom: three planes of one patient per protocol, alone and with labels.

`python -m hermes.phantom.pictures OUT` writes `OUT/phantom_<group>.png`. The voxels are finer here
than in the phantom study, so that the anatomy can be judged; `--study` draws the study's own.
"""

import argparse
import colorsys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from hermes.phantom.acquire import Job, acquire, scan_grid
from hermes.phantom.dlbs import paint_brain
from hermes.phantom.imaging import Scan
from hermes.phantom.machines import in_phase, out_of_phase, t2_fat_suppressed
from hermes.phantom.mnms import short_axis
from hermes.phantom.patient import Patient, at_phase
from hermes.phantom.protocols import PROTOCOLS
from hermes.phantom.render import Grid

FINE_MM = {"ss_h": 1.6, "dlbs": 1.5, "mnms": 1.6, "autopet": 4.0}
"""In-plane voxel size of the pictures; 2.4 mm where none is given."""

WINDOWS = {"ct": (-180.0, 260.0), "lung": (-1050.0, 350.0), "head": (-160.0, 220.0)}


@dataclass(frozen=True)
class View:
    """One row of a picture: what is drawn and how its grey values are shown."""

    title: str
    dataset: str
    number: int = 0
    window: tuple[float, float] | None = None  # None: 1st to 99.5th percentile
    machine: Callable[[np.random.Generator], Scan] | None = None  # None: the protocol's own
    contraction: float = 0.0
    aside: int = 0  # voxels from the chosen sagittal plane


GROUPS: dict[str, list[View]] = {
    "thorax": [
        View("SS T", "ss_t", 0, WINDOWS["ct"]),
        View("SegTHOR", "segthor", 1, WINDOWS["lung"]),
    ],
    "abdomen_ct": [
        View("BCV", "bcv", 0, WINDOWS["ct"]),
        View("AMOS CT", "amos_ct", 0, WINDOWS["ct"]),
        View("LiTS", "lits", 0, WINDOWS["ct"]),
        View("KiTS", "kits", 0, WINDOWS["ct"]),
        View("MSD Pancreas", "msd_pancreas", 0, WINDOWS["ct"]),
    ],
    "abdomen_mr": [
        View("CHAOS T1 in", "chaos", 0, machine=in_phase),
        View("CHAOS T1 out", "chaos", 0, machine=out_of_phase),
        View("CHAOS T2", "chaos", 0, machine=t2_fat_suppressed),
        View("AMOS MR", "amos_mr", 2),
    ],
    "head": [View("SS H", "ss_h", 0, WINDOWS["head"]), View("DLBS", "dlbs", 0, aside=8)],
    "heart": [View("M&Ms ED", "mnms", 0), View("M&Ms ES", "mnms", 0, contraction=1.0)],
    "pet": [View("AutoPET", "autopet", 0, (0.0, 7.0))],
}


def sample(view: View, voxel_scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image and label map (z, y, x), LPS, and spacing in mm (z, y, x)."""
    job = Job(view.dataset, view.number, 20, 1, voxel_scale)
    patient = job.patient(lesions=view.dataset == "autopet")
    if view.dataset == "mnms":
        patient = at_phase(patient, view.contraction)
    if view.dataset == "dlbs":
        grid = _upright(job, patient)
        image, maps = paint_brain(job, patient, grid)
        background = 1 - maps.sum(axis=0, keepdims=True)
        return image, np.concatenate([background, maps]).argmax(axis=0), grid.spacing_mm[::-1]
    grid = short_axis(job, patient) if view.dataset == "mnms" else _upright(job, patient)
    draw = job.draws("machine")
    machine = view.machine(draw) if view.machine else job.protocol.machine(draw)
    image, label = acquire(job, patient, grid, machine)
    return image, label, grid.spacing_mm[::-1]


def _upright(job: Job, patient: Patient) -> Grid:
    """The protocol's field of view without tilt, index axes towards L, P, S, isotropic."""
    upright = replace(
        job.protocol, orientations=("LPS",), oblique=0.0, spacing_mm=(job.protocol.spacing_mm[0], 0)
    )
    return scan_grid(replace(job, own=upright), patient)


def colours(count: int) -> np.ndarray:
    """RGB of the labels 1..count, hues spread by the golden ratio."""
    return np.array(
        [colorsys.hsv_to_rgb(k * 0.618 % 1, 0.75 if k % 2 else 0.95, 1.0) for k in range(count)]
    )


def planes(volume: np.ndarray, centre: np.ndarray) -> list[np.ndarray]:
    """Axial, coronal and sagittal cuts through a voxel; the head is up, the face to the left."""
    z, y, x = centre
    return [volume[z], volume[::-1, y], volume[::-1, :, x]]


def _centre(label: np.ndarray) -> np.ndarray:
    """The voxel on whose planes most structures lie, counted with little regard to their size."""
    scores = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        values = [v for v in np.unique(label) if v]
        counts = np.array([np.count_nonzero(label == v, axis=others) for v in values] or [[1]])
        scores.append(
            int(np.argmax(np.sqrt(counts / counts.max(axis=1, keepdims=True)).sum(axis=0)))
        )
    return np.array(scores)


def _overlay(grey: np.ndarray, label: np.ndarray, palette: np.ndarray) -> np.ndarray:
    rgb = np.repeat(grey[..., None], 3, axis=2)
    inside = label > 0
    few = np.round(rgb[inside] * 5) / 5  # few shades, so that the file's palette holds them all
    rgb[inside] = 0.5 * few + 0.5 * palette[label[inside]]
    return rgb


def draw_row(axes: np.ndarray, view: View, voxel_scale: float) -> None:
    """Fill six axes: three planes alone, the same three with labels."""
    image, label, spacing = sample(view, voxel_scale)
    low, high = view.window or np.percentile(image, [1, 99.5])
    grey = np.round(np.clip((image - low) / (high - low), 0, 1) * 40) / 40
    values, index = np.unique(label, return_inverse=True)
    index = index.reshape(label.shape) if 0 in values else index.reshape(label.shape) + 1
    palette = np.vstack([[0, 0, 0], colours(40)])
    centre = _centre(label)
    centre[2] += view.aside
    ratios = [spacing[1] / spacing[2], spacing[0] / spacing[2], spacing[0] / spacing[1]]
    cuts = zip(planes(grey, centre), planes(index, centre), ratios, strict=True)
    for k, (cut, named, ratio) in enumerate(cuts):
        axes[k].imshow(cut, cmap="gray", vmin=0, vmax=1, aspect=ratio, interpolation="nearest")
        axes[k + 3].imshow(_overlay(cut, named, palette), aspect=ratio, interpolation="nearest")
    axes[0].set_title(view.title, fontsize=9, loc="left")


def draw_group(path: Path, views: list[View], study: bool) -> None:
    """Write one picture, its colours reduced to 256 to keep the file small."""
    fig, axes = plt.subplots(len(views), 6, figsize=(11.5, 2.15 * len(views)), squeeze=False)
    for ax in axes.ravel():
        ax.set_axis_off()
    for row, view in zip(axes, views, strict=True):
        plane = PROTOCOLS[view.dataset].spacing_mm[0]
        draw_row(row, view, 5.0 if study else FINE_MM.get(view.dataset, 2.4) / float(plane))
    fig.tight_layout(pad=0.3)
    fig.savefig(path, dpi=95, metadata={"Software": None})
    plt.close(fig)
    Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        path, optimize=True
    )


def main() -> None:
    """Command line: `OUT` and, to draw only some, names of groups."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("groups", nargs="*", default=list(GROUPS), help=", ".join(GROUPS))
    parser.add_argument("--study", action="store_true", help="voxels five times the published ones")
    given = parser.parse_args()
    plt.switch_backend("Agg")
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.groups:
        draw_group(given.out / f"phantom_{name}.png", GROUPS[name], given.study)


if __name__ == "__main__":
    main()
