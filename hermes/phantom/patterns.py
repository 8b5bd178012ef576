"""Shapes with a repeating structure: folded surfaces, winding tubes, bands."""

from dataclasses import dataclass

import numpy as np

from hermes.phantom.combine import Grown
from hermes.phantom.shapes import EVERYWHERE, Number, Points, Shape, Vector


@dataclass(eq=False)
class Wavy:
    """A shape with a surface thrown into folds: `depth` mm, `period` mm, a phase of its own."""

    shape: Shape
    depth: Number
    period: Number
    phase: Number = 0.0

    def __post_init__(self) -> None:
        self.bounds = Grown(self.shape, self.depth).bounds

    def __call__(self, points: Points) -> np.ndarray:
        return self.shape(points) - np.float32(self.depth) * folds(points, self.period, self.phase)


def folds(points: Points, period: Number, phase: Number = 0.0) -> np.ndarray:
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
    period: Number
    fill: Number = 0.2
    phase: Number = 0.0

    def __post_init__(self) -> None:
        self.bounds = self.shape.bounds

    def __call__(self, points: Points) -> np.ndarray:
        pattern = (np.abs(folds(points, self.period, self.phase)) - np.float32(self.fill)) * (
            np.float32(self.period / 6)
        )
        return np.maximum(pattern, self.shape(points))


@dataclass(eq=False)
class Bands:
    """Bands that repeat along a direction, like ribs: `width` of every `period` mm."""

    normal: Vector
    period: Number
    width: Number
    offset: Number = 0.0

    bounds = EVERYWHERE

    def __call__(self, points: Points) -> np.ndarray:
        a, b, c = (np.float32(n) for n in self.normal)
        level = points.x * a + points.y * b + points.z * c - np.float32(self.offset)
        level = np.mod(level, np.float32(self.period)) - np.float32(self.period / 2)
        return np.abs(level) - np.float32(self.width / 2)
