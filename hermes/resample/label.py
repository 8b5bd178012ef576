"""Label maps by a linear vote, slab by slab, computed only where the neighbours differ."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from hermes.resample.grid import Spacing, centres, target_grid

SLAB_VOXELS = 1 << 22
"""Voxels of a label map that are voted on in one go, which bounds the memory beside the result."""

VOTES_AT_ONCE = 1 << 15
"""Voxels in one vote, so that its eight-fold temporaries stay in cache."""


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
    z_axis, *plane_axes = (
        _neighbours(*axis) for axis in zip(array.shape, size, steps, strict=True)
    )
    result = np.empty(tuple(size), np.uint8)
    together = max(1, SLAB_VOXELS // result[0].size)
    for first in range(0, len(result), together):
        low, high, weight = (part[first : first + together] for part in z_axis)
        source = array[low[0] : high[-1] + 1]
        axes = [_Neighbours(low - low[0], high - low[0], weight), *plane_axes]
        _vote_slab(source, axes, result[first : first + together])
    return result


class _Neighbours(NamedTuple):
    """Per target index of an axis: the source indices on either side, and the upper's weight."""

    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray


def _neighbours(size: int, target_size: int, step: float) -> _Neighbours:
    positions = np.clip(centres(size, target_size, step), 0, size - 1)
    low = np.minimum(positions.astype(np.intp), max(size - 2, 0))
    return _Neighbours(low, np.minimum(low + 1, size - 1), positions - low)


def _vote_slab(array: np.ndarray, axes: list[_Neighbours], result: np.ndarray) -> None:
    """Fill target planes `result` from the source planes `array` that they lie between."""
    mixed = np.concatenate(list(_fill_uniform(array, axes, result)))
    flat = result.reshape(-1)
    for start in range(0, len(mixed), VOTES_AT_ONCE):
        voxels = mixed[start : start + VOTES_AT_ONCE]
        flat[voxels] = _vote(*_corners(array, axes, np.unravel_index(voxels, result.shape)))


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
