"""The same bytes for the same content: NIfTI without clocks, DICOM with derived identifiers."""

import gzip
import hashlib
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from hermes.files import nifti
from hermes.files.volume import Volume

MR_IMAGE = UID("1.2.840.10008.5.1.4.1.1.4")
"""SOP class of MR images (DICOM PS3.6)."""


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write an array (z, y, x) with its NIfTI affine; `.gz` compresses."""
    nifti.write_nifti(path, Volume(array, affine))


def write_frames(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write a 4D array (frame, z, y, x) with its NIfTI affine as `.nii.gz`, without a clock."""
    image = nibabel.Nifti1Image(np.ascontiguousarray(array.T), affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm", "sec")
    write_bytes(path, gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def as_int16(image: np.ndarray) -> np.ndarray:
    """Round to int16, as scanners store."""
    return np.clip(np.rint(image), -32768, 32767).astype(np.int16)


def uid(*parts: object) -> str:
    """A DICOM identifier under 2.25 made from what it identifies."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"


def write_mask_png(path: Path, mask: np.ndarray) -> None:
    """Write one slice (y, x) of grey values, uint8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path, format="PNG", compress_level=6)


def write_dicom_slice(
    path: Path, pixels: np.ndarray, affine: np.ndarray, k: int, about: dict
) -> None:
    """Write slice `k` of a volume as one DICOM file.

    Args:
        path: file to write.
        pixels: (y, x) uint16.
        affine: of the volume, NIfTI's (index x, y, z -> RAS+ mm).
        k: index of the slice along z.
        about: DICOM keywords and values that the series shares or the slice needs.
    """
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = MR_IMAGE
    for keyword, value in about.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.Modality = "MR"
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelSpacing = [_decimal(spacing[1]), _decimal(spacing[0])]
    ds.SliceThickness = ds.SpacingBetweenSlices = _decimal(spacing[2])
    ds.ImagePositionPatient = [_decimal(v) for v in lps[:3] @ [0, 0, k, 1]]
    cosines = np.concatenate([lps[:3, 0] / spacing[0], lps[:3, 1] / spacing[1]])
    ds.ImageOrientationPatient = [_decimal(v) for v in cosines]
    ds.PixelData = np.ascontiguousarray(pixels, "<u2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, ds, enforce_file_format=True)


def _decimal(value: float) -> str:
    """A DICOM decimal string: at most 16 characters."""
    return f"{float(value) + 0.0:.8f}"[:16]
