"""Intensities: a window and the z-score of the whole image, found a few planes at a time.

Percentiles are exact and equal numpy's, without a sorted copy of the image: values are counted by
the upper half of their bits, then those of the few bins that matter by the lower half.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float32, Shaped

from hermes.config.schema import Intensity
from hermes.files.store import Planes

PIECE_VOXELS = 1 << 24
"""Voxels looked at together; smaller images are one piece."""

KEYS_AT_ONCE = 1 << 20
"""Voxels counted together, so that what is made of them stays in cache."""


@dataclass(frozen=True)
class Window:
    """Bounds, and mean and standard deviation of the clipped image, in the image's own unit."""

    low: float
    high: float
    mean: float
    std: float

    def apply(self, image: Float32[np.ndarray, "z y x"]) -> Float32[np.ndarray, "z y x"]:
        """Clip, then z-score; all 0 where the clipped image is constant."""
        clipped = np.clip(image, self.low, self.high)
        return ((clipped - self.mean) / (self.std or 1.0)).astype(np.float32, copy=False)

    def values(self) -> dict[str, float]:
        """As plain numbers."""
        return {name: float(value) for name, value in asdict(self).items()}


def window_of(image: Planes, intensity: Intensity) -> Window:
    """Window and moments of a float32 image [z, y, x], whose planes are asked for as needed.

    Percentiles lie between float32 values and stay numpy's float64, so that numpy clips with them
    in double precision; a fixed window clips in single.
    """
    low, high = intensity.clip or percentiles(image, intensity.percentiles or ())
    count, mean, variance = 0, 0.0, 0.0
    for piece in _pieces(image):
        clipped = np.clip(piece, low, high)
        more, centre = clipped.size, float(clipped.mean(dtype=np.float64))
        spread = float(clipped.var(dtype=np.float64))
        if count == 0:
            count, mean, variance = more, centre, spread
            continue
        share, apart = more / (count + more), centre - mean  # Chan et al. 1979
        variance += share * (spread - variance) + share * (1 - share) * apart**2
        mean, count = mean + share * apart, count + more
    return Window(low, high, mean, float(np.sqrt(variance)))


def normalise(
    image: Shaped[np.ndarray, "z y x"], intensity: Intensity
) -> tuple[Float32[np.ndarray, "z y x"], dict[str, float]]:
    """Clip to the window, then z-score over all voxels.

    Args:
        image: [z, y, x].
        intensity: fixed window or percentiles of this image.

    Returns:
        The image with mean 0 and standard deviation 1 (all 0 for a constant image), and the window
        and moments.
    """
    image = image.astype(np.float32, copy=False)
    window = window_of(image, intensity)
    return window.apply(image), window.values()


def percentiles(image: Planes, wanted: Sequence[float | int]) -> list[np.float64]:
    """Percentiles of a float32 image without NaN, interpolated linearly as numpy does it."""
    counts = np.zeros(1 << 16, np.int64)
    for _, upper in _keys(image):
        counts += np.bincount(upper, minlength=1 << 16)
    total = int(counts.sum())
    places = [(total - 1) * (np.float64(share) / 100) for share in wanted]
    ranks = {int(np.floor(p)) + step for p in places for step in (0, 1)}
    values = _ranked(image, counts, sorted({min(rank, total - 1) for rank in ranks}))
    result = []
    for place in places:
        below = int(np.floor(place))
        low, high = values[below], values.get(below + 1, values[below])
        share, step = place - below, high - low
        result.append(high - step * (1 - share) if share >= 0.5 else low + step * share)
    return result


def _ranked(image: Planes, counts: np.ndarray, ranks: Sequence[int]) -> dict[int, np.float32]:
    """Rank -> the value of this rank, from 0, given the counts by the upper half of the bits."""
    ends = np.cumsum(counts)
    bins = {rank: int(np.searchsorted(ends, rank, side="right")) for rank in ranks}
    finer = {place: np.zeros(1 << 16, np.int64) for place in bins.values()}
    for keys, upper in _keys(image):
        for place, lower in finer.items():
            if len(mine := keys[upper == place]):
                lower += np.bincount(mine & 0xFFFF, minlength=1 << 16)
    result = {}
    for rank, place in bins.items():
        inside = rank - (ends[place] - counts[place])
        lower = int(np.searchsorted(np.cumsum(finer[place]), inside, side="right"))
        result[rank] = _value(place << 16 | lower)
    return result


def _keys(image: Planes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """uint32 per voxel, ordered as the float32 values are, and its upper half, some at a time."""
    for piece in _pieces(image):
        flat = np.ascontiguousarray(piece, np.float32).reshape(-1)
        for start in range(0, flat.size, KEYS_AT_ONCE):
            bits = flat[start : start + KEYS_AT_ONCE].view(np.uint32)
            flip = (bits.view(np.int32) >> 31).view(np.uint32)  # all ones where negative
            keys = bits ^ (flip | np.uint32(1 << 31))
            yield keys, (keys >> 16).astype(np.uint16)


def _value(key: int) -> np.float32:
    """The float32 value of a key."""
    bits = key ^ (1 << 31) if key >> 31 else key ^ 0xFFFFFFFF
    return np.uint32(bits).view(np.float32)


def _pieces(image: Planes) -> Iterator[np.ndarray]:
    """The image's planes, as many at a time as make a piece."""
    depth, *plane = image.shape
    together = max(1, PIECE_VOXELS // int(np.prod(plane)))
    for first in range(0, depth, together):
        yield image[first : min(first + together, depth)]
