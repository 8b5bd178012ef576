"""Implicit shapes: functions of body coordinates in mm, negative inside, about a distance outside.

Body coordinates are LPS: x to the patient's left, y to the back, z to the head, the origin midway
between the hip joints. A shape is asked on `Points`, a box of sample positions; it is asked only
inside its own bounding box, which is why every shape knows its bounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from itertools import pairwise
from typing import Protocol

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator

Bounds = tuple[np.ndarray, np.ndarray]
EVERYWHERE: Bounds = (np.full(3, -1e4), np.full(3, 1e4))


@dataclass
class Points:
    """Sample positions in body coordinates: x, y, z each an array of one 3D shape (float32)."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    root: "Points | None" = None
    region: tuple[slice, slice, slice] | None = None
    cache: dict[int, tuple] = field(default_factory=dict)

    @cached_property
    def span(self) -> Bounds:
        """Lowest and highest coordinates that occur."""
        axes = (self.x, self.y, self.z)
        return np.array([a.min() for a in axes]), np.array([a.max() for a in axes])

    def crop(self, region: tuple[slice, slice, slice]) -> "Points":
        """The positions of a sub-box of the root's grid, as views."""
        return Points(self.x[region], self.y[region], self.z[region], self.root or self, region)


class Shape(Protocol):
    bounds: Bounds

    def __call__(self, points: Points) -> np.ndarray: ...


def box(centre: Sequence[float], reach: Sequence[float] | float) -> Bounds:
    """Bounds of a box by its centre and half sizes in mm."""
    centre, reach = np.asarray(centre, float), np.asarray(reach, float)
    return centre - reach, centre + reach


def rotation(degrees: Sequence[float]) -> np.ndarray:
    """Rotation matrix from angles about x, y and z, applied in that order."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


@dataclass(eq=False)
class Ellipsoid:
    """Superquadric |x/a|^n + |y/b|^n + |z/c|^n = 1, rotated; n = 2 is the ellipsoid.

    `turn` is either angles about x, y, z in degrees or a matrix whose columns are the own axes.
    """

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    turn: tuple[float, float, float] = (0, 0, 0)
    power: float = 2.0

    def __post_init__(self):
        axes = rotation(self.turn) if np.ndim(self.turn) == 1 else np.asarray(self.turn)
        self.axes = axes.astype(np.float32)
        reach = np.abs(self.axes) @ np.asarray(self.radii, float)
        self.bounds = box(self.centre, reach if self.power <= 2 else reach * 1.1)

    def __call__(self, points: Points) -> np.ndarray:
        offset = [np.float32(c) for c in self.centre]
        moved = (points.x - offset[0], points.y - offset[1], points.z - offset[2])
        total, slope = 0, 0
        for axis, radius in zip(self.axes.T, self.radii, strict=True):
            along = moved[0] * axis[0] + moved[1] * axis[1] + moved[2] * axis[2]
            along = np.abs(along) * np.float32(1 / radius)
            steep = along if self.power == 2 else along ** np.float32(self.power - 1)
            total = total + steep * along
            slope = slope + (steep * np.float32(1 / radius)) ** 2
        norm = np.maximum(total, np.float32(1e-6)) ** np.float32(1 / self.power)
        gradient = np.sqrt(slope) * norm ** np.float32(1 - self.power)
        return (norm - 1) / np.maximum(gradient, np.float32(1e-4))


@dataclass(eq=False)
class Tube:
    """A tube along a spline through knots (x, y, z, radius), cut into round-ended cones."""

    knots: Sequence[tuple[float, float, float, float]]
    segments: int = 10
    flatten: float = 1.0  # scale of the section along y: below 1 flattens front to back

    def __post_init__(self):
        knots = np.asarray(self.knots, float)
        length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(knots[:, :3], axis=0), axis=1))]
        spline = CubicSpline(length, knots) if len(knots) > 2 else PchipInterpolator(length, knots)
        path = spline(np.linspace(0, length[-1], self.segments + 1))
        reach = path[:, 3:] * np.array([1, self.flatten, 1])
        self.bounds = (path[:, :3] - reach).min(axis=0), (path[:, :3] + reach).max(axis=0)
        self.path = path.astype(np.float32)

    def __call__(self, points: Points) -> np.ndarray:
        squeeze = np.float32(1 / self.flatten)
        y = points.y if self.flatten == 1 else points.y * squeeze
        path = self.path * np.array([1, squeeze, 1, 1], np.float32)
        cones = (_cone(points.x, y, points.z, a, b) for a, b in pairwise(path))
        return reduce(np.minimum, cones)


def _cone(x, y, z, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    step = end - start
    square = max(float(step[:3] @ step[:3]), 1e-6)
    dx, dy, dz = x - start[0], y - start[1], z - start[2]
    along = (dx * step[0] + dy * step[1] + dz * step[2]) * np.float32(1 / square)
    along = np.clip(along, 0, 1)
    dx, dy, dz = dx - along * step[0], dy - along * step[1], dz - along * step[2]
    return np.sqrt(dx * dx + dy * dy + dz * dz) - (start[3] + along * step[3])


@dataclass(eq=False)
class Stack:
    """A body swept along z: rows (z, centre x, centre y, radius x, radius y), superellipse section.

    Between the rows the section follows a monotone cubic; the ends are cut flat.
    """

    rows: Sequence[tuple[float, float, float, float, float]]
    power: float = 2.0

    def __post_init__(self):
        rows = np.asarray(self.rows, float)
        self.low, self.high = rows[0, 0], rows[-1, 0]
        heights = np.arange(self.low, self.high + 1)
        self.table = PchipInterpolator(rows[:, 0], rows[:, 1:])(heights).T.astype(np.float32)
        reach = self.table[2:] * (1 if self.power <= 2 else 1.05)
        near, far = (self.table[:2] - reach).min(axis=1), (self.table[:2] + reach).max(axis=1)
        self.bounds = np.r_[near, self.low], np.r_[far, self.high]

    def __call__(self, points: Points) -> np.ndarray:
        row = np.clip(points.z - np.float32(self.low), 0, self.table.shape[1] - 1).astype(np.int32)
        centre_x, centre_y, radius_x, radius_y = (column[row] for column in self.table)
        across = np.abs(points.x - centre_x) / radius_x
        deep = np.abs(points.y - centre_y) / radius_y
        steep_x, steep_y = across, deep
        if self.power != 2:
            power = np.float32(self.power - 1)
            steep_x, steep_y = across**power, deep**power
        total = np.maximum(steep_x * across + steep_y * deep, np.float32(1e-6))
        norm = total ** np.float32(1 / self.power)
        slope = np.sqrt((steep_x / radius_x) ** 2 + (steep_y / radius_y) ** 2)
        side = (norm - 1) / np.maximum(slope * norm ** np.float32(1 - self.power), np.float32(1e-4))
        ends = np.maximum(np.float32(self.low) - points.z, points.z - np.float32(self.high))
        return np.maximum(side, ends)


@dataclass(eq=False)
class HalfSpace:
    """The side of a plane through `point` away from which `normal` points."""

    point: tuple[float, float, float]
    normal: tuple[float, float, float]

    bounds = EVERYWHERE

    def __call__(self, points: Points) -> np.ndarray:
        normal = np.asarray(self.normal, float) / np.linalg.norm(self.normal)
        a, b, c = (np.float32(n) for n in normal)
        return points.x * a + points.y * b + points.z * c - np.float32(normal @ self.point)
