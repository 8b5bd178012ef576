"""From shapes to voxels: a grid in the body, painted structure by structure, soft at the edges."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hermes.axes import Box, triple
from hermes.phantom.shapes import Number, Points
from hermes.phantom.structure import Structure


@dataclass(frozen=True)
class Grid:
    """Voxel positions: NIfTI affine (index x, y, z -> RAS+ mm) and size (x, y, z)."""

    affine: np.ndarray
    size: tuple[int, int, int]

    @property
    def spacing_mm(self) -> np.ndarray:
        """Voxel spacing along the index axes x, y, z."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)


@dataclass(frozen=True)
class Warp:
    """From world to body coordinates (LPS mm): smooth waves, then a scale per axis.

    body = (world + sum of amplitude * cos(wave . world + phase) - shift) / scale
    """

    scale: np.ndarray  # (3,)
    shift: np.ndarray  # (3,) mm
    amplitudes: np.ndarray  # (modes, 3) mm
    waves: np.ndarray  # (modes, 3) 1/mm
    phases: np.ndarray  # (modes,)

    def reach(self) -> float:
        """The furthest the waves move a point, in mm."""
        return float(np.linalg.norm(np.abs(self.amplitudes).sum(axis=0)))

    def __call__(self, world: Sequence[np.ndarray]) -> list[np.ndarray]:
        moved = [axis - np.float32(s) for axis, s in zip(world, self.shift, strict=True)]
        for amplitude, wave, phase in zip(self.amplitudes, self.waves, self.phases, strict=True):
            a, b, c = wave.astype(np.float32)
            swing = np.cos(world[0] * a + world[1] * b + world[2] * c + np.float32(phase))
            for axis in range(3):
                moved[axis] += swing * np.float32(amplitude[axis])
        return [axis * np.float32(1 / s) for axis, s in zip(moved, self.scale, strict=True)]


def world_points(grid: Grid) -> list[np.ndarray]:
    """World coordinates (LPS mm) of all voxels: three arrays of shape (z, y, x)."""
    lps = np.diag([-1, -1, 1, 1]) @ grid.affine
    nx, ny, nz = grid.size
    i = np.arange(nx, dtype=np.float32)[None, None, :]
    j = np.arange(ny, dtype=np.float32)[None, :, None]
    k = np.arange(nz, dtype=np.float32)[:, None, None]
    rows = lps[:3].astype(np.float32)
    return [row[0] * i + row[1] * j + row[2] * k + row[3] for row in rows]


def _region(structure: Structure, grid: Grid, warp: Warp, margin: Number) -> Box | None:
    """The box of voxels (z, y, x) that a structure can touch; None when it lies outside."""
    low, high = structure.shape.bounds
    low, high = low * warp.scale + warp.shift, high * warp.scale + warp.shift
    reach = warp.reach() + margin
    corners = np.stack(np.meshgrid(*zip(low - reach, high + reach, strict=True)), -1).reshape(-1, 3)
    lps = np.diag([-1, -1, 1, 1]) @ grid.affine
    index = (corners - lps[:3, 3]) @ np.linalg.inv(lps[:3, :3]).T
    first = np.clip(np.floor(index.min(axis=0)), 0, grid.size).astype(int)
    last = np.clip(np.ceil(index.max(axis=0)) + 1, 0, grid.size).astype(int)
    if np.any(first >= last):
        return None
    return triple(slice(a, b) for a, b in zip(first[::-1], last[::-1], strict=True))


def paint(
    structures: Sequence[Structure],
    grid: Grid,
    warp: Warp,
    values: Callable[[str], Sequence[Number]],
    background: Sequence[Number],
) -> tuple[np.ndarray, np.ndarray]:
    """Paint structures over each other.

    Args:
        structures: in painting order.
        grid: voxels to paint.
        warp: from world to body coordinates.
        values: tissue -> one value per channel.
        background: one value per channel.

    Returns:
        Channels (c, z, y, x) float32, mixed where a surface crosses a voxel (partial volume), and
        the index of the structure on top at each voxel's centre, 1-based, int16 (z, y, x).
    """
    x, y, z = warp(world_points(grid))
    points = Points(x, y, z)
    shape = points.x.shape
    channels = np.empty((len(background), *shape), np.float32)
    channels[:] = np.asarray(background, np.float32)[:, None, None, None]
    top = np.zeros(shape, np.int16)
    softness = np.float32(np.prod(grid.spacing_mm) ** (1 / 3))
    for index, structure in enumerate(structures, start=1):
        region = _region(structure, grid, warp, float(softness))
        if region is None:
            continue
        distance = structure.shape(points.crop(region))
        inside = distance < 0
        if structure.within:
            wanted = [
                k for k, s in enumerate(structures, 1) if set(s.names) & set(structure.within)
            ]
            inside &= np.isin(top[region], wanted)
        top[region][inside] = index
        if structure.tissue is None:
            continue
        share = np.clip(np.float32(0.5) - distance / softness, 0, 1)
        for channel, value in zip(channels, values(structure.tissue), strict=True):
            box = channel[region]
            box += share * (np.float32(value) - box)
    return channels, top
