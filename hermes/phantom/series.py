"""Raw layouts with a shape of their own: CHAOS, M&Ms, AutoPET, DLBS."""

import csv
import hashlib
import io
from pathlib import Path

import numpy as np

from hermes.phantom.acquire import (
    Job,
    acquire,
    label_map,
    make_grid,
    scan_grid,
    stored_affine,
    written_spacing,
)
from hermes.phantom.files import (
    as_int16,
    uid,
    write_bytes,
    write_dicom_slice,
    write_mask_png,
    write_nifti,
)
from hermes.phantom.head import brain, brain_space
from hermes.phantom.imaging import Scan, ct, scan
from hermes.phantom.layouts import official_test
from hermes.phantom.patient import Patient, at_phase, generator
from hermes.phantom.protocols import in_phase, out_of_phase, t2_fat_suppressed
from hermes.phantom.render import Grid, paint
from hermes.phantom.shapes import rotation
from hermes.phantom.thorax import HEART, heart_axes

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


FRAMES = 4
_CONTRACTION = (0.0, 0.65, 1.0, 0.4)
CSV_NAME = "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv"


def mnms_code(job: Job) -> str:
    """A code like the published ones: letter, digit, three times."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    value = int.from_bytes(hashlib.sha256(f"{job.seed}/mnms".encode()).digest()[:4], "big")
    value = (value + job.number * 7919 * 2003) % 260**3
    parts = [value // 260**k % 260 for k in range(3)]
    return "".join(f"{letters[part // 10]}{part % 10}" for part in parts)


def mnms_frames(job: Job) -> tuple[int, int]:
    """Indices of the end-diastolic and the end-systolic frame, from 0."""
    shift = int(job.draws("trigger").choice([0, 0, 0, 1]))
    return shift, (2 + shift) % FRAMES


def write_mnms(job: Job, folder: Path) -> None:
    """A beating heart in short-axis slices; only the two frames of the table are annotated."""
    patient = job.patient()
    grid = short_axis(job, patient)
    machine = job.protocol.machine(job.draws("machine"), job.number)
    diastole, systole = mnms_frames(job)
    images, labels = [], []
    for frame in range(FRAMES):
        beating = at_phase(patient, _CONTRACTION[(frame - diastole) % FRAMES])
        image, label = acquire(job, beating, grid, machine, f"noise {frame}")
        images.append(as_int16(image))
        labels.append(label if frame in (diastole, systole) else np.zeros_like(label))
    affine, code = stored_affine(job, grid), mnms_code(job)
    part = "Training/Labeled"
    if official_test(job):
        part = "Validation" if job.number == job.patients - 1 and job.patients > 4 else "Testing"
    write_nifti(folder / part / code / f"{code}_sa.nii.gz", np.stack(images), affine)
    write_nifti(folder / part / code / f"{code}_sa_gt.nii.gz", np.stack(labels), affine)


def short_axis(job: Job, patient: Patient) -> Grid:
    """Slices across the long axis of the left ventricle; some headers are a little skewed."""
    draw = job.draws("grid")
    axes = heart_axes() @ rotation(draw.uniform(-6, 6, 3))
    in_plane, between = written_spacing(job.protocol, job.voxel_scale)
    field = (*job.protocol.field_mm, float(draw.integers(10, 13)) * between)
    middle = HEART + heart_axes() @ np.array([12.0, 0.0, 2.0])
    centre = patient.warp.scale * middle + patient.warp.shift + draw.normal(0, 4, 3)
    to_ras = np.diag([-1.0, -1.0, 1.0])
    # columns of the tilt: image x, y, z in RAS for the codes "RAS", whose axes are the unit vectors
    tilt = to_ras @ np.stack([-axes[:, 0], axes[:, 1], axes[:, 2]], axis=1)
    grid = make_grid(centre, field, (in_plane, between), "RAS", tilt)
    if job.number % 3 == 1:
        grid.affine[:3, :3] *= 1 + draw.normal(0, 2e-4, (3, 3))
    return grid


def mnms_table(job: Job) -> bytes:
    """The table of all patients, as published: a nameless running number first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = "External code,VendorName,Vendor,Centre,ED,ES,Age,Pathology,Sex,Height,Weight"
    writer.writerow(["", *columns.split(",")])
    vendors = (("Siemens", "A", 1), ("Philips", "B", 2), ("Philips", "B", 3), ("GE", "C", 4))
    for number in range(job.patients):
        one = Job(job.dataset, number, job.patients, job.seed, job.voxel_scale)
        age = int(one.draws("age").integers(20, 85))
        sex = "F" if one.patient().body.sex == "f" else "M"
        writer.writerow(
            [
                number,
                mnms_code(one),
                *vendors[number % 4],
                *mnms_frames(one),
                age,
                "NOR",
                sex,
                170,
                70,
            ]
        )
    return text.getvalue().encode()


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
    pet = job.protocol.machine(job.draws(f"machine {k}"), job.number)
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
    machine = job.protocol.machine(job.draws("machine"), job.number)
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


def write_table(job: Job, folder: Path) -> None:
    """M&Ms' table, once per dataset."""
    write_bytes(folder / CSV_NAME, mnms_table(job))
