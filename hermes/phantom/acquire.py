"""One patient in one scanner: the grid, the image, the label map on the same grid."""

from dataclasses import dataclass

import numpy as np

from hermes.axes import triple
from hermes.phantom.imaging import Scan, scan
from hermes.phantom.patient import Patient, generator, make_patient
from hermes.phantom.protocols import PROTOCOLS, Protocol
from hermes.phantom.render import Grid, paint, world_points
from hermes.phantom.shapes import Number, Vector, rotation
from hermes.phantom.structure import Structure

_DIRECTIONS = {
    "R": (1, 0, 0),
    "L": (-1, 0, 0),
    "A": (0, 1, 0),
    "P": (0, -1, 0),
    "S": (0, 0, 1),
    "I": (0, 0, -1),
}


@dataclass(frozen=True)
class Job:
    """One patient of one dataset. `number` counts from 0 among `patients`.

    `own` replaces the dataset's protocol.
    """

    dataset: str
    number: int
    patients: int
    seed: int
    voxel_scale: Number
    own: Protocol | None = None

    @property
    def protocol(self) -> Protocol:
        return self.own or PROTOCOLS[self.dataset]

    def draws(self, purpose: str) -> np.random.Generator:
        """Random numbers for one purpose of this patient."""
        return generator(self.seed, self.dataset, self.number, purpose)

    def patient(self, lesions: bool | None = None) -> Patient:
        """The patient of this job."""
        return make_patient(self.seed, self.dataset, self.number, self.protocol.disease, lesions)


def written_spacing(protocol: Protocol, voxel_scale: Number) -> tuple[Number, Number]:
    """In-plane spacing and slice spacing in mm after coarsening."""
    plane = protocol.spacing_mm[0] * voxel_scale
    return plane, max(protocol.spacing_mm[1], plane)


def make_grid(
    centre: np.ndarray,
    field_mm: Vector,
    spacing: Vector,
    codes: str,
    tilt: np.ndarray | None = None,
) -> Grid:
    """A grid around a centre (LPS mm) with the given axis codes.

    Args:
        centre: of the field of view, LPS mm.
        field_mm: extent left-right, front-back, head-foot.
        spacing: in-plane and slice spacing in mm; slices are stacked head-foot.
        codes: where index x, y and z grow to, e.g. "LPS".
        tilt: rotation matrix of the whole grid about its centre.
    """
    axes = np.array([_DIRECTIONS[code] for code in codes], float).T
    along = np.abs(axes).argmax(axis=0)
    steps = np.array([spacing[0], spacing[0], spacing[1]])[along]
    size = np.maximum(1, np.round(np.asarray(field_mm)[along] / steps)).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = (axes if tilt is None else tilt @ axes) * steps
    affine[:3, 3] = np.array([-1, -1, 1]) * centre - affine[:3, :3] @ ((size - 1) / 2)
    return Grid(affine, triple(int(n) for n in size))


def scan_grid(job: Job, patient: Patient, purpose: str = "grid", lower_mm: Number = 0) -> Grid:
    """The protocol's field of view laid on this patient, moved and tilted a little.

    `lower_mm` extends it downwards.
    """
    protocol, draw, warp = job.protocol, job.draws(purpose), patient.warp
    reach = np.array(protocol.reach_mm) * warp.scale[2] + warp.shift[2]
    low, high = reach + draw.uniform(-8, 8, 2)
    centre = np.array([*draw.normal(warp.shift[:2], 3), 0.5 * (low + high - lower_mm)])
    codes = protocol.orientations[job.number % len(protocol.orientations)]
    tilted = draw.random() < protocol.oblique
    angles = draw.uniform(-9, 9, 3)
    return make_grid(
        centre,
        (*protocol.field_mm, high - low + lower_mm),
        written_spacing(protocol, job.voxel_scale),
        codes,
        rotation(angles) if tilted else None,
    )


def stored_affine(job: Job, grid: Grid) -> np.ndarray:
    """The grid's affine as the scanner writes it: its origin is the scanner's, not the body's."""
    affine = grid.affine.copy()
    affine[:3, 3] += np.round(job.draws("table position").uniform(-60, 60, 3), 1)
    return affine


def label_map(top: np.ndarray, structures: list[Structure], labels: dict[str, int]) -> np.ndarray:
    """Published values (uint8) from the index of the structure on top: its first labelled name."""
    table = np.zeros(len(structures) + 1, np.uint8)
    for index, structure in enumerate(structures, start=1):
        table[index] = next((labels[name] for name in structure.names if name in labels), 0)
    return table[top]


def acquire(
    job: Job,
    patient: Patient,
    grid: Grid,
    machine: Scan,
    purpose: str = "noise",
    labels: dict[str, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Image (float32) and label map (uint8, published values) of a patient, both (z, y, x)."""
    air = machine.value("air")
    channels, top = paint(
        patient.structures, grid, patient.warp, lambda tissue: (machine.value(tissue),), (air,)
    )
    if air < -900:
        _couch(channels[0], top, patient, grid)
    image = scan(channels[0], machine, job.draws(purpose))
    return image, label_map(top, patient.structures, labels or job.protocol.labels)


def _couch(image: np.ndarray, top: np.ndarray, patient: Patient, grid: Grid) -> None:
    """Lay a curved carbon couch with a foam core under the back, where there is air."""
    back = (98 + patient.body.fat_mm) * patient.warp.scale[1] + patient.warp.shift[1] + 6
    radius = 420.0
    x, y, _ = world_points(grid)
    depth = np.hypot(x, y - (back - radius)) - radius
    wide = (np.abs(x) < 205) & (y > back - 60)
    air = top == 0
    image[air & wide & (depth > 0) & (depth < 32)] = -880
    image[air & wide & ((np.abs(depth - 2) < 3.2) | (np.abs(depth - 30) < 3.2))] = -250
