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


FAR_MM = 60.0
"""Parts of a union that are further than this from all points are left out."""


def _apart(one: Bounds, other: Bounds) -> float:
    """Largest gap along an axis between two boxes, mm; negative when they overlap."""
    return float(max((one[0] - other[1]).max(), (other[0] - one[1]).max()))


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


@dataclass(eq=False)
class Union:
    """Everything in any of the parts; `blend` mm rounds the seams (polynomial smooth minimum)."""

    parts: Sequence[Shape]
    blend: float = 0.0

    def __post_init__(self):
        self.bounds = (
            np.min([part.bounds[0] for part in self.parts], axis=0),
            np.max([part.bounds[1] for part in self.parts], axis=0),
        )

    def __call__(self, points: Points) -> np.ndarray:
        near = [part for part in self.parts if _apart(part.bounds, points.span) < FAR_MM]
        if not near:
            return np.full(points.x.shape, np.float32(FAR_MM))
        return reduce(self._join, (part(points) for part in near))

    def _join(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if not self.blend:
            return np.minimum(a, b)
        near = np.maximum(np.float32(self.blend) - np.abs(a - b), 0)
        return np.minimum(a, b) - near * near * np.float32(0.25 / self.blend)


@dataclass(eq=False)
class Common:
    """What all parts share; `blend` mm rounds the edges (polynomial smooth maximum)."""

    parts: Sequence[Shape]
    blend: float = 0.0

    def __post_init__(self):
        self.bounds = (
            np.max([part.bounds[0] for part in self.parts], axis=0),
            np.min([part.bounds[1] for part in self.parts], axis=0),
        )

    def __call__(self, points: Points) -> np.ndarray:
        return reduce(self._meet, (part(points) for part in self.parts))

    def _meet(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if not self.blend:
            return np.maximum(a, b)
        near = np.maximum(np.float32(self.blend) - np.abs(a - b), 0)
        return np.maximum(a, b) + near * near * np.float32(0.25 / self.blend)


@dataclass(eq=False)
class Without:
    """The first shape less the others, from which it stays `gap` mm away."""

    shape: Shape
    others: Sequence[Shape]
    gap: float = 0.0

    def __post_init__(self):
        self.bounds = self.shape.bounds

    def __call__(self, points: Points) -> np.ndarray:
        cuts = (np.float32(self.gap) - other(points) for other in self.others)
        return reduce(np.maximum, cuts, self.shape(points))


@dataclass(eq=False)
class Grown:
    """The shape grown (or, with a negative number, shrunk) by some mm."""

    shape: Shape
    by: float

    def __post_init__(self):
        low, high = self.shape.bounds
        self.bounds = low - max(self.by, 0), high + max(self.by, 0)

    def __call__(self, points: Points) -> np.ndarray:
        return self.shape(points) - np.float32(self.by)


@dataclass(eq=False)
class Shell:
    """The layer between `inner` mm inside and `outer` mm outside a shape's surface."""

    shape: Shape
    inner: float
    outer: float = 0.0

    def __post_init__(self):
        self.bounds = Grown(self.shape, self.outer).bounds

    def __call__(self, points: Points) -> np.ndarray:
        distance = self.shape(points)
        return np.maximum(distance - np.float32(self.outer), -distance - np.float32(self.inner))


@dataclass(eq=False)
class Wavy:
    """A shape with a surface thrown into folds: `depth` mm, `period` mm, a phase of its own."""

    shape: Shape
    depth: float
    period: float
    phase: float = 0.0

    def __post_init__(self):
        self.bounds = Grown(self.shape, self.depth).bounds

    def __call__(self, points: Points) -> np.ndarray:
        return self.shape(points) - np.float32(self.depth) * folds(points, self.period, self.phase)


def folds(points: Points, period: float, phase: float = 0.0) -> np.ndarray:
    """A gyroid between about -1 and 1, bent so that it does not look regular.

    Winding sheets that come again after about `period` mm.
    """
    wave = np.float32(2 * np.pi / period)
    a, b, c = (
        axis * wave + np.float32(phase * k)
        for k, axis in enumerate((points.x, points.y, points.z), start=1)
    )
    bend, slow = np.float32(1.3), np.float32(0.37)
    x = a + bend * np.sin(slow * (b + c))
    y = b + bend * np.sin(slow * (c - a) + 1)
    z = c + bend * np.sin(slow * (a - b) + 2)
    sheets = np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x)
    return sheets * np.float32(0.67)


@dataclass(eq=False)
class Loops:
    """Winding tubes that fill a shape, like loops of bowel; `fill` from -1 (none) to 1 (all)."""

    shape: Shape
    period: float
    fill: float = 0.2
    phase: float = 0.0

    def __post_init__(self):
        self.bounds = self.shape.bounds

    def __call__(self, points: Points) -> np.ndarray:
        pattern = (np.abs(folds(points, self.period, self.phase)) - np.float32(self.fill)) * (
            np.float32(self.period / 6)
        )
        return np.maximum(pattern, self.shape(points))


@dataclass(eq=False)
class Bands:
    """Bands that repeat along a direction, like ribs: `width` of every `period` mm."""

    normal: tuple[float, float, float]
    period: float
    width: float
    offset: float = 0.0

    bounds = EVERYWHERE

    def __call__(self, points: Points) -> np.ndarray:
        a, b, c = (np.float32(n) for n in self.normal)
        level = points.x * a + points.y * b + points.z * c - np.float32(self.offset)
        level = np.mod(level, np.float32(self.period)) - np.float32(self.period / 2)
        return np.abs(level) - np.float32(self.width / 2)


@dataclass(eq=False)
class Paired:
    """A shape and its mirror image in the plane between left and right."""

    shape: Shape

    def __post_init__(self):
        low, high = (bound.copy() for bound in self.shape.bounds)
        reach = max(abs(low[0]), abs(high[0]))
        low[0], high[0] = -reach, reach
        self.bounds = low, high

    def __call__(self, points: Points) -> np.ndarray:
        return self.shape(Points(np.abs(points.x), points.y, points.z))


@dataclass(eq=False)
class Moved:
    """A shape scaled about a centre and shifted, in mm."""

    shape: Shape
    centre: np.ndarray
    scale: float = 1.0
    shift: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def __post_init__(self):
        low, high = self.shape.bounds
        self.bounds = tuple(
            (b - self.centre) * self.scale + self.centre + self.shift for b in (low, high)
        )

    def __call__(self, points: Points) -> np.ndarray:
        scale = np.float32(1 / self.scale)
        move = (
            np.asarray(self.centre) - (np.asarray(self.centre) + self.shift) / self.scale
        ).astype(np.float32)
        back = Points(
            points.x * scale + move[0], points.y * scale + move[1], points.z * scale + move[2]
        )
        return self.shape(back) * np.float32(self.scale)


@dataclass(eq=False)
class Shared:
    """A shape that others build on: its values are kept and evaluated once per image and box."""

    shape: Shape

    def __post_init__(self):
        self.bounds = self.shape.bounds

    def __call__(self, points: Points) -> np.ndarray:
        if points.root is None or points.region is None:
            return self.shape(points)
        kept = points.root.cache.get(id(self))
        if kept is None or not _within(points.region, kept[0]):
            kept = points.region, self.shape(points)
            points.root.cache[id(self)] = kept
        region, values = kept
        return values[
            tuple(
                slice(a.start - b.start, a.stop - b.start)
                for a, b in zip(points.region, region, strict=True)
            )
        ]


def _within(inner: tuple[slice, ...], outer: tuple[slice, ...]) -> bool:
    return all(b.start <= a.start and a.stop <= b.stop for a, b in zip(inner, outer, strict=True))
