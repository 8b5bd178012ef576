"""DICOM structure sets: closed planar contours, filled on the grid of their image."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from skimage.draw import polygon

from hermes.convert.raw import CaseError
from hermes.files.volume import Volume


def find_structure_set(paths: list[Path]) -> Path:
    """Return the one structure set among some DICOM files (images may lie beside it).

    Raises:
        CaseError: none, several, or a file that is not DICOM.
    """
    found = [p for p in paths if _read(p, specific_tags=["Modality"]).get("Modality") == "RTSTRUCT"]
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise CaseError(f"{paths[0].parent.name}: one structure set expected, found: {names}")
    return found[0]


def _read(path: Path, specific_tags: list[str] | None = None) -> pydicom.Dataset:
    try:
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=specific_tags)
    except (InvalidDicomError, EOFError, OSError, ValueError) as error:
        raise CaseError(f"{path.name}: not a readable DICOM file: {error}") from error


def rasterise(
    path: Path, contours: Mapping[int, str], image: Volume
) -> tuple[np.ndarray, list[str]]:
    """Fill the contours of some regions of interest.

    A voxel belongs to a region when its centre lies inside or on an odd number of the region's
    contours in its slice, so a contour within another cuts a hole. A contour belongs to the slice
    whose centre is within half a slice of it.

    Args:
        path: the structure set.
        contours: published value -> name of the region. ASSUME: where regions overlap, the one
            named later in the card wins (a tumour named after its organ).
        image: the image the contours were drawn on, in the orientation it was read in.

    Returns:
        Published values [z, y, x], int16, on the image's grid; and warnings.

    Raises:
        CaseError: no such region, or a contour that does not lie in the image's planes.
    """
    regions = _regions(_read(path), path)
    values = np.zeros(image.array.shape, np.int16)
    warnings = []
    for value, name in contours.items():
        if name not in regions:
            known = ", ".join(sorted(regions))
            raise CaseError(f"{path.name}: no region of interest {name!r}; it has: {known}")
        mask, outside = _fill(regions[name], image, f"{path.name}: {name!r}")
        values[mask] = value
        if outside:
            warnings.append(f"{outside} contours of {name!r} lie outside of the image")
    return values, warnings


def _regions(header: pydicom.Dataset, path: Path) -> dict[str, list[np.ndarray]]:
    """Region name -> its closed contours, each [points, 3] in LPS+ millimetres."""
    try:
        names = {int(r.ROINumber): str(r.ROIName).strip() for r in header.StructureSetROISequence}
        regions: dict[str, list[np.ndarray]] = {name: [] for name in names.values()}
        for roi in header.get("ROIContourSequence", []):
            regions[names[int(roi.ReferencedROINumber)]] += [
                np.reshape(np.array(contour.ContourData, float), (-1, 3))
                for contour in roi.get("ContourSequence", [])
                if contour.ContourGeometricType == "CLOSED_PLANAR"
            ]
    except (AttributeError, KeyError, ValueError, TypeError) as error:
        raise CaseError(f"{path.name}: not a usable structure set: {error}") from error
    return regions


def _fill(contours: list[np.ndarray], image: Volume, where: str) -> tuple[np.ndarray, int]:
    """Return the region's mask [z, y, x] and the number of contours outside of the image."""
    to_index = np.linalg.inv(np.asarray(image.affine)) @ np.diag([-1.0, -1.0, 1.0, 1.0])
    mask = np.zeros(image.array.shape, bool)
    outside = 0
    for points in contours:
        x, y, z = to_index[:3, :3] @ points.T + to_index[:3, 3:]
        if np.ptp(z) > 0.5:
            raise CaseError(f"{where}: a contour runs through several slices of the image")
        index = round(float(z.mean()))
        if not 0 <= index < len(mask):
            outside += 1
            continue
        rows, columns = polygon(y, x, mask.shape[1:])
        mask[index, rows, columns] ^= True
    return mask, outside
