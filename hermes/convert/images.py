"""Read the image of a case in the orientation its file has."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hermes.config.schema import Frames
from hermes.convert.dicom import Slice, read_series, read_slices
from hermes.convert.find import Case
from hermes.convert.header import with_known_spacing
from hermes.convert.raw import CaseError
from hermes.convert.sources import Sources
from hermes.files.nifti import read_nifti, read_nifti_frames
from hermes.files.volume import Volume


@dataclass(frozen=True)
class Native:
    """An image as it was read: native orientation, and what its reference may need to know."""

    volume: Volume
    slices: tuple[Slice, ...] = ()  # of a DICOM series, in the order of the volume's z
    frame: int | None = None  # index of the frame of a 4D image
    doubt: str = ""  # what is not sure about its geometry

    def without_voxels(self) -> "Native":
        """The same grid with one zero for all voxels: what a reference needs to know of it."""
        blank = np.broadcast_to(np.uint8(0), self.volume.array.shape)
        return replace(self, volume=Volume(blank, self.volume.affine))


def read_image(case: Case, sources: Sources) -> Native:
    """Read a NIfTI volume, one frame of a 4D NIfTI file, or a folder of DICOM slices.

    Raises:
        CaseError, VolumeError: what is wrong, naming the file.
    """
    if case.image.format == "dicom":
        slices = tuple(read_slices(sources.image_paths()))
        return Native(read_series(slices), slices=slices)
    (path,) = sources.image_paths()
    frame = None
    if case.image.frames:
        frame = frame_index(sources.root / sources.table, case, case.image.frames)
    volume, doubt = with_known_spacing(read_volume(path, frame), case)
    return Native(volume, frame=frame, doubt=doubt)


def read_volume(path: Path, frame: int | None) -> Volume:
    """Read a 3D file, or one frame of a 4D file; voxels may be NaN (the checks count them).

    No voxel takes more than four bytes: of a whole body in double precision that is 1.4 GB less.

    Raises:
        VolumeError: the file is damaged, or has other dimensions or no such frame.
    """
    if frame is None:
        return read_nifti(path, nan_ok=True, narrow=True)
    (volume,) = read_nifti_frames(path, [frame], nan_ok=True, narrow=True)
    return volume


def frame_index(table: Path, case: Case, frames: Frames) -> int:
    """Look a case's frame up in the dataset's table; ASSUME: the first frame is 0.

    Raises:
        CaseError: the table lacks a column, the case or the number.
    """
    rows = _rows(table)
    column, key = frames.columns[case.frame], case.holes["case"]
    missing = {column, frames.case_column} - set(rows[0] if rows else ())
    if missing:
        raise CaseError(f"{table.name}: no column {', '.join(sorted(missing))}")
    found = [row[column] for row in rows if row[frames.case_column] == key]
    if len(found) != 1:
        raise CaseError(
            f"{table.name}: {len(found)} rows for {key!r} in its column {frames.case_column!r}, "
            "one expected"
        )
    try:
        index = float(found[0])
    except ValueError:
        index = float("nan")
    if not index.is_integer() or index < 0:
        raise CaseError(f"{table.name}: {column} of {key!r} is {found[0]!r}, not a frame's index")
    return int(index)


def _rows(table: Path) -> list[dict[str, str]]:
    """Rows of a CSV, also of one that a spreadsheet saved anew (byte order mark, semicolons)."""
    lines = table.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    head = lines[0] if lines else ""
    delimiter = ";" if head.count(";") > head.count(",") else ","
    return [
        {str(name).strip(): (value or "").strip() for name, value in row.items() if name}
        for row in csv.DictReader(lines, delimiter=delimiter, restval="")
    ]
