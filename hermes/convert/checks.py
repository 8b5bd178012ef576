"""What must be true of an image and its reference before they become a case."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int64, Integer, Real, UInt8

from hermes.config.schema import Card
from hermes.convert.raw import CaseError
from hermes.files.nifti import INTEGER_TOLERANCE


def check_image(array: Real[np.ndarray, "z y x"]) -> None:
    """Refuse an image without usable content.

    Raises:
        CaseError: voxels that are not finite, or one value everywhere.
    """
    if array.size == 0:
        raise CaseError(f"empty image: size {array.shape}")
    low, high = array.min(), array.max()  # either is nan where any voxel is
    if not (np.isfinite(low) and np.isfinite(high)):
        odd = int(np.count_nonzero(~np.isfinite(array)))
        raise CaseError(f"{odd} voxels of the image are not finite (NaN or infinity)")
    if low == high:
        raise CaseError(f"constant image: every voxel is {low:g}")


def compact(array: Real[np.ndarray, "z y x"]) -> Real[np.ndarray, "z y x"]:
    """Store a finite image as int16 where that loses nothing, else as float32."""
    if array.dtype == np.int16:
        return array
    bounds = np.iinfo(np.int16)
    fits = array.min() >= bounds.min and array.max() <= bounds.max
    if fits and all(np.array_equal(np.rint(plane), plane) for plane in array):
        return array.astype(np.int16)
    return array.astype(np.float32, copy=False)


def whole_numbers(array: Real[np.ndarray, "z y x"], where: str) -> Integer[np.ndarray, "z y x"]:
    """Return label values as uint8 where they fit, else as int32.

    Raises:
        CaseError: a value that is not an integer, or far beyond any label.
    """
    low, high = array.min(), array.max()
    if not (low >= -(2**15) and high < 2**16):  # false, too, where any value is nan
        raise CaseError(f"{where}: label values run from {low:g} to {high:g}: not a label volume")
    kind = np.uint8 if low >= 0 and high <= np.iinfo(np.uint8).max else np.int32
    if array.dtype.kind != "f":
        return array.astype(kind, copy=False)
    whole = np.empty(array.shape, kind)
    for rounded, plane in zip(whole, array, strict=True):
        rounded[...] = np.rint(plane)
        if np.abs(rounded - plane).max() > INTEGER_TOLERANCE:
            raise CaseError(_fractions(array, where))
    return whole


def _fractions(array: Real[np.ndarray, "z y x"], where: str) -> str:
    odd = [plane[np.abs(np.rint(plane) - plane) > INTEGER_TOLERANCE] for plane in array]
    values = np.concatenate(odd)
    return (
        f"{where}: {values.size} label values are not integers, such as {values[0]:g}: "
        "a resampled label or a probability map"
    )


def to_canonical(
    values: Integer[np.ndarray, "z y x"], card: Card
) -> tuple[UInt8[np.ndarray, "z y x"], dict[int, int]]:
    """Map published label values to canonical ones; unknown values become background.

    Returns:
        Canonical values, and the number of voxels by published value.
    """
    mapping: Mapping[int, int] = card.canonical_values
    low, high = int(values.min()), int(values.max())
    table = np.array([mapping.get(value, 0) for value in range(low, high + 1)], np.uint8)
    counts = np.zeros(len(table), np.int64)
    result = np.empty(values.shape, np.uint8)
    for mapped, plane in zip(result, values, strict=True):
        offsets = plane.astype(np.intp) - low
        counts += np.bincount(offsets.ravel(), minlength=len(table))
        np.take(table, offsets, out=mapped)
    return result, {low + int(i): int(counts[i]) for i in np.flatnonzero(counts)}


def refuse_unknown(found: Mapping[int, int], card: Card) -> None:
    """Refuse published values, with their number of voxels, that the card does not know.

    Raises:
        CaseError: a value that the card neither lists nor ignores, unless the card reads such
            values as background.
    """
    known = card.canonical_values
    unknown = [f"{value} ({n} voxels)" for value, n in found.items() if value not in known]
    if unknown and card.unlisted_values == "reject":
        raise CaseError(
            f"unknown label value: the card neither lists nor ignores {', '.join(unknown)}; it "
            f"knows {sorted(known)}"
        )


def count_along_x(label: UInt8[np.ndarray, "z y x"], classes: int) -> Int64[np.ndarray, "values x"]:
    """Count a label's voxels by canonical value (0 to `classes`) and x index."""
    width = label.shape[2]
    columns = np.arange(width, dtype=np.int64)
    size = (classes + 1) * width
    planes = (plane.astype(np.int64) * width + columns for plane in label)
    total = sum(np.bincount(plane.ravel(), minlength=size) for plane in planes)
    return np.reshape(total, (classes + 1, width))


def sides_found(
    image: Real[np.ndarray, "z y x"], counts: Int64[np.ndarray, "values x"], card: Card
) -> dict[str, str]:
    """Say of each structure with a side in the card on which side its centroid lies.

    ASSUME: the body's midline is the mean x of the voxels brighter than the image's mean; it
    holds for CT and MR with air around the body, wherever in the field of view the body lies.

    Args:
        image: canonical image [z, y, x]; x grows to the patient's left.
        counts: of `count_along_x`.
        card: structures that are absent, or have no side in it, are left out.
    """
    present = [s for k, s in enumerate(card.structures, 1) if s in card.sides and counts[k].any()]
    if not present:
        return {}
    columns, mean = np.arange(image.shape[2]), image.mean()
    bright = sum(np.count_nonzero(plane > mean, axis=0) for plane in image)
    midline = float(bright @ columns / bright.sum())
    return {s: _side(counts[card.structures.index(s) + 1], columns, midline) for s in present}


def _side(count: Int64[np.ndarray, " x"], columns: Int64[np.ndarray, " x"], midline: float) -> str:
    return "left" if float(count @ columns / count.sum()) > midline else "right"


def misplaced(found: Mapping[str, str], card: Card) -> list[str]:
    """Name the structures that `sides_found` finds elsewhere than the card says."""
    wrong = {s: side for s, side in found.items() if side != card.sides[s]}
    return [f"{structure} lies on the patient's {side}" for structure, side in wrong.items()]
