"""Volumes on a grid in patient space: orientation, comparison of grids.

Arrays are (z, y, x); affines are NIfTI's, from the voxel index (x, y, z) to RAS+ millimetres.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped
from nibabel.orientations import (
    aff2axcodes,
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)

Affine = Float64[np.ndarray, "4 4"]

CANONICAL = "LPS"
"""Orientation of every array after convert: x grows to the patient's Left, y to Posterior, z up."""


class VolumeError(ValueError):
    """A file or grid that cannot be used; the message names it and says what to do."""


@dataclass(frozen=True, eq=False)
class Volume:
    """An array (z, y, x) with its affine, index (x, y, z) -> RAS+ mm."""

    array: Shaped[np.ndarray, "z y x"]
    affine: Affine

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along (z, y, x)."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def axcodes(self) -> str:
        """Patient side that x, y and z grow to, such as "LPS" (x to the Left, ...)."""
        return "".join(aff2axcodes(self.affine))


def reorient(volume: Volume, axcodes: str = CANONICAL) -> Volume:
    """Turn the array so that its axes grow to `axcodes`, by permutation and flips alone.

    No voxel changes value or place in the patient: labels are safe. An oblique volume stays
    oblique; each axis goes to the patient direction it is nearest to.
    """
    change = ornt_transform(io_orientation(volume.affine), axcodes2ornt(axcodes))
    affine = volume.affine @ inv_ornt_aff(change, volume.array.shape[::-1])
    return Volume(_turned(volume.array, change), affine + 0.0)  # + 0.0 turns -0.0 into 0.0


def reorient_like(volume: Volume, native_affine: Affine, native_size: Sequence[int]) -> Volume:
    """Put a reoriented array back on the native grid exactly: the inverse of `reorient`.

    `native_size` is (x, y, z), as the NIfTI header lists it. The result carries `native_affine`
    itself. The volume's affine may have been made `orthonormal` in between.

    Raises VolumeError where the volume is no permutation and flip of the native grid.
    """
    relative = np.linalg.solve(native_affine[:3, :3], volume.affine[:3, :3])
    turn = np.rint(relative)
    # ASSUME: 0.1 leaves room for shear that `orthonormal` took out, and for no resampling.
    is_turn = np.allclose(turn @ turn.T, np.eye(3)) and np.allclose(relative, turn, atol=0.1)
    if not is_turn:
        raise VolumeError("reorient_like: grids differ by more than flips; resample first")
    array = _turned(volume.array, io_orientation(np.pad(turn, (0, 1)) + np.diag([0, 0, 0, 1.0])))
    if array.shape[::-1] != tuple(native_size):
        raise VolumeError(
            f"reorient_like: size {array.shape[::-1]} (x, y, z) is not the native "
            f"{tuple(native_size)}; give the array on its canonical grid"
        )
    return Volume(array, native_affine)


def orthonormal(affine: Affine) -> tuple[Affine, float]:
    """Nearest affine with orthonormal directions, and how far it moved the worst axis (degrees).

    Polar decomposition of the direction cosines (Higham 1986); voxel sizes and the position of
    the first voxel stay, as does handedness. For files with slightly sheared axes.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    directions = affine[:3, :3] / spacing
    left, _, right = np.linalg.svd(directions)
    nearest = left @ right
    chord = np.linalg.norm(nearest - directions, axis=0).max()
    result = affine.copy()
    result[:3, :3] = nearest * spacing
    return result, float(np.degrees(2 * np.arcsin(min(1.0, chord / 2))))


def grid_shift_mm(a: Volume, b: Volume) -> float:
    """Largest distance between voxels of the same index; infinite where sizes differ.

    The shift is affine in the index, so its maximum is at one of the eight corners.
    """
    if a.array.shape != b.array.shape:
        return float("inf")
    corners = np.indices((2, 2, 2)).reshape(3, 8) * (np.array(a.array.shape[::-1])[:, None] - 1)
    shift = (a.affine - b.affine) @ np.vstack([corners, np.ones(8)])
    return float(np.linalg.norm(shift[:3], axis=0).max())


def same_grid(a: Volume, b: Volume, tolerance_mm: float = 0.01) -> bool:
    """Whether two volumes have one size and no voxel is further apart than the tolerance."""
    return grid_shift_mm(a, b) <= tolerance_mm


def _turned(array: np.ndarray, change: np.ndarray) -> np.ndarray:
    """The (z, y, x) array after nibabel's orientation change, which speaks of (x, y, z)."""
    return np.ascontiguousarray(apply_orientation(array.T, change).T)
