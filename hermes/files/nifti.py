"""NIfTI files: reading and writing volumes, whole or some frames.

Arrays are (z, y, x); affines are NIfTI's, from the voxel index (x, y, z) to RAS+ millimetres.
A NIfTI file keeps x fastest, so its bytes are the C order of a (z, y, x) array: nothing is
transposed on the way in or out.
"""

import gzip
import os
import zlib
from collections.abc import Sequence
from io import BufferedIOBase
from pathlib import Path

import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib
from nibabel.arrayproxy import ArrayProxy

from hermes.files.atomic import writing
from hermes.files.volume import Volume, VolumeError

INTEGER_TOLERANCE = 1e-3
"""Distance from a whole number that a scaled label value may have (scl_slope is a float32)."""

SMALLEST_DETERMINANT = 1e-2
"""Of the direction cosines, below which the three axes of an affine do not span space."""

PIECE = 1 << 24
"""Bytes asked of a stream at once: a gzip stream holds what it is asked for a second time."""

# isal's types take this class for one of its instances
_ISAL_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]
_UNREADABLE = (OSError, EOFError, ValueError, zlib.error, _ISAL_ERROR, gzip.BadGzipFile)
_HEADER_ERRORS = (nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError)


def read_nifti(
    path: str | os.PathLike,
    dtype: np.typing.DTypeLike | None = None,
    nan_ok: bool = False,
    narrow: bool = False,
) -> Volume:
    """Read a three-dimensional .nii or .nii.gz file, scl_slope and scl_inter applied.

    The affine is the sform where its code is set, else the qform, else the voxel sizes alone:
    nibabel's rule. Axes of size 1 after the third are dropped. Without `dtype` unscaled voxels
    keep the file's type and scaled ones become float32 (float64 from 32-bit integers and wider).
    With `narrow` what would take eight bytes a voxel becomes float32 plane by plane as it is read.

    Raises VolumeError: file missing, truncated, damaged or not 3D; affine not finite or singular;
    NaN or infinite voxels unless `nan_ok`; values that the integer `dtype` cannot hold.
    """
    image = _header(Path(path))
    if _frame_count(image.shape) != 1:
        raise VolumeError(
            f"{path}: not 3D but {image.shape} (x, y, z, frames); "
            "choose frames with read_nifti_frames or give a file of one volume"
        )
    return _read(Path(path), image, [0], dtype, nan_ok, narrow)[0]


def read_nifti_frames(
    path: str | os.PathLike,
    frames: Sequence[int],
    dtype: np.typing.DTypeLike | None = None,
    nan_ok: bool = False,
    narrow: bool = False,
) -> list[Volume]:
    """Read chosen frames (0-based) of a 4D file, in the order asked; the others are skipped.

    An uncompressed file is read at these frames only; of a compressed one nothing after the
    last of them is decompressed. Otherwise as `read_nifti`, same errors, and VolumeError for a
    frame that the file does not have.
    """
    image = _header(Path(path))
    count = _frame_count(image.shape)
    if absent := [frame for frame in frames if not 0 <= frame < count]:
        raise VolumeError(f"{path}: has no frame {absent[0]}; choose from 0 to {count - 1}")
    return _read(Path(path), image, frames, dtype, nan_ok, narrow)


def frame_count(path: str | os.PathLike) -> int:
    """Volumes in a file, as its header says. Raises VolumeError as `read_nifti` does."""
    return _frame_count(_header(Path(path)).shape)


def write_nifti(
    path: str | os.PathLike, volume: Volume, dtype: np.typing.DTypeLike | None = None
) -> None:
    """Write a .nii or .nii.gz file: same volume, same bytes (no time or name in the gzip header).

    sform and qform both carry the affine with code 1 (scanner); units are mm; no scaling.
    ASSUME: gzip level 1, where isal is fastest; level 3 saves 4 % of the file at 1.2x the time.

    Raises VolumeError: another suffix, a dtype that NIfTI lacks, values that `dtype` cannot hold.
    """
    path = Path(path)
    _check_suffix(path)
    array = _cast(volume.array, np.dtype(dtype or volume.array.dtype), path)
    header = nib.Nifti1Header(endianness="<")
    try:
        header.set_data_dtype(array.dtype)
    except nib.spatialimages.HeaderDataError as error:
        raise VolumeError(
            f"{path}: NIfTI cannot hold {array.dtype}; choose another dtype"
        ) from error
    header.set_data_shape(array.shape[::-1])
    header.set_qform(volume.affine, code=1)
    header.set_sform(volume.affine, code=1)
    header.set_xyzt_units("mm")
    header.set_slope_inter(1, 0)
    header["magic"], header["vox_offset"] = b"n+1", 352
    head = header.binaryblock + bytes(4)
    voxels = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
    with writing(path) as aside, open(aside, "wb") as file:
        if path.suffix != ".gz":
            file.write(head)
            file.write(voxels.data)
            return
        gzipper = isal_zlib.compressobj(1, wbits=31)
        file.writelines((gzipper.compress(head), gzipper.compress(voxels.data), gzipper.flush()))


def _check_suffix(path: Path) -> None:
    if not path.name.endswith((".nii", ".nii.gz")):
        raise VolumeError(f"{path}: not a .nii or .nii.gz name; rename or convert the file")


def _header(path: Path) -> nib.Nifti1Image:
    """The image with its header read and checked, its voxels not yet."""
    _check_suffix(path)
    if not path.is_file():
        raise VolumeError(f"{path}: no such file; check the path or fetch the data again")
    try:
        image = nib.load(path)
    except (*_UNREADABLE, *_HEADER_ERRORS) as error:
        raise VolumeError(
            f"{path}: not a NIfTI file or its header is damaged ({error}); fetch it again"
        ) from error
    if not isinstance(image, nib.Nifti1Image):  # NIfTI-2's is one too
        raise VolumeError(f"{path}: a {type(image).__name__}, no NIfTI volume; leave the file out")
    if image.ndim < 3 or min(image.shape) < 1:
        raise VolumeError(f"{path}: not 3D but {image.shape} (x, y, z); leave the file out")
    if image.get_data_dtype().kind not in "iuf":
        raise VolumeError(
            f"{path}: voxels of type {image.get_data_dtype()}; convert to one number per voxel"
        )
    _check_affine(path, image.affine)
    return image


def _check_affine(path: Path, affine: np.ndarray) -> None:
    repair = "repair the sform or qform in the header, or leave the file out"
    if not np.isfinite(affine).all():
        raise VolumeError(f"{path}: affine holds NaN or infinity; {repair}")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    volume = abs(np.linalg.det(affine[:3, :3]))
    if volume <= SMALLEST_DETERMINANT * spacing.prod():
        raise VolumeError(f"{path}: affine is singular, voxel size {spacing} mm; {repair}")


def _frame_count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape[3:]))


def _read(
    path: Path,
    image: nib.Nifti1Image,
    frames: Sequence[int],
    dtype: np.typing.DTypeLike | None,
    nan_ok: bool,
    narrow: bool,
) -> list[Volume]:
    found = _read_frames(path, image, sorted(set(frames)), narrow)
    volumes = []
    for frame in frames:
        array = found[frame]
        if array.dtype.kind == "f" and not nan_ok and not np.isfinite(array).all():
            raise VolumeError(f"{path}: contains NaN or infinite voxels; repair or leave it out")
        array = array if dtype is None else _cast(array, np.dtype(dtype), path)
        volumes.append(Volume(array, np.array(image.affine, dtype=np.float64)))
    return volumes


def _read_frames(
    path: Path, image: nib.Nifti1Image, frames: list[int], narrow: bool
) -> dict[int, np.ndarray]:
    """Scaled values (z, y, x) of the frames, in the machine's byte order."""
    proxy = image.dataobj
    assert isinstance(proxy, ArrayProxy)  # of an image from a file
    size = int(np.prod(image.shape[:3])) * proxy.dtype.itemsize
    opener = igzip.open if path.suffix == ".gz" else open
    found = {}
    try:
        with opener(path, "rb") as stream:
            for frame in frames:
                stream.seek(proxy.offset + frame * size)
                found[frame] = _read_frame(stream, proxy, narrow)
            if frames[-1:] == [_frame_count(image.shape) - 1]:
                stream.read(1)  # the end of the stream: its checksum is compared here
    except _UNREADABLE as error:
        raise VolumeError(f"{path}: truncated or damaged ({error}); fetch it again") from error
    return found


def _read_frame(stream: BufferedIOBase, proxy: ArrayProxy, narrow: bool) -> np.ndarray:
    """The frame (z, y, x) that the stream stands at: at once, or by planes where values change."""
    shape, stored = proxy.shape[2::-1], np.dtype(proxy.dtype)
    slope, inter = float(proxy.slope), float(proxy.inter)
    scaled = (slope, inter) != (1, 0)
    exact = np.result_type(stored, np.float32) if scaled else stored.newbyteorder("=")
    kept = np.dtype(np.float32) if narrow and exact.itemsize > 4 else exact
    values = np.empty(shape, kept)
    if kept == stored and not scaled:
        _fill(stream, values.data.cast("B"))
        return values
    raw = np.empty(shape[1:], stored)
    with np.errstate(over="ignore"):  # beyond float32: infinite, which the caller looks for
        for plane in values:
            _fill(stream, raw.data.cast("B"))
            plane[...] = raw.astype(exact) * slope + inter if scaled else raw
    return values


def _fill(stream: BufferedIOBase, buffer: memoryview) -> None:
    while buffer:
        count = stream.readinto(buffer[:PIECE])
        if not count:
            raise EOFError(f"{len(buffer)} bytes of voxels are missing")
        buffer = buffer[count:]


def _cast(array: np.ndarray, dtype: np.dtype, path: Path) -> np.ndarray:
    """To `dtype`; to an integer type only whole values that fit, never rounded in silence."""
    if dtype.kind not in "iu" or array.dtype == dtype:
        return array.astype(dtype, copy=False)
    whole = np.rint(array) if array.dtype.kind == "f" else array
    low, high = whole.min(), whole.max()
    limits = np.iinfo(dtype)
    if not (limits.min <= low and high <= limits.max):
        raise VolumeError(f"{path}: values {low} to {high} do not fit {dtype}; choose a wider type")
    if array.dtype.kind == "f" and np.abs(whole - array).max() > INTEGER_TOLERANCE:
        raise VolumeError(f"{path}: values are not whole, as {dtype} needs; round or use float32")
    return whole.astype(dtype)
