"""What a resampled label map holds: voxels by class, and some of them to sample crops around."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from hermes.preprocess.body import Box

POINTS_PER_CLASS = 64
"""Voxels per class remembered for foreground sampling. ASSUME: enough to spread over an organ."""

PLANES_AT_ONCE = 16
"""Planes looked at together."""


@dataclass(frozen=True)
class Foreground:
    """Of one case.

    Attributes:
        counts: voxels of class 1..K in the whole grid; empty without a label.
        outside: those that lie outside the stored box.
        points: class value as text -> some voxels (z, y, x), counted from the box's corner.
    """

    counts: list[int]
    outside: list[int]
    points: dict[str, list[list[int]]]


def foreground_of(
    label: UInt8[np.ndarray, "z y x"] | None, box: Box, classes: int, seed: list[int]
) -> Foreground:
    """Count the classes 1..K and choose seeded voxels of each that is present in the box."""
    if label is None:
        return Foreground([], [], {})
    stored = label[box]
    counts, inside = _counts(label, classes), _counts(stored, classes)
    generator = np.random.default_rng(seed)
    chosen = {
        value: np.sort(generator.choice(count, min(POINTS_PER_CLASS, count), replace=False))
        for value, count in enumerate(inside.tolist(), start=1)
        if count
    }
    return Foreground(counts.tolist(), (counts - inside).tolist(), _points(stored, chosen))


def _counts(label: np.ndarray, classes: int) -> np.ndarray:
    counts = np.zeros(256, np.int64)
    for first in range(0, len(label), PLANES_AT_ONCE):
        counts += np.bincount(label[first : first + PLANES_AT_ONCE].ravel(), minlength=256)
    return counts[1 : classes + 1]


def _points(label: np.ndarray, chosen: dict[int, np.ndarray]) -> dict[str, list[list[int]]]:
    """Class value as text -> the voxels of these ordinals among the class's own, in C order."""
    points: dict[str, list[list[int]]] = {str(value): [] for value in chosen}
    seen = dict.fromkeys(chosen, 0)
    for first in range(0, len(label), PLANES_AT_ONCE):
        planes = label[first : first + PLANES_AT_ONCE]
        for value, ordinals in chosen.items():
            places = np.flatnonzero(planes == value)
            here = ordinals[(ordinals >= seen[value]) & (ordinals < seen[value] + len(places))]
            z, y, x = np.unravel_index(places[here - seen[value]], planes.shape)
            points[str(value)] += np.stack([first + z, y, x], axis=1).tolist()
            seen[value] += len(places)
    return points
