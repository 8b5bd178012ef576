"""Read the reference segmentation of a case, whatever its form, on the image's grid.

Every reader returns published values. Nothing is interpolated: voxels are reordered at most.
"""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from hermes.config.schema import Card
from hermes.convert.checks import whole_numbers
from hermes.convert.dicom import file_order
from hermes.convert.find import Case
from hermes.convert.images import Native, read_volume
from hermes.convert.patterns import natural
from hermes.convert.raw import CaseError
from hermes.convert.rtstruct import find_structure_set, rasterise
from hermes.convert.sources import Sources
from hermes.files.nifti import frame_count, read_nifti, read_nifti_frames
from hermes.files.volume import Volume, grid_shift_mm, reorient

GRID_TOLERANCE = 0.1
"""ASSUME: headers round; a label within this share of a voxel of its image is on its grid."""

NEARLY_SURE = 240
"""ASSUME: a probability map from 0 to 255 holds a value at least this high."""

Label = tuple[Volume, list[str]]
"""Published values in LPS order, on the grid of the image's reorientation; and warnings."""


def read_label(case: Case, card: Card, sources: Sources, image: Native) -> Label | None:
    """Read the reference in the form the card gives; None where the card says there is none.

    Raises:
        CaseError, VolumeError: it cannot be read, or does not fit the image.
    """
    form = case.image.label.format
    if form == "none":
        return None
    if form == "png":
        return _png(case, card, sources, image)
    readers = {"nifti": _nifti, "rtstruct": _rtstruct, "probability": _probability}
    return readers[form](case, sources, image)


def _nifti(case: Case, sources: Sources, image: Native) -> Label:
    (path,) = sources.label_paths()
    label = read_volume(path, image.frame)
    if image.frame is not None and not label.array.any():
        raise CaseError(_empty_frame(path, case, image.frame))
    whole = Volume(whole_numbers(label.array, path.name), label.affine)
    return _align(case, image.volume, whole, path), []


def _empty_frame(path: Path, case: Case, frame: int) -> str:
    """Say which frames hold a reference where the one that a table names does not."""
    count = frame_count(path)
    frames = read_nifti_frames(path, range(count), nan_ok=True, narrow=True)
    held = [k for k, volume in enumerate(frames) if volume.array.any()]
    if not held:
        return f"{path.name}: no frame holds a reference"
    reason = (
        f"{path.name}: frame {frame}, which the table names as {case.frame}, holds no reference, "
        f"but {', '.join(map(str, held))} of frames 0 to {count - 1}"
    )
    if frame - 1 in held:
        reason += f"; frame {frame - 1} does: the table seems to count from 1, not from 0"
    return reason


def _rtstruct(case: Case, sources: Sources, image: Native) -> Label:
    path = find_structure_set(sources.label_paths())
    values, warnings = rasterise(path, case.image.label.contours, image.volume)
    return reorient(Volume(values, image.volume.affine)), warnings


def _probability(case: Case, sources: Sources, image: Native) -> Label:
    """Argmax over [1 - sum of the maps, maps...]; the earlier one wins a tie."""
    values, shares = [0], []
    for value in case.image.label.maps:
        (path,) = sources.label_paths(value)
        aligned = _align(case, image.volume, read_nifti(path, narrow=True), path)
        values.append(value)
        shares.append(_share(aligned.array, path))
    best = np.argmax(np.stack([1 - np.sum(shares, axis=0), *shares]), axis=0)
    return Volume(np.array(values, np.int32)[best], aligned.affine), []


def _share(array: np.ndarray, path: Path) -> np.ndarray:
    """Probabilities as float32, of maps that run from 0 to 1 or from 0 to 255.

    ASSUME: 8-bit maps with values above 1 say 255 for certainty, and so do others that come near
    255 (`NEARLY_SURE`): some voxel of every tissue is nearly sure.
    """
    low, high = float(array.min()), float(array.max())
    bytewise = array.dtype == np.uint8 and high > 1
    whole = 255 if bytewise or NEARLY_SURE <= high <= 256 else 1
    if not (low >= -0.01 * whole and high <= 1.01 * whole):
        raise CaseError(
            f"{path.name}: values from {low:g} to {high:g} are no probabilities (0 to 1, or 0 to "
            "255)"
        )
    return array.astype(np.float32) / whole


def _align(case: Case, image: Volume, label: Volume, path: Path) -> Volume:
    """Reorient a label to LPS; its voxels must be the image's.

    Where the card says that the label's header is not to be trusted, it takes the image's.
    """
    if case.image.label.geometry == "image":
        _same_size(label, image, path)
        return reorient(Volume(label.array, image.affine))
    ours, wanted = reorient(label), reorient(image)
    _same_size(ours, wanted, path)
    apart = grid_shift_mm(ours, wanted)
    if apart > GRID_TOLERANCE * min(wanted.spacing_mm):
        raise CaseError(
            f"{path.name}: lies on another grid than its image: voxels of one index are up to "
            f"{apart:.3g} mm apart"
        )
    return ours


def _same_size(label: Volume, image: Volume, path: Path) -> None:
    if label.array.shape != image.array.shape:
        raise CaseError(
            f"{path.name}: size {label.array.shape} (z, y, x), but its image has "
            f"{image.array.shape}"
        )


def _png(case: Case, card: Card, sources: Sources, image: Native) -> Label:
    """One grey picture per slice, paired by name; then put in the slices' geometric order."""
    pictures = [path for path in sources.label_paths() if path.suffix.lower() == ".png"]
    if len(pictures) != len(image.slices):
        raise CaseError(
            f"{len(pictures)} PNG slices in the reference, {len(image.slices)} slices in the image"
        )
    order, warning = file_order(image.slices)
    grey = np.zeros(image.volume.array.shape, np.int32)
    for index, path in zip(order, sorted(pictures, key=_by_name), strict=True):
        grey[index] = _read_grey(path, grey.shape[1:])
    values = _published_values(grey, case.image.label.ranges, card)
    return reorient(Volume(values, image.volume.affine)), [warning] if warning else []


def _by_name(path: Path) -> tuple[list[str | int], str]:
    return natural(path.name)


def _read_grey(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            mode, array = picture.mode, np.asarray(picture)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise CaseError(f"{path.name}: not a readable PNG: {error}") from error
    if mode not in ("L", "I", "I;16", "1"):
        raise CaseError(f"{path.name}: colour mode {mode}; a grey picture is expected")
    if array.shape != tuple(shape):
        raise CaseError(f"{path.name}: size {array.shape}, but the image's slices have {shape}")
    return array.astype(np.int32)


def _published_values(
    grey: np.ndarray, ranges: dict[int, tuple[int, int]], card: Card
) -> np.ndarray:
    """Map grey values to published ones; black is background."""
    levels, counts = np.unique(grey, return_counts=True)
    values = np.zeros(len(levels), np.int32)
    known = levels == 0
    for value, (low, high) in ranges.items():
        inside = (levels >= low) & (levels <= high)
        values[inside] = value
        known |= inside
    if card.unlisted_values == "reject" and not known.all():
        pairs = zip(levels[~known], counts[~known], strict=True)
        found = ", ".join(f"{level} ({count} voxels)" for level, count in pairs)
        raise CaseError(f"unknown label value: grey outside of every range of the card: {found}")
    return values[np.searchsorted(levels, grey)]
