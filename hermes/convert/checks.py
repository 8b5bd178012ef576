"""What must be true of an image and its reference before they become a case."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int32, Int64, Integer, Real, UInt8

from hermes.convert.raw import CaseError
from hermes.schema import Card
from hermes.volume import INTEGER_TOLERANCE


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
    if array.min() < bounds.min or array.max() > bounds.max:
        return array.astype(np.float32)
    small = array.astype(np.int16)
    return small if np.array_equal(small, array) else array.astype(np.float32)


def whole_numbers(array: Real[np.ndarray, "z y x"], where: str) -> Int32[np.ndarray, "z y x"]:
    """Return label values as int32.

    Raises:
        CaseError: a value that is not an integer, or far beyond any label.
    """
    low, high = array.min(), array.max()
    if not (low >= -(2**15) and high < 2**16):  # false, too, where any value is nan
        raise CaseError(f"{where}: label values run from {low:g} to {high:g}: not a label volume")
    if array.dtype.kind != "f":
        return array.astype(np.int32)
    whole = np.rint(array)
    odd = np.flatnonzero(np.abs(whole - array) > INTEGER_TOLERANCE)
    if odd.size:
        raise CaseError(
            f"{where}: {odd.size} label values are not integers, such as "
            f"{array.ravel()[odd[0]]:g}: a resampled label or a probability map"
        )
    return whole.astype(np.int32)


def canonical_values(
    values: Integer[np.ndarray, "z y x"], card: Card
) -> UInt8[np.ndarray, "z y x"]:
    """Map published label values to canonical ones.

    Raises:
        CaseError: a value that the card neither lists nor ignores, unless the card reads such
            values as background.
    """
    mapping: Mapping[int, int] = card.canonical_values
    low, high = int(values.min()), int(values.max())
    offsets = (values - low).astype(np.uint16)
    counts = sum(np.bincount(plane.ravel(), minlength=high - low + 1) for plane in offsets)
    unknown = {low + int(i): int(counts[i]) for i in np.flatnonzero(counts)}.items()
    unknown = {value: count for value, count in unknown if value not in mapping}
    if unknown and card.unlisted_values == "reject":
        found = ", ".join(f"{value} ({count} voxels)" for value, count in unknown.items())
        raise CaseError(
            f"unknown label value: the card neither lists nor ignores {found}; it knows "
            f"{sorted(mapping)}"
        )
    table = np.array([mapping.get(value, 0) for value in range(low, high + 1)], np.uint8)
    return table[offsets]


def count_along_x(label: UInt8[np.ndarray, "z y x"], classes: int) -> Int64[np.ndarray, "values x"]:
    """Count a label's voxels by canonical value (0 to `classes`) and x index."""
    width = label.shape[2]
    columns = np.arange(width, dtype=np.int64)
    size = (classes + 1) * width
    planes = (plane.astype(np.int64) * width + columns for plane in label)
    total = sum(np.bincount(plane.ravel(), minlength=size) for plane in planes)
    return np.reshape(total, (classes + 1, width))


def wrong_sides(
    image: Real[np.ndarray, "z y x"], counts: Int64[np.ndarray, "values x"], card: Card
) -> list[str]:
    """Name the structures whose centroid is not on the side of the body the card says.

    ASSUME: the body's midline is the mean x of the voxels brighter than the image's mean; it
    holds for CT and MR with air around the body, wherever in the field of view the body lies.

    Args:
        image: canonical image [z, y, x]; x grows to the patient's left.
        counts: of `count_along_x`.
    """
    if not card.sides:
        return []
    columns = np.arange(image.shape[2])
    bright = np.count_nonzero(image > image.mean(), axis=(0, 1))
    midline = float(bright @ columns / bright.sum())
    warnings = []
    for value, structure in enumerate(card.structures, start=1):
        if structure not in card.sides or not counts[value].any():
            continue
        centroid = float(counts[value] @ columns / counts[value].sum())
        found = "left" if centroid > midline else "right"
        if found != card.sides[structure]:
            warnings.append(f"{structure} lies on the patient's {found}")
    return warnings
