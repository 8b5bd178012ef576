"""Raw layout of CHAOS MR: DICOM series and PNG masks."""

from pathlib import Path

import numpy as np

from hermes.phantom.acquire import Job, acquire, scan_grid, stored_affine
from hermes.phantom.files import uid, write_dicom_slice, write_mask_png
from hermes.phantom.machines import in_phase, out_of_phase, t2_fat_suppressed
from hermes.phantom.render import Grid

CHAOS_IDS = (1, 2, 3, 5, 8, 10, 13, 15, 19, 20, 21, 22, 31, 32, 33, 34, 36, 37, 38, 39)


def write_chaos(job: Job, folder: Path) -> None:
    """T1 in and out of phase on one grid with one mask, T2 on another; DICOM and PNG."""
    patient, number = job.patient(), CHAOS_IDS[job.number]
    base = folder / f"Train_Sets/MR/{number}"
    dual = scan_grid(job, patient, "grid T1")
    inside, label = acquire(job, patient, dual, in_phase(job.draws("in phase")), "noise in")
    outside, _ = acquire(job, patient, dual, out_of_phase(job.draws("out of phase")), "noise out")
    phases = {"InPhase": (inside, 2), "OutPhase": (outside, 1)}
    for phase, (image, first) in phases.items():
        names = [f"IMG-0004-{2 * k + first:05d}" for k in range(len(image))]
        _write_series(job, base / "T1DUAL/DICOM_anon" / phase, names, image, dual, "T1DUAL", phase)
    names = [f"IMG-0004-{2 * k + 2:05d}" for k in range(len(label))]
    _write_masks(base / "T1DUAL/Ground", names, label)
    t2 = scan_grid(job, patient, "grid T2")
    image, label = acquire(job, patient, t2, t2_fat_suppressed(job.draws("T2")), "noise T2")
    names = [f"IMG-0002-{k + 1:05d}" for k in range(len(image))]
    _write_series(job, base / "T2SPIR/DICOM_anon", names, image, t2, "T2SPIR", "")
    _write_masks(base / "T2SPIR/Ground", names, label)


def _write_series(
    job: Job, folder: Path, names: list[str], image: np.ndarray, grid: Grid, series: str, phase: str
) -> None:
    """One DICOM file per slice, in no order; both phases say they are one series."""
    affine = stored_affine(job, grid)
    pixels = np.clip(np.rint(image), 0, 4095).astype(np.uint16)
    about = {
        "PatientID": f"{CHAOS_IDS[job.number]}",
        "PatientName": "Anonymized",
        "StudyInstanceUID": uid(job.seed, job.dataset, job.number),
        "SeriesInstanceUID": uid(job.seed, job.dataset, job.number, series),
        "FrameOfReferenceUID": uid(job.seed, job.dataset, job.number, "frame"),
        "SeriesDescription": series,
        "ImageType": ["ORIGINAL", "PRIMARY", "M", phase.upper() or "SE"],
    }
    for k in job.draws(f"order {series} {phase}").permutation(len(names)):
        sop = uid(job.seed, job.dataset, job.number, series, phase, k)
        number = int(names[k].rsplit("-", 1)[1])
        slice_about = {**about, "SOPInstanceUID": sop, "InstanceNumber": number}
        write_dicom_slice(folder / f"{names[k]}.dcm", pixels[k], affine, int(k), slice_about)


def _write_masks(folder: Path, names: list[str], label: np.ndarray) -> None:
    for name, mask in zip(names, label, strict=True):
        write_mask_png(folder / f"{name}.png", mask)
