"""Where the voxels of a resampled grid are; the convention is told in `hermes.resample`."""

from collections.abc import Sequence

import numpy as np

from hermes.axes import Box, triple
from hermes.files.volume import Affine

Spacing = Sequence[float | int]
Size = tuple[int, int, int]


def target_grid(
    size: Sequence[int], spacing_mm: Spacing, target_spacing_mm: Spacing
) -> tuple[Size, tuple[float, float, float]]:
    """Size of the resampled grid, and its first voxel centre from the old one in mm; (z, y, x).

    Halves round up, after six decimals, so that float noise in a header cannot change a size.
    """
    extent = np.array(size) * np.array(spacing_mm) / np.array(target_spacing_mm)
    target = np.maximum(1, np.floor(np.round(extent, 6) + 0.5)).astype(int)
    offset = (np.array(size) - 1) * spacing_mm - (target - 1) * np.array(target_spacing_mm)
    return tuple(target.tolist()), tuple((offset / 2).tolist())


def resampled_affine(affine: Affine, size: Sequence[int], target_spacing_mm: Spacing) -> Affine:
    """Affine of the resampled grid: directions kept, columns rescaled, centres coincident.

    `size` (z, y, x) is the old grid's; its spacing is read from `affine`.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    _, offset_mm = target_grid(size, spacing[::-1].tolist(), target_spacing_mm)
    directions = affine[:3, :3] / spacing
    result = np.eye(4)
    result[:3, :3] = directions * target_spacing_mm[::-1]
    result[:3, 3] = affine[:3, 3] + directions @ offset_mm[::-1]
    return result


def centres(size: int, target_size: int, step: float) -> np.ndarray:
    """Target voxel centres as source indices: the middles of both axes coincide."""
    return (np.arange(target_size) - (target_size - 1) / 2) * step + (size - 1) / 2


def box_on_grid(
    box: Box,
    size: Sequence[int],
    spacing_mm: Spacing,
    target_spacing_mm: Spacing,
) -> Box:
    """The target voxels that a box (z, y, x) of source voxels touches."""
    target_size, offset_mm = target_grid(size, spacing_mm, target_spacing_mm)
    sides = []
    for side, old, new, offset, length in zip(
        box, spacing_mm, target_spacing_mm, offset_mm, target_size, strict=True
    ):
        # from the outer faces of the source voxels to indices of target voxels
        first = np.floor(((side.start - 0.5) * old - offset) / new + 0.5)
        last = np.ceil(((side.stop - 0.5) * old - offset) / new + 0.5)
        sides.append(slice(max(0, int(first)), min(length, int(last))))
    return triple(sides)
