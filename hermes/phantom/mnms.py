"""Raw layout of M&Ms: a beating heart as a 4D file, and the table that names two frames."""

import csv
import hashlib
import io
from pathlib import Path

import numpy as np

from hermes.phantom.acquire import Job, acquire, make_grid, stored_affine, written_spacing
from hermes.phantom.files import as_int16, write_bytes, write_frames
from hermes.phantom.layouts import official_test
from hermes.phantom.patient import Patient, at_phase, make_body
from hermes.phantom.render import Grid
from hermes.phantom.shapes import rotation
from hermes.phantom.thorax import HEART, heart_axes

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
    machine = job.protocol.machine(job.draws("machine"))
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
    write_frames(folder / part / code / f"{code}_sa.nii.gz", np.stack(images), affine)
    write_frames(folder / part / code / f"{code}_sa_gt.nii.gz", np.stack(labels), affine)


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
        sex = "F" if make_body(one.draws).sex == "f" else "M"
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


def write_table(job: Job, folder: Path) -> None:
    """M&Ms' table, once per dataset."""
    write_bytes(folder / CSV_NAME, mnms_table(job))
