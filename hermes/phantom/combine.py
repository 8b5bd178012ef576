"""Shapes made of shapes: unions, common parts, layers, mirror images, moved copies."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from hermes.phantom.shapes import Bounds, Number, Points, Shape

FAR_MM = 60.0
"""Parts of a union that are further than this from all points are left out."""


def _apart(one: Bounds, other: Bounds) -> float:
    """Largest gap along an axis between two boxes, mm; negative when they overlap."""
    return float(max((one[0] - other[1]).max(), (other[0] - one[1]).max()))


@dataclass(eq=False)
class Union:
    """Everything in any of the parts; `blend` mm rounds the seams (polynomial smooth minimum)."""

    parts: Sequence[Shape]
    blend: Number = 0.0

    def __post_init__(self) -> None:
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
    blend: Number = 0.0

    def __post_init__(self) -> None:
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
    gap: Number = 0.0

    def __post_init__(self) -> None:
        self.bounds = self.shape.bounds

    def __call__(self, points: Points) -> np.ndarray:
        cuts = (np.float32(self.gap) - other(points) for other in self.others)
        return reduce(np.maximum, cuts, self.shape(points))


@dataclass(eq=False)
class Grown:
    """The shape grown (or, with a negative number, shrunk) by some mm."""

    shape: Shape
    by: Number

    def __post_init__(self) -> None:
        low, high = self.shape.bounds
        self.bounds = low - max(self.by, 0), high + max(self.by, 0)

    def __call__(self, points: Points) -> np.ndarray:
        return self.shape(points) - np.float32(self.by)


@dataclass(eq=False)
class Shell:
    """The layer between `inner` mm inside and `outer` mm outside a shape's surface."""

    shape: Shape
    inner: Number
    outer: Number = 0.0

    def __post_init__(self) -> None:
        self.bounds = Grown(self.shape, self.outer).bounds

    def __call__(self, points: Points) -> np.ndarray:
        distance = self.shape(points)
        return np.maximum(distance - np.float32(self.outer), -distance - np.float32(self.inner))


@dataclass(eq=False)
class Paired:
    """A shape and its mirror image in the plane between left and right."""

    shape: Shape

    def __post_init__(self) -> None:
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
    scale: Number = 1.0
    shift: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def __post_init__(self) -> None:
        low, high = self.shape.bounds
        low, high = ((b - self.centre) * self.scale + self.centre + self.shift for b in (low, high))
        self.bounds = low, high

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

    def __post_init__(self) -> None:
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
