"""A folder of DICOM slices as one volume. The folder is the series: identifiers are not asked.

Some published sets reuse one SeriesInstanceUID for two acquisitions, so only the folder tells
them apart. Headers are read with pydicom; pixels are decoded by GDCM through SimpleITK, which
knows the compressed transfer syntaxes (JPEG 2000 among them).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.errors import InvalidDicomError

from hermes.convert.patterns import natural
from hermes.convert.raw import CaseError
from hermes.files.volume import Volume

GAP_TOLERANCE = 0.05
"""ASSUME: headers round positions; a gap may differ from the median gap by this share of it."""


@dataclass(frozen=True)
class Slice:
    """Header of one slice. Positions and directions are DICOM's: LPS+, millimetres."""

    path: Path
    instance: int | None
    position: np.ndarray  # [3], centre of the first voxel
    across: np.ndarray  # [3], direction in which the column index grows
    down: np.ndarray  # [3], direction in which the row index grows
    spacing_mm: tuple[float, float]  # between rows, between columns
    shape: tuple[int, int]  # rows, columns

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.across, self.down)

    @property
    def height(self) -> float:
        """Millimetres along the normal."""
        return float(self.position @ self.normal)


def read_slices(paths: Sequence[Path]) -> list[Slice]:
    """Read the headers of a folder's slices and put them in order along their normal.

    DICOM files without an image plane (structure sets, directories) are passed over.

    Raises:
        CaseError: a file that is not DICOM, fewer than two slices, slices that disagree on
            plane or size, two slices at one position, or a gap.
    """
    slices = [found for path in paths if (found := _read_slice(path))]
    if len(slices) < 2:
        raise CaseError(f"{len(slices)} DICOM slices with a position: not a volume")
    slices.sort(key=lambda s: (s.height, natural(s.path.name)))
    _check_planes(slices)
    _check_gaps(slices)
    return slices


def _read_slice(path: Path) -> Slice | None:
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        if "ImagePositionPatient" not in header or "Rows" not in header:
            return None
        return _slice_of(path, header)
    except (InvalidDicomError, EOFError, OSError, ValueError, AttributeError, TypeError) as error:
        raise CaseError(f"{path.name}: not a readable DICOM slice: {error}") from error


def _slice_of(path: Path, header: pydicom.Dataset) -> Slice:
    if int(header.get("NumberOfFrames") or 1) > 1 or int(header.get("SamplesPerPixel") or 1) > 1:
        raise CaseError(f"{path.name}: several frames or colours in one file; grey slices expected")
    cosines = np.array(header.ImageOrientationPatient, float)
    instance = header.get("InstanceNumber")
    return Slice(
        path=path,
        instance=None if instance is None else int(instance),
        position=np.array(header.ImagePositionPatient, float),
        across=cosines[:3],
        down=cosines[3:],
        spacing_mm=(float(header.PixelSpacing[0]), float(header.PixelSpacing[1])),
        shape=(int(header.Rows), int(header.Columns)),
    )


def _check_planes(slices: list[Slice]) -> None:
    first = slices[0]
    for other in slices[1:]:
        same = (
            other.shape == first.shape
            and np.allclose(other.spacing_mm, first.spacing_mm, atol=1e-3)
            and np.allclose(other.across, first.across, atol=1e-3)
            and np.allclose(other.down, first.down, atol=1e-3)
        )
        if not same:
            raise CaseError(
                f"{other.path.name} and {first.path.name} differ in size, pixel spacing or "
                "direction: more than one series in the folder"
            )


def _check_gaps(slices: list[Slice]) -> None:
    gaps = np.diff([s.height for s in slices])
    median = float(np.median(gaps))
    for gap, below, above in zip(gaps, slices, slices[1:], strict=False):
        if gap < 1e-3:
            raise CaseError(f"{below.path.name} and {above.path.name} lie at the same position")
        if abs(gap - median) > GAP_TOLERANCE * median:
            raise CaseError(
                f"gap of {gap:g} mm between {below.path.name} and {above.path.name} where slices "
                f"are {median:g} mm apart: a slice is missing or out of place"
            )
    step = (slices[-1].position - slices[0].position) / (len(slices) - 1)
    drift = float(np.linalg.norm(step - (step @ slices[0].normal) * slices[0].normal))
    if drift > GAP_TOLERANCE * median:
        raise CaseError(
            f"slices shift by {drift:g} mm within their plane from one to the next (tilted "
            "gantry): not a rectangular grid"
        )


def series_affine(slices: Sequence[Slice]) -> np.ndarray:
    """Affine [4, 4] from index (column, row, slice) to RAS+ millimetres."""
    first = slices[0]
    affine = np.eye(4)
    affine[:3, 0] = first.across * first.spacing_mm[1]
    affine[:3, 1] = first.down * first.spacing_mm[0]
    affine[:3, 2] = (slices[-1].position - first.position) / (len(slices) - 1)
    affine[:3, 3] = first.position
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def read_series(slices: Sequence[Slice]) -> Volume:
    """Decode the slices into one volume [z, y, x], float32, rescale slope and intercept applied.

    Raises:
        CaseError: pixels that cannot be decoded, naming the first such file.
    """
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(s.path) for s in slices])
    reader.SetOutputPixelType(sitk.sitkFloat32)  # each slice has a slope of its own
    try:
        array = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        name = next((s.path.name for s in slices if not _decodes(s)), slices[0].path.parent.name)
        raise CaseError(f"{name}: pixels cannot be decoded: damaged; fetch it again") from error
    return Volume(array, series_affine(slices))


def _decodes(one: Slice) -> bool:
    try:
        sitk.ReadImage(str(one.path))
    except RuntimeError:
        return False
    return True


def file_order(slices: Sequence[Slice]) -> tuple[list[int], str]:
    """Return the slices' indices in the order of their file names, and a warning or "".

    ASSUME: files that come without positions (PNG) are numbered as the DICOM files beside them,
    so names pair them. Where instance numbers disagree with the names, a warning says so.
    """
    order = sorted(range(len(slices)), key=lambda i: natural(slices[i].path.name))
    numbers = [number for i in order if (number := slices[i].instance) is not None]
    alike = numbers in (sorted(numbers), sorted(numbers, reverse=True))
    if alike or len(numbers) < len(order):
        return order, ""
    return order, "file names and instance numbers order the slices differently: names are used"
