"""Archives as the owners of the open datasets publish them, small, with what lies beside.

`ARCHIVES` maps a dataset to its archives' file names and members; names of numbered files stand
as in the card. Contents are random bytes, gzipped where the name says so.
"""

import gzip
import io
import random
import tarfile
import zipfile
from dataclasses import dataclass


@dataclass(frozen=True)
class Fabricated:
    """One archive: what the card wants of it, and what else lies in it."""

    wanted: tuple[str, ...]
    beside: tuple[str, ...] = ()
    numbers: tuple[int, int] | None = None  # instead of the card's, so that there are few


def _pairs(folder: str, names: tuple[str, ...], images: str, labels: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{part}/{name}.nii.gz" for part in (images, labels) for name in names)


AMOS_CT = _pairs("amos22", ("amos_0001",), "imagesTr", "labelsTr") + _pairs(
    "amos22", ("amos_0320",), "imagesVa", "labelsVa"
)
AMOS_MR = _pairs("amos22", ("amos_0507",), "imagesTr", "labelsTr") + _pairs(
    "amos22", ("amos_0580",), "imagesVa", "labelsVa"
)
AMOS_BESIDE = (
    "amos22/dataset.json",
    "amos22/imagesTs/amos_0200.nii.gz",
    "__MACOSX/amos22/imagesTr/._amos_0001.nii.gz",
)
CHAOS = tuple(
    f"Train_Sets/MR/1/{name}"
    for name in (
        "T1DUAL/DICOM_anon/InPhase/IMG-0004-00001.dcm",
        "T1DUAL/DICOM_anon/OutPhase/IMG-0004-00002.dcm",
        "T1DUAL/Ground/IMG-0004-00001.png",
        "T2SPIR/DICOM_anon/IMG-0002-00001.dcm",
        "T2SPIR/Ground/IMG-0002-00001.png",
    )
)
BRAIN = tuple(
    f"{part}/{name}"
    for part, number in (("train", 1), ("valid", 2), ("test", 3))
    for name in (
        f"image/dlbs_{number}_img.nii",
        *(f"mask/dlbs_{number}_probmask_{t}.nii" for t in ("graymatter", "whitematter", "csf")),
    )
)

ARCHIVES = {
    "amos_ct": {"amos22.zip": Fabricated(AMOS_CT, AMOS_MR + AMOS_BESIDE)},
    "amos_mr": {"amos22.zip": Fabricated(AMOS_MR, AMOS_CT + AMOS_BESIDE)},
    "chaos": {"CHAOS_Train_Sets.zip": Fabricated(CHAOS, ("Train_Sets/CT/1/DICOM_anon/i0001.dcm",))},
    "kits": {
        "kits19-master.zip": Fabricated(
            tuple(f"kits19-master/data/case_0000{i}/segmentation.nii.gz" for i in range(3)),
            ("kits19-master/README.md", "kits19-master/data/kits.json"),
        ),
        "case_{i:05d}.nii.gz": Fabricated((), numbers=(0, 2)),
    },
    "lits": {
        "Task03_Liver.tar": Fabricated(
            _pairs("Task03_Liver", ("liver_0", "liver_1"), "imagesTr", "labelsTr"),
            ("Task03_Liver/imagesTs/liver_132.nii.gz", "Task03_Liver/imagesTr/._liver_0.nii.gz"),
        )
    },
    "msd_pancreas": {
        "Task07_Pancreas.tar": Fabricated(
            _pairs("Task07_Pancreas", ("pancreas_001",), "imagesTr", "labelsTr"),
            ("Task07_Pancreas/dataset.json", "Task07_Pancreas/imagesTs/pancreas_002.nii.gz"),
        )
    },
    "autopet": {
        "fdg-pet-ct-lesions.zip": Fabricated(
            tuple(f"FDG/PETCT_0a1b/02-03-2001-NA-12/{n}.nii.gz" for n in ("SUV", "SEG")),
            ("FDG/PETCT_0a1b/02-03-2001-NA-12/CTres.nii.gz", "FDG/table.csv"),
        )
    },
    "segthor": {
        "SegTHOR.zip": Fabricated(
            tuple(f"SegTHOR/Patient_01/{name}.nii.gz" for name in ("Patient_01", "GT")),
            ("SegTHOR/readme.txt",),
        )
    },
    "bcv": {
        "RawData.zip": Fabricated(
            ("RawData/Training/img/img0001.nii.gz", "RawData/Training/label/label0001.nii.gz"),
            ("RawData/Testing/img/img0061.nii.gz",),
        )
    },
    "dlbs": {
        "3dbraintissuesegmentation.zip": Fabricated(BRAIN, ("train/image/ixi_7_img.nii",)),
    },
}


def content(name: str) -> bytes:
    """Bytes of a member, always the same for a name."""
    noise = random.Random(name).randbytes(3000)
    return gzip.compress(noise, mtime=0) if name.endswith(".gz") else noise


def pack(filename: str, members: tuple[str, ...]) -> bytes:
    """Return an archive of members, as its file name says: .zip or .tar."""
    buffer = io.BytesIO()
    if filename.endswith(".zip"):
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name in members:
                bundle.writestr(zipfile.ZipInfo(name), content(name))
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode="w") as bundle:
        for name in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content(name))
            bundle.addfile(entry, io.BytesIO(content(name)))
    return buffer.getvalue()
