"""Raw layouts of the datasets whose images are one NIfTI file with one label file beside it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from hermes.phantom.acquire import Job, acquire, scan_grid, stored_affine
from hermes.phantom.files import as_int16, write_bytes, write_nifti

Names = tuple[str, str]


def official_test(job: Job, share: float = 0.23) -> bool:
    """Whether a patient is in the official test part: the last ones, at least one."""
    count = max(1, round(share * job.patients))
    return job.number >= job.patients - count


def _bcv(job: Job) -> Names:
    number = [*range(1, 11), *range(21, 41)][job.number]
    folder = "RawData/Training"
    return f"{folder}/img/img{number:04d}.nii.gz", f"{folder}/label/label{number:04d}.nii.gz"


def _lits(job: Job) -> Names:
    number = lits_number(job)
    return f"volume-{number}.nii", f"segmentation-{number}.nii"


def lits_number(job: Job) -> int:
    """Published number; the last of eight or more is 48, whose label has a wrong header."""
    last = job.patients >= 8 and job.number == job.patients - 1
    return 48 if last and job.patients <= 48 else job.number


def _kits(job: Job) -> Names:
    folder = f"data/case_{job.number:05d}"
    return f"{folder}/imaging.nii.gz", f"{folder}/segmentation.nii.gz"


def _amos(job: Job) -> Names:
    first = 500 if job.dataset == "amos_mr" else 1
    number = (
        first + 3 * job.number if first + 3 * job.patients <= first + 480 else first + job.number
    )
    part = "Va" if official_test(job) else "Tr"
    name = f"amos_{number:04d}.nii.gz"
    return f"amos22/images{part}/{name}", f"amos22/labels{part}/{name}"


def _thorax(job: Job) -> Names:
    folder = f"Thoracic_OAR/{job.number + 1}"
    return f"{folder}/data.nii.gz", f"{folder}/label.nii.gz"


def _head_and_neck(job: Job) -> Names:
    folder = f"HaN_OAR/{job.number + 1}"
    return f"{folder}/data.nii.gz", f"{folder}/label.nii.gz"


def _segthor(job: Job) -> Names:
    patient = f"Patient_{job.number + 1:02d}"
    return f"train/{patient}/{patient}.nii.gz", f"train/{patient}/GT.nii.gz"


def _pancreas(job: Job) -> Names:
    name = f"pancreas_{job.number + 1:03d}.nii.gz"
    return f"imagesTr/{name}", f"labelsTr/{name}"


PAIRS: dict[str, Callable[[Job], Names]] = {
    "bcv": _bcv,
    "lits": _lits,
    "kits": _kits,
    "amos_ct": _amos,
    "amos_mr": _amos,
    "ss_t": _thorax,
    "ss_h": _head_and_neck,
    "segthor": _segthor,
    "msd_pancreas": _pancreas,
}


def write_pair(job: Job, folder: Path) -> None:
    """Write the image and the label of one patient, and what junk lies beside them."""
    image_name, label_name = PAIRS[job.dataset](job)
    training_mr = job.dataset == "amos_mr" and not official_test(job)
    patient = job.patient()
    longer = training_mr and job.number % 4 == 1
    grid = scan_grid(job, patient, lower_mm=190.0 if longer else 0.0)
    machine = job.protocol.machine(job.draws("machine"))
    image, label = acquire(job, patient, grid, machine, labels=_labels(job))
    affine = stored_affine(job, grid)
    write_nifti(folder / image_name, as_int16(image), affine)
    write_nifti(folder / label_name, label, _label_affine(job, affine))
    if job.dataset.startswith("amos") and job.number == 0:
        _resource_fork(folder, image_name)


def _labels(job: Job) -> dict[str, int]:
    """AMOS' official MR validation part has no bladder and no prostate or uterus."""
    labels = job.protocol.labels
    if job.dataset != "amos_mr" or not official_test(job):
        return labels
    return {name: value for name, value in labels.items() if value < 14}


def _label_affine(job: Job, affine: np.ndarray) -> np.ndarray:
    """LiTS 48-52: the label's header is not the image's, though the voxels agree."""
    if job.dataset != "lits" or lits_number(job) not in range(48, 53):
        return affine
    wrong = affine.copy()
    wrong[:3, 3] = 0
    wrong[:2] *= -1
    return wrong


def _resource_fork(folder: Path, image_name: str) -> None:
    """What macOS leaves in archives: a small file that looks like the image and is not."""
    name = Path(image_name)
    junk = Path("__MACOSX") / name.parent / f"._{name.name}"
    write_bytes(folder / junk, b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(64))
