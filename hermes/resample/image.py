"""Images by cubic splines: products with banded matrices, a few planes in memory at a time."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from scipy.interpolate import CubicSpline

from hermes.resample.grid import Spacing, centres, target_grid

SPLINE_REACH = 16
"""Source voxels on either side that a spline value depends on: its weights fall by 0.268 with each,
here to 1e-9."""

NEGLIGIBLE_WEIGHT = 1e-9
"""Weights below it are zero: float32 does not resolve them, and denormal numbers are slow."""

BAND_ROWS = 32
"""Target voxels that share one block of the band matrix (32 to 64 were fastest)."""


def resample_image(
    array: Shaped[np.ndarray, "z y x"],
    spacing_mm: Spacing,
    target_spacing_mm: Spacing,
    planes: tuple[int, int] | None = None,
) -> Float32[np.ndarray, "zt yt xt"]:
    """Cubic spline resampling of an image to `target_spacing_mm` (z, y, x).

    `planes` asks for target planes first..last (exclusive) alone, at the price of the SPLINE_REACH
    source planes on either side. Beyond the result, a few dozen planes are in memory at a time.

    Any real dtype without NaN (a NaN spreads along its lines). Agrees with scipy's order 3 away
    from the border.
    ASSUME: at the border the spline is natural and continues as a straight line, at most half a
    source voxel. A linear ramp is reproduced exactly, and the error there is 0.4-0.9 of that of
    scipy's boundary modes, which bend the ends flat.
    """
    size, _ = target_grid(array.shape, spacing_mm, target_spacing_mm)
    steps = [target / old for target, old in zip(target_spacing_mm, spacing_mm, strict=True)]
    z_bands, y_bands, x_bands = (
        _spline_bands(*axis) for axis in zip(array.shape, size, steps, strict=True)
    )
    first, last = planes or (0, size[0])
    z_bands = _between(z_bands, first, last)
    result = torch.empty(last - first, *size[1:])
    for band, source in _source_planes(array, z_bands, y_bands, x_bands, size[1:]):
        rows = slice(band.rows.start - first, band.rows.stop - first)
        torch.mm(band.weights, source.flatten(1), out=result[rows].flatten(1))
    return result.numpy()


class _Band(NamedTuple):
    """A block of rows of the weight matrix, with the only source columns that it needs."""

    rows: slice
    columns: slice
    weights: torch.Tensor


def _spline_bands(size: int, target_size: int, step: float) -> list[_Band]:
    positions = centres(size, target_size, step)
    bands = []
    for start in range(0, target_size, BAND_ROWS):
        block = positions[start : start + BAND_ROWS]
        first = max(0, int(block[0]) - SPLINE_REACH)
        last = min(size, int(block[-1]) + SPLINE_REACH + 2)
        weights = torch.from_numpy(_spline_weights(last - first, block - first)).float()
        bands.append(_Band(slice(start, start + len(block)), slice(first, last), weights))
    return bands


def _between(bands: list[_Band], first: int, last: int) -> list[_Band]:
    """The bands, or the part of a band, whose rows lie in first..last (exclusive)."""
    cut = []
    for rows, columns, weights in bands:
        start, stop = max(rows.start, first), min(rows.stop, last)
        if start < stop:
            mine = weights[start - rows.start : stop - rows.start]
            cut.append(_Band(slice(start, stop), columns, mine))
    return cut


def _source_planes(
    array: np.ndarray,
    z_bands: list[_Band],
    y_bands: list[_Band],
    x_bands: list[_Band],
    size: Sequence[int],
) -> Iterator[tuple[_Band, torch.Tensor]]:
    """Yield every z band with its source planes, resampled within the plane to `size` (y, x).

    Each plane is resampled once and kept while a band needs it.
    """
    longest = max(band.columns.stop - band.columns.start for band in z_bands)
    planes = torch.empty(longest, *size)
    lines = torch.empty(array.shape[1], size[1])
    start, stop = z_bands[0].columns.start, z_bands[0].columns.start  # source planes held
    for band in z_bands:
        first, last = band.columns.start, band.columns.stop
        kept = max(0, stop - first)
        if first > start:
            planes.numpy()[:kept] = planes.numpy()[first - start : first - start + kept]
        for z in range(max(first, stop), last):  # one plane at a time stays in cache
            floats = torch.from_numpy(np.ascontiguousarray(array[z], dtype=np.float32))
            for part in x_bands:
                lines[:, part.rows] = floats[:, part.columns] @ part.weights.T
            for part in y_bands:
                torch.mm(part.weights, lines[part.columns], out=planes[z - first, part.rows])
        start, stop = first, max(stop, last)
        yield band, planes[: last - first]


def _spline_weights(size: int, positions: np.ndarray) -> np.ndarray:
    """Weights (target, source) of the natural cubic spline, straight beyond the end points."""
    if size == 1:
        return np.ones((len(positions), 1))
    spline = CubicSpline(np.arange(size), np.eye(size), bc_type="natural")
    inside = np.clip(positions, 0, size - 1)
    weights = spline(inside) + (positions - inside)[:, None] * spline(inside, 1)
    return np.where(np.abs(weights) < NEGLIGIBLE_WEIGHT, 0, weights)
