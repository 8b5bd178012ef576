"""Small raw trees in the datasets' own layouts, and cards for them."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import yaml
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

import hermes.convert
from hermes.convert.patterns import natural
from hermes.files.tables import read_tsv

LPS = np.diag([-2.0, -1.5, 3.0, 1.0])
"""Affine of the canonical orientation with spacing 3, 1.5, 2 mm (z, y, x)."""


def anatomy(size: tuple[int, int, int] = (8, 10, 12)) -> tuple[np.ndarray, np.ndarray]:
    """An image and its label [z, y, x] in LPS order, without any symmetry.

    Class 1 lies on the patient's right (low x), class 2 on the left; both are brighter than the
    rest.
    """
    z, y, x = np.indices(size)
    image = (100 * z + 10 * y + x).astype(np.int16)
    image[:, :2] = -900
    label = np.zeros(size, np.uint8)
    label[1:5, 3:7, 1:4] = 1
    label[2:7, 4:8, size[2] - 4 : size[2] - 2] = 2
    label[1, 3, 1] = 0
    image += 2000 * label.astype(np.int16)
    return image, label


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray = LPS) -> Path:
    """Write [z, y, x] (or [t, z, y, x]) as a NIfTI file whose index order is x, y, z(, t)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ascontiguousarray(array.T), affine), path)
    return path


def in_orientation(
    array: np.ndarray, axes: str, affine: np.ndarray = LPS
) -> tuple[np.ndarray, np.ndarray]:
    """Bring [z, y, x] with an affine into another axis order and direction, with nibabel."""
    image = nib.Nifti1Image(np.ascontiguousarray(array.T), affine)
    now = nib.orientations.io_orientation(affine)
    wanted = nib.orientations.axcodes2ornt(tuple(axes))
    moved = image.as_reoriented(nib.orientations.ornt_transform(now, wanted))
    return np.asarray(moved.dataobj).T, moved.affine


def write_card(path: Path, images: list[dict], **changes: object) -> Path:
    """A valid card with two classes, liver (published 6) and spleen (published 1)."""
    card = {
        "name": path.stem,
        "title": path.stem,
        "description": "Fabricated.",
        "citation": "none",
        "licence": {"name": "CC0-1.0"},
        "access": {"kind": "http", "instructions": "none"},
        "role": "sample",
        "region": "Abdomen",
        "clinical_target": "Organs",
        "modality_title": "CT",
        "modality": "ct",
        "images": images,
        "labels": [{"value": 6, "structure": "liver"}, {"value": 1, "structure": "spleen"}],
        "split": {"rule": "all_test"},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(card | changes), encoding="utf-8")
    return path


def published(label: np.ndarray) -> np.ndarray:
    """Canonical values 1, 2 as the published 6, 1 of `write_card`."""
    return np.array([0, 6, 1], np.uint8)[label]


def write_manifest(raw: Path) -> Path:
    """List what lies below a raw folder as the download stage does."""
    files = [
        {
            "path": path.relative_to(raw).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(raw.rglob("*"))
        if path.is_file()
    ]
    manifest = raw.with_name(f"{raw.name}.json")
    content = {"dataset": raw.name, "source": "copy", "files": files}
    manifest.write_text(json.dumps(content), encoding="utf-8")
    return manifest


def _dicom(path: Path, storage: str, modality: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = storage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = storage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Modality = modality
    return dataset


def save_slice(
    path: Path,
    pixels: np.ndarray,
    position: tuple[float, float, float],
    *,
    instance: int,
    spacing_mm: tuple[float, float] = (1.5, 2.0),
    intercept: float = -1024.0,
    series: str = "1.2.3",
) -> Path:
    """Write one axial slice [y, x] of stored values; position is LPS+ millimetres."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = _dicom(path, CTImageStorage, "CT")
    dataset.SeriesInstanceUID = series
    dataset.InstanceNumber = instance
    dataset.ImagePositionPatient = list(position)
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = list(spacing_mm)
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, intercept
    dataset.PixelData = pixels.astype("<u2").tobytes()
    dataset.save_as(path)
    return path


def save_series(
    folder: Path, image: np.ndarray, names: list[str], *, thickness_mm: float = 3.0
) -> list[Path]:
    """Write an image [z, y, x] as axial slices; `names[k]` is the file of slice z = k.

    The first voxel lies at (0, 0, 0). Instance numbers follow the names: 2 before 10.
    """
    ranks = {name: rank for rank, name in enumerate(sorted(names, key=natural), start=1)}
    return [
        save_slice(
            folder / name,
            image[k].astype(np.int32) + 1024,
            (0.0, 0.0, thickness_mm * k),
            instance=ranks[name],
        )
        for k, name in enumerate(names)
    ]


def save_png(path: Path, grey: np.ndarray) -> Path:
    """Write one grey picture [y, x]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey.astype(np.uint8)).save(path)
    return path


def save_structure_set(path: Path, regions: dict[str, list[np.ndarray]]) -> Path:
    """Write closed contours, each [points, 3] in LPS+ millimetres, by region name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = _dicom(path, RTStructureSetStorage, "RTSTRUCT")
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(regions.items(), start=1):
        roi, drawn = pydicom.Dataset(), pydicom.Dataset()
        roi.ROINumber, roi.ROIName = number, name
        drawn.ReferencedROINumber = number
        drawn.ContourSequence = [_contour(points) for points in contours]
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(drawn)
    dataset.save_as(path)
    return path


def _contour(points: np.ndarray) -> pydicom.Dataset:
    contour = pydicom.Dataset()
    contour.ContourGeometricType = "CLOSED_PLANAR"
    contour.NumberOfContourPoints = len(points)
    contour.ContourData = [round(float(value), 4) for value in points.ravel()]
    return contour


@dataclass(frozen=True)
class Converted:
    """What the convert stage left behind."""

    out: Path
    cases: dict[str, dict[str, str]]
    rejected: dict[str, str]  # case -> reason

    def image(self, case: str) -> np.ndarray:
        """Canonical image [z, y, x]."""
        return np.asarray(nib.load(self.out / f"{case}.nii.gz").dataobj).T

    def label(self, case: str) -> np.ndarray:
        """Canonical label [z, y, x]."""
        return np.asarray(nib.load(self.out / f"{case}_label.nii.gz").dataobj).T

    def affine(self, case: str) -> np.ndarray:
        return nib.load(self.out / f"{case}.nii.gz").affine


def convert(raw: Path, card: Path, workers: int = 1, manifest: Path | None = None) -> Converted:
    """Run the stage on a raw tree; its manifest is written here unless one is given."""
    out = raw.parent / "canonical"
    tables = raw.parent / "cases.tsv", raw.parent / "rejected.tsv"
    hermes.convert.run(
        card=card,
        raw=raw,
        manifest=manifest or write_manifest(raw),
        out=out,
        cases=tables[0],
        rejected=tables[1],
        workers=workers,
    )
    cases, rejected = map(read_tsv, tables)
    return Converted(
        out,
        {row["case"]: row for row in cases},
        {row["case"]: row["reason"] for row in rejected},
    )
