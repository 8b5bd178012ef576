"""Raw layout of DLBS: skull-stripped brains with probability maps, another cohort beside them."""

from pathlib import Path

import numpy as np

from hermes.phantom.acquire import Job, scan_grid
from hermes.phantom.brain import brain, brain_space
from hermes.phantom.files import write_nifti
from hermes.phantom.imaging import scan
from hermes.phantom.patient import Patient
from hermes.phantom.render import Grid, paint


def dlbs_part(job: Job) -> str:
    """train, valid or test: 129, 43 and 43 of 215."""
    share = (job.number + 0.5) / job.patients
    return "train" if share < 129 / 215 else "valid" if share < 172 / 215 else "test"


def write_dlbs(job: Job, folder: Path) -> None:
    """A skull-stripped T1 brain and its probability maps; another cohort lies beside the first."""
    base = folder / dlbs_part(job)
    _write_brain(job, base, f"dlbs_{28000 + 17 * job.number}")
    if job.number == 0:
        other = Job(job.dataset, 10**6, job.patients, job.seed, job.voxel_scale)
        _write_brain(other, base, "ixi_002")


def paint_brain(job: Job, patient: Patient, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Skull-stripped T1 image (z, y, x) and probabilities of GM, WM and CSF (3, z, y, x)."""
    structures = brain(patient.body, brain_space())
    machine = job.protocol.machine(job.draws("machine"))
    matters = ("gray_matter", "white_matter", "csf")

    def values(tissue: str) -> list[float]:
        return [machine.value(tissue), *(float(tissue == matter) for matter in matters)]

    channels, _ = paint(structures, grid, patient.warp, values, (0.0,) * 4)
    image = scan(channels[0], machine, job.draws("noise"))
    image[channels[1:].sum(axis=0) < 0.5] = 0
    return image, channels[1:]


def _write_brain(job: Job, base: Path, name: str) -> None:
    patient = job.patient()
    grid = scan_grid(job, patient)
    image, maps = paint_brain(job, patient, grid)
    affine = grid.affine.copy()
    middle = patient.warp.scale * (0, 24, 722) + patient.warp.shift
    # ASSUME: this point of the brain lies at the template's origin, with no further alignment
    affine[:3, 3] -= middle * (-1, -1, 1)
    write_nifti(base / f"image/{name}_img.nii", image.astype(np.float32), affine)
    for matter, probability in zip(("graymatter", "whitematter", "csf"), maps, strict=True):
        write_nifti(base / f"mask/{name}_probmask_{matter}.nii", probability, affine)
