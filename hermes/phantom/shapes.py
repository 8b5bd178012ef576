"""Implicit shapes: functions of body coordinates in mm, negative inside, about a distance outside.

Body coordinates are LPS: x to the patient's left, y to the back, z to the head, the origin midway
between the hip joints. A shape is asked on `Points`, a box of sample positions; it is asked only
inside its own bounding box, which is why every shape knows its bounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator

from hermes.axes import Box, triple

Bounds = tuple[np.ndarray, np.ndarray]
Number = int | float | np.integer | np.floating
Vector = Sequence[Number] | np.ndarray
"""Three coordinates or sizes in mm."""

NEAR_MM = 18.0
"""Further than this from a tube its distance is not told apart."""

EVERYWHERE: Bounds = (np.full(3, -1e4), np.full(3, 1e4))


@dataclass
class Points:
    """Sample positions in body coordinates: x, y, z each an array of one 3D shape (float32)."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    root: "Points | None" = None
    region: Box | None = None
    cache: dict[int, tuple[Box, np.ndarray]] = field(default_factory=dict)

    @cached_property
    def span(self) -> Bounds:
        """Lowest and highest coordinates that occur."""
        axes = (self.x, self.y, self.z)
        return np.array([a.min() for a in axes]), np.array([a.max() for a in axes])

    @cached_property
    def profiles(self) -> list[Bounds]:
        """For each array axis, lowest and highest x, y, z in each of its layers: (3, n) each."""
        axes, layers = np.stack([self.x, self.y, self.z]), []
        for axis in range(3):
            others = tuple(a + 1 for a in range(3) if a != axis)
            layers.append((axes.min(axis=others), axes.max(axis=others)))
        return layers

    def near(self, low: np.ndarray, high: np.ndarray) -> Box | None:
        """The sub-box of layers that may meet a box of body coordinates; None when none do."""
        region = []
        for least, most in self.profiles:
            meets = (most >= low[:, None]) & (least <= high[:, None])
            layers = np.flatnonzero(meets.all(axis=0))
            if not len(layers):
                return None
            region.append(slice(int(layers[0]), int(layers[-1]) + 1))
        return triple(region)

    def crop(self, region: Box) -> "Points":
        """The positions of a sub-box of the root's grid, as views."""
        return Points(self.x[region], self.y[region], self.z[region], self.root or self, region)


@runtime_checkable
class Shape(Protocol):
    bounds: Bounds

    def __call__(self, points: Points) -> np.ndarray: ...


def box(centre: Vector, reach: Vector) -> Bounds:
    """Bounds of a box by its centre and half sizes in mm."""
    centre, reach = np.asarray(centre, float), np.asarray(reach, float)
    return centre - reach, centre + reach


def rotation(degrees: Vector) -> np.ndarray:
    """Rotation matrix from angles about x, y and z, applied in that order."""
    angles = np.radians(np.asarray(degrees, float))
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


@dataclass(eq=False)
class Ellipsoid:
    """Superquadric |x/a|^n + |y/b|^n + |z/c|^n = 1, rotated; n = 2 is the ellipsoid.

    `turn` is either angles about x, y, z in degrees or a matrix whose columns are the own axes.
    """

    centre: Vector
    radii: Vector
    turn: Vector = (0, 0, 0)
    power: Number = 2

    def __post_init__(self) -> None:
        turn = np.asarray(self.turn)
        axes = rotation(turn) if turn.ndim == 1 else turn
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

    knots: Sequence[tuple[Number, Number, Number, Number]]
    segments: int = 10
    flatten: Number = 1  # scale of the section along y: below 1 flattens front to back

    def __post_init__(self) -> None:
        path = _path(tuple(map(tuple, self.knots)), self.segments)
        reach = path[:, 3:] * np.array([1, self.flatten, 1])
        self.bounds = (path[:, :3] - reach).min(axis=0), (path[:, :3] + reach).max(axis=0)
        self.path = path.astype(np.float32)

    def __call__(self, points: Points) -> np.ndarray:
        squeeze = np.float32(1 / self.flatten)
        path = self.path * np.array([1, squeeze, 1, 1], np.float32)
        distance = np.full(points.x.shape, np.float32(NEAR_MM))
        for start, end in pairwise(path):
            reach = max(start[3], end[3]) + np.float32(NEAR_MM)
            low = (np.minimum(start, end)[:3] - reach) * (1, self.flatten, 1)
            high = (np.maximum(start, end)[:3] + reach) * (1, self.flatten, 1)
            region = points.near(low, high)
            if region is None:
                continue
            x, y, z = points.x[region], points.y[region], points.z[region]
            cone = _cone(x, y if self.flatten == 1 else y * squeeze, z, start, end)
            np.minimum(distance[region], cone, out=distance[region])
        return distance


@lru_cache(maxsize=1024)
def _path(knots: tuple[tuple[Number, ...], ...], segments: int) -> np.ndarray:
    """Points (x, y, z, radius) at equal steps along the spline through the knots."""
    table = np.asarray(knots, float)
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(table[:, :3], axis=0), axis=1))]
    spline = CubicSpline(length, table) if len(table) > 2 else PchipInterpolator(length, table)
    return spline(np.linspace(0, length[-1], segments + 1))


def _cone(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, start: np.ndarray, end: np.ndarray
) -> np.ndarray:
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

    rows: Sequence[tuple[Number, Number, Number, Number, Number]]
    power: Number = 2

    def __post_init__(self) -> None:
        self.low, self.high = self.rows[0][0], self.rows[-1][0]
        self.table = _sections(tuple(map(tuple, self.rows)))
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


@lru_cache(maxsize=256)
def _sections(rows: tuple[tuple[Number, ...], ...]) -> np.ndarray:
    """Centre x, centre y, radius x, radius y (4, n) at every mm of height."""
    table = np.asarray(rows, float)
    heights = np.arange(table[0, 0], table[-1, 0] + 1)
    return PchipInterpolator(table[:, 0], table[:, 1:])(heights).T.astype(np.float32)


@dataclass(eq=False)
class HalfSpace:
    """The side of a plane through `point` away from which `normal` points."""

    point: Vector
    normal: Vector

    bounds = EVERYWHERE

    def __call__(self, points: Points) -> np.ndarray:
        normal = np.asarray(self.normal, float)
        normal = normal / np.linalg.norm(normal)
        a, b, c = (np.float32(n) for n in normal)
        return points.x * a + points.y * b + points.z * c - np.float32(normal @ self.point)
