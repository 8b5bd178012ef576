"""Raw layout of AutoPET: studies of patients, half of them without a lesion."""

import hashlib
from pathlib import Path

import numpy as np

from hermes.phantom.acquire import Job, label_map, scan_grid, stored_affine
from hermes.phantom.files import as_int16, write_nifti
from hermes.phantom.imaging import Scan, ct, scan
from hermes.phantom.patient import Patient, generator
from hermes.phantom.render import paint


def autopet_studies(job: Job) -> list[bool]:
    """For each study of this patient, whether it has lesions; half of all studies have none.

    ASSUME: every seventh patient has a second study (published: 1014 studies of 900 patients).
    """
    counts = [2 if number % 7 == 3 else 1 for number in range(job.patients)]
    total, first = sum(counts), sum(counts[: job.number])
    order = generator(job.seed, job.dataset, -1 % 2**31, "empty").permutation(total)
    return [bool(order[first + k] >= total // 2) for k in range(counts[job.number])]


def write_autopet(job: Job, folder: Path) -> None:
    """SUV, lesion mask and a resampled CT of each study, in folders named as published."""
    key = hashlib.sha256(f"{job.seed}/{job.dataset}/{job.number}".encode()).hexdigest()
    for k, lesions in enumerate(autopet_studies(job)):
        draw = job.draws(f"study {k}")
        day, month, year = draw.integers(1, 29), draw.integers(1, 13), draw.integers(2001, 2009)
        number = draw.integers(10**4, 10**5)
        study = f"{month:02d}-{day:02d}-{year}-NA-PET-CT Ganzkoerper  primaer mit KM-{number}"
        _write_study(job, folder / f"PETCT_{key[:10]}" / study, job.patient(lesions), k)


def _write_study(job: Job, folder: Path, patient: Patient, k: int) -> None:
    grid = scan_grid(job, patient, f"grid {k}")
    pet = job.protocol.machine(job.draws(f"machine {k}"))
    tomograph = Scan(ct(0.1, 0.8), noise=12)
    channels, top = paint(
        patient.structures,
        grid,
        patient.warp,
        lambda tissue: (pet.value(tissue), tomograph.value(tissue)),
        (0.0, -1000.0),
    )
    affine = stored_affine(job, grid)
    suv = np.maximum(scan(channels[0], pet, job.draws(f"noise {k}")), 0).astype(np.float32)
    hu = scan(channels[1], tomograph, job.draws(f"noise CT {k}"))
    write_nifti(folder / "SUV.nii.gz", suv, affine)
    write_nifti(folder / "CTres.nii.gz", as_int16(hu), affine)
    label = label_map(top, patient.structures, job.protocol.labels)
    write_nifti(folder / "SEG.nii.gz", label, affine)
