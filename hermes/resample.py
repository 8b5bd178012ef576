"""Resampling to another voxel size: cubic splines for images, a linear vote for labels.

Between grids whose axes are parallel, a cubic spline is one matrix per axis: fitting the
coefficients and evaluating them are both linear, so both fold into one band of weights and a
volume is resampled by three matrix products (Unser, Aldroubi, Eden 1993, "B-spline signal
processing"). Oblique targets take the general path, `resample_to`.

Convention: the CENTRES of the two grids coincide, and the fields of view do to within a quarter of
a target voxel at either end. The size is the rounded quotient of extent and target spacing, so
sizes and spacings alone say where every voxel is, the way back is the same map with the two grids
exchanged, and resampling commutes with flips. `resampled_affine` follows.

No smoothing comes before downsampling: ASSUME as published, where plain B-spline interpolation
is applied; detail finer than the target voxel aliases. A spline overshoots at sharp edges, by up
to a tenth or so of the step, and is not clipped here: the intensity window of preprocess, which
comes after, bounds it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
import torch
from jaxtyping import Float32, Shaped, UInt8
from scipy.interpolate import CubicSpline

from hermes.volume import Affine, Volume

Spacing = Sequence[float | int]
Size = tuple[int, int, int]

SPLINE_REACH = 16
"""Source voxels on either side that a spline value depends on: its weights fall by 0.268 with each,
here to 1e-9."""

NEGLIGIBLE_WEIGHT = 1e-9
"""Weights below it are zero: float32 does not resolve them, and denormal numbers are slow."""

BAND_ROWS = 32
"""Target voxels that share one block of the band matrix (32 to 64 were fastest)."""

VOTES_AT_ONCE = 1 << 15
"""Voxels in one vote, so that its eight-fold temporaries stay in cache."""

_ITK_INTERPOLATORS = {0: sitk.sitkNearestNeighbor, 1: sitk.sitkLinear, 3: sitk.sitkBSpline}


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


def resample_image(
    array: Shaped[np.ndarray, "z y x"], spacing_mm: Spacing, target_spacing_mm: Spacing
) -> Float32[np.ndarray, "zt yt xt"]:
    """Cubic spline resampling of an image to `target_spacing_mm` (z, y, x).

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
    planes = torch.empty(array.shape[0], *size[1:])
    lines = torch.empty(array.shape[1], size[2])
    for source, plane in zip(array, planes, strict=True):  # one plane at a time stays in cache
        floats = torch.from_numpy(np.ascontiguousarray(source, dtype=np.float32))
        for band in x_bands:
            lines[:, band.rows] = floats[:, band.columns] @ band.weights.T
        for band in y_bands:
            torch.mm(band.weights, lines[band.columns], out=plane[band.rows])
    result = torch.empty(size)
    for band in z_bands:
        torch.mm(band.weights, planes[band.columns].flatten(1), out=result[band.rows].flatten(1))
    return result.numpy()


def resample_label(
    array: UInt8[np.ndarray, "z y x"], spacing_mm: Spacing, target_spacing_mm: Spacing
) -> UInt8[np.ndarray, "zt yt xt"]:
    """Label map on the grid of `resample_image`: the label with most trilinear weight.

    The same as interpolating every label's mask linearly and taking the largest, computed only
    where the eight neighbours differ. The lowest label wins a tie, so background before others.
    """
    size, _ = target_grid(array.shape, spacing_mm, target_spacing_mm)
    return resample_label_to(array, spacing_mm, size, target_spacing_mm)


def resample_label_to(
    array: UInt8[np.ndarray, "z y x"],
    spacing_mm: Spacing,
    size: Sequence[int],
    target_spacing_mm: Spacing,
) -> UInt8[np.ndarray, "zt yt xt"]:
    """As `resample_label`, to a grid of a given size (z, y, x): the way back from the model grid.

    Centres coincide; target voxels beyond the outermost source centres take the value there.
    """
    steps = [target / old for target, old in zip(target_spacing_mm, spacing_mm, strict=True)]
    axes = [_neighbours(*axis) for axis in zip(array.shape, size, steps, strict=True)]
    result = np.empty(tuple(size), np.uint8)
    mixed = np.concatenate(list(_fill_uniform(array, axes, result)))
    flat = result.reshape(-1)
    for start in range(0, len(mixed), VOTES_AT_ONCE):
        voxels = mixed[start : start + VOTES_AT_ONCE]
        flat[voxels] = _vote(*_corners(array, axes, np.unravel_index(voxels, result.shape)))
    return result


def resample_to(
    volume: Volume, affine: Affine, size: Sequence[int], order: int, outside: float = 0.0
) -> Volume:
    """Any target grid, oblique ones too, by SimpleITK: order 3 (B-spline), 1 or 0 (nearest).

    `size` is (z, y, x). Order 0 keeps the dtype (labels); 1 and 3 give float32. Voxels further
    than half a voxel outside the volume are `outside`. Its spline mirrors at the border, where it
    differs from `resample_image`'s. Raises ValueError for another order.
    """
    if order not in _ITK_INTERPOLATORS:
        raise ValueError(f"order {order}: choose 0 (nearest), 1 (linear) or 3 (cubic B-spline)")
    array = volume.array if order == 0 else volume.array.astype(np.float32, copy=False)
    between = np.linalg.solve(volume.affine, affine)  # target index -> source index, (x, y, z)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(between[:3, :3].ravel().tolist())
    transform.SetTranslation(between[:3, 3].tolist())
    resampler = sitk.ResampleImageFilter()  # both images lie on the unit grid of their indices
    resampler.SetSize([int(n) for n in reversed(size)])
    resampler.SetTransform(transform)
    resampler.SetInterpolator(_ITK_INTERPOLATORS[order])
    resampler.SetDefaultPixelValue(outside)
    moved = resampler.Execute(sitk.GetImageFromArray(array))
    return Volume(sitk.GetArrayFromImage(moved), affine)


def _positions(size: int, target_size: int, step: float) -> np.ndarray:
    """Target voxel centres as source indices: the middles of both axes coincide."""
    return (np.arange(target_size) - (target_size - 1) / 2) * step + (size - 1) / 2


class _Band(NamedTuple):
    """A block of rows of the weight matrix, with the only source columns that it needs."""

    rows: slice
    columns: slice
    weights: torch.Tensor


def _spline_bands(size: int, target_size: int, step: float) -> list[_Band]:
    positions = _positions(size, target_size, step)
    bands = []
    for start in range(0, target_size, BAND_ROWS):
        block = positions[start : start + BAND_ROWS]
        first = max(0, int(block[0]) - SPLINE_REACH)
        last = min(size, int(block[-1]) + SPLINE_REACH + 2)
        weights = torch.from_numpy(_spline_weights(last - first, block - first)).float()
        bands.append(_Band(slice(start, start + len(block)), slice(first, last), weights))
    return bands


def _spline_weights(size: int, positions: np.ndarray) -> np.ndarray:
    """Weights (target, source) of the natural cubic spline, straight beyond the end points."""
    if size == 1:
        return np.ones((len(positions), 1))
    spline = CubicSpline(np.arange(size), np.eye(size), bc_type="natural")
    inside = np.clip(positions, 0, size - 1)
    weights = spline(inside) + (positions - inside)[:, None] * spline(inside, 1)
    return np.where(np.abs(weights) < NEGLIGIBLE_WEIGHT, 0, weights)


class _Neighbours(NamedTuple):
    """Per target index of an axis: the source indices on either side, and the upper's weight."""

    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray


def _neighbours(size: int, target_size: int, step: float) -> _Neighbours:
    positions = np.clip(_positions(size, target_size, step), 0, size - 1)
    low = np.minimum(positions.astype(np.intp), max(size - 2, 0))
    return _Neighbours(low, np.minimum(low + 1, size - 1), positions - low)


def _fill_uniform(
    array: np.ndarray, axes: list[_Neighbours], result: np.ndarray
) -> Iterator[np.ndarray]:
    """Fill `result` with the lower neighbour; yield the flat indices whose neighbours differ."""
    z_axis, y_axis, x_axis = axes
    label = np.empty((len(array), *result.shape[1:]), np.uint8)
    uniform = np.empty(label.shape, bool)
    for z, plane in enumerate(array):
        left, right = plane.take(x_axis.low, axis=1), plane.take(x_axis.high, axis=1)
        alike = left == right
        label[z] = left[y_axis.low]
        uniform[z] = alike[y_axis.low] & alike[y_axis.high] & (label[z] == left[y_axis.high])
    plane_size = result[0].size
    for z, (low, high) in enumerate(zip(z_axis.low, z_axis.high, strict=True)):
        result[z] = label[low]
        same = uniform[low] & uniform[high] & (label[low] == label[high])
        yield np.flatnonzero(~same) + z * plane_size


def _corners(
    array: np.ndarray, axes: list[_Neighbours], voxels: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (8, n) of the eight neighbours and their trilinear weights (8, n)."""
    places, weights = np.zeros((1, 1), np.intp), np.ones((1, 1))
    for axis, index, length in zip(axes, voxels, array.shape, strict=True):
        ends = np.stack([axis.low[index], axis.high[index]])
        upper = axis.weight[index]
        shares = np.stack([1 - upper, upper])
        places = (places[:, None] * length + ends).reshape(-1, len(index))
        weights = (weights[:, None] * shares).reshape(-1, len(index))
    return array.reshape(-1)[places], weights


def _vote(labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Label of most weight per column; labels are tried in rising order, so the lowest wins."""
    labels = labels.astype(np.int16)
    best = np.zeros(labels.shape[1], np.uint8)
    best_weight = np.zeros(labels.shape[1])
    columns = np.arange(labels.shape[1])
    while columns.size:
        lowest = labels.min(axis=0)
        mine = labels == lowest
        weight = (weights * mine).sum(axis=0)
        wins = weight > best_weight[columns]
        best[columns[wins]], best_weight[columns[wins]] = lowest[wins], weight[wins]
        labels[mine] = np.iinfo(np.int16).max
        left = labels.min(axis=0) < np.iinfo(np.int16).max
        columns, labels, weights = columns[left], labels[:, left], weights[:, left]
    return best
