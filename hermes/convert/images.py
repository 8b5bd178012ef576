"""Read the image of a case in the orientation its file has."""

import csv
from dataclasses import dataclass
from pathlib import Path

from hermes.convert.dicom import Slice, read_series, read_slices
from hermes.convert.find import Case
from hermes.convert.raw import CaseError
from hermes.convert.sources import Sources
from hermes.schema import Frames
from hermes.volume import Volume, read_nifti, read_nifti_frames


@dataclass(frozen=True)
class Native:
    """An image as it was read: native orientation, and what its reference may need to know."""

    volume: Volume
    slices: tuple[Slice, ...] = ()  # of a DICOM series, in the order of the volume's z
    frame: int | None = None  # index of the frame of a 4D image


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
    return Native(read_volume(path, frame), frame=frame)


def read_volume(path: Path, frame: int | None) -> Volume:
    """Read a 3D file, or one frame of a 4D file; voxels may be NaN (the checks count them).

    Raises:
        VolumeError: the file is damaged, or has other dimensions or no such frame.
    """
    if frame is None:
        return read_nifti(path, nan_ok=True)
    (volume,) = read_nifti_frames(path, [frame], nan_ok=True)
    return volume


def frame_index(table: Path, case: Case, frames: Frames) -> int:
    """Look a case's frame up in the dataset's table; ASSUME: the first frame is 0.

    Raises:
        CaseError: the table lacks a column, the case or the number.
    """
    with open(table, encoding="utf-8-sig", newline="") as handle:
        rows = list(csv.DictReader(handle))
    column, key = frames.columns[case.frame], case.holes["case"]
    missing = {column, frames.case_column} - set(rows[0] if rows else ())
    if missing:
        raise CaseError(f"{table.name}: no column {', '.join(sorted(missing))}")
    found = [row[column] or "" for row in rows if row[frames.case_column] == key]
    if len(found) != 1:
        raise CaseError(f"{table.name}: {len(found)} rows for {key!r}, one expected")
    try:
        index = float(found[0])
    except ValueError:
        index = float("nan")
    if not index.is_integer() or index < 0:
        raise CaseError(f"{table.name}: {column} of {key!r} is {found[0]!r}, not a frame's index")
    return int(index)
