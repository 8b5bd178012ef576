"""Sliding-window inference: every window once, averaged in a slab that closes as windows pass.

The published scheme: windows of the training crop's size, half a window apart, the last one flush
with the end of the axis; the sigmoids of all windows over a voxel are averaged with equal weight
and thresholded per class. Here the sums of the whole volume are never held. Windows come in order
of z, so a plane that no later window reaches is closed: thresholded, labelled and forgotten.
Axis order is z, y, x throughout.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from hermes.axes import triple

Corner = tuple[int, int, int]
# voxels worked on at once: few enough to stay in cache, enough to be worth sharing out to threads
BLOCK_VOXELS = 1 << 20


@runtime_checkable
class Sliceable(Protocol):
    """A tensor, an array or a chunked store: a shape, and slices that load what they name."""

    @property
    def shape(self) -> Sequence[int]: ...

    def __getitem__(self, key: Any) -> Any: ...


class WindowPrediction(NamedTuple):
    """What a model says of one volume, on the grid of the image it was given."""

    masks: UInt8[np.ndarray, "k z y x"]  # 1 where the class's averaged probability is over
    label: UInt8[np.ndarray, "z y x"]  # 1..K, the likeliest class over the threshold; else 0


def window_starts(size: int, window: int, stride: int) -> list[int]:
    """First indices of the windows along one axis, ascending, none twice.

    The last window ends with the axis. An axis no longer than the window has one, at 0.
    Raises ValueError when windows would leave gaps (stride > window) or a number is not positive.

    >>> window_starts(200, 64, 32)
    [0, 32, 64, 96, 128, 136]
    """
    if size < 1 or not 1 <= stride <= window:
        raise ValueError(
            f"windows of {window} voxels, {stride} apart, cannot cover {size}: "
            "sizes must be positive and the stride at most the window"
        )
    last = max(0, size - window)
    return [*range(0, last, stride), last]


@torch.inference_mode()
def sliding_window(
    image: Sliceable,
    window: Sequence[int],
    stride: int | Sequence[int],
    predict: Callable[[Tensor], Tensor],
    batch_size: int,
    classes: int,
    threshold: float = 0.5,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> WindowPrediction:
    """Predict a whole volume window by window.

    image: [z y x] or [1 z y x], any number type; a chunked store is read one slab at a time.
    window, stride: voxels in z, y, x (one number for the stride means all three).
    predict: float32 crops [b 1 dz dy dx] on `device` -> logits [b classes dz dy dx], any float
        type; sums are float32. A batch may hold windows of several rows; the last may be smaller.
    threshold: a class is present where its averaged probability is strictly over it.
    device: where crops are handed over and sums are held; the result is in main memory.
    progress: called after each batch with the windows done and their total.

    Raises ValueError for an image that is not one volume, logits of another shape, NaN logits,
    more than 255 classes, or windows that leave gaps.
    """
    size = _volume_size(image)
    if not 1 <= classes <= 255 or batch_size < 1:
        raise ValueError(f"need 1..255 classes and a batch of 1 or more: {classes}, {batch_size}")
    strides = (stride,) * 3 if isinstance(stride, int) else stride
    starts = [window_starts(*axis) for axis in zip(size, window, strides, strict=True)]
    slab = OpenSlab(size, window, starts, classes, threshold, device)
    crops = _crops(image, size, window, starts, device)
    done, total = 0, math.prod(len(axis) for axis in starts)
    while batch := list(islice(crops, batch_size)):
        logits = predict(torch.stack([crop for _, crop in batch]))
        if logits.shape != (len(batch), classes, *window):
            raise ValueError(
                f"predict returned logits of shape {tuple(logits.shape)}, "
                f"expected {(len(batch), classes, *window)}"
            )
        for (corner, _), one in zip(batch, logits, strict=True):
            slab.add(corner, one)
        done += len(batch)
        if progress is not None:
            progress(done, total)
    return slab.finish()


class OpenSlab:
    """Sums of probabilities over the planes that coming windows can still touch.

    `sums` [k, min(window z, size z), y, x] float32 is a ring in z: plane z lies at z modulo its
    height. Windows must be added in order of z.
    """

    def __init__(
        self,
        size: Corner,
        window: Sequence[int],
        starts: list[list[int]],
        classes: int,
        threshold: float,
        device: str | torch.device,
    ) -> None:
        self.extent = tuple(min(pair) for pair in zip(size, window, strict=True))
        self.sums = torch.zeros(classes, self.extent[0], *size[1:], device=device)
        together = min(classes, max(1, BLOCK_VOXELS // math.prod(self.extent)))
        self.scratch = torch.empty(together, *self.extent, device=device)
        # fresh zeroed pages cost no memory until written, and absent classes are never written
        self.masks = torch.zeros(classes, *size, dtype=torch.uint8)
        self.label = torch.zeros(size, dtype=torch.uint8)
        z, y, x = map(_coverage, size, self.extent, starts)
        # the sum that a voxel must pass is threshold * its windows, so nothing is ever divided
        self.limit = (threshold * y[:, None] * x).to(device)  # [y x], times the windows over z
        self.windows_over = z.to(device)
        self.first_open = 0

    def add(self, corner: Corner, logits: Tensor) -> None:
        """Add one window's sigmoids, from logits [k dz dy dx]; close the planes before it."""
        z, y, x = corner
        self._close(z)
        dz, dy, dx = self.extent
        area = (slice(y, y + dy), slice(x, x + dx))
        low = z % dz  # the window fills the ring from here to its end, then from its beginning
        together = len(self.scratch)
        parts = zip(
            self.sums.split(together), logits[:, :dz, :dy, :dx].split(together), strict=True
        )
        for sums, part in parts:
            probability = self.scratch[: len(part)].copy_(part).sigmoid_()
            sums[:, low:, *area] += probability[:, : dz - low]
            if low:
                sums[:, :low, *area] += probability[:, dz - low :]

    def finish(self) -> WindowPrediction:
        """Close what is still open and hand out the result."""
        self._close(len(self.windows_over))
        return WindowPrediction(self.masks.numpy(), self.label.numpy())

    def _close(self, end: int) -> None:
        """Finish planes first_open..end, in blocks that neither wrap in the ring nor grow large."""
        depth, height, width = self.sums.shape[1:]
        most = max(1, BLOCK_VOXELS // (height * width))
        while self.first_open < end:
            first, low = self.first_open, self.first_open % depth
            planes = min(end - first, depth - low, most)
            self._threshold(slice(first, first + planes), self.sums[:, low : low + planes])
            self.first_open += planes

    def _threshold(self, planes: slice, sums: Tensor) -> None:
        """Write masks and label of some planes from their sums [k z y x], then zero the sums."""
        limit = self.windows_over[planes, None, None] * self.limit
        lowest = float(limit.min())
        peaks = sums.amax((1, 2, 3)).tolist()
        if any(map(math.isnan, peaks)):
            raise ValueError(f"predict returned NaN logits near plane z = {planes.start}")
        best, label = limit.clone(), torch.zeros_like(limit, dtype=torch.uint8)
        for k, peak in enumerate(peaks):
            if peak <= lowest:
                continue  # most classes are absent from most planes
            self.masks[k, planes] = sums[k] > limit
            ahead = (sums[k] > best).view(torch.uint8)
            torch.maximum(label, ahead.mul_(k + 1), out=label)  # later values are the larger
            torch.maximum(best, sums[k], out=best)
        self.label[planes] = label
        sums.zero_()


def _volume_size(image: Sliceable) -> Corner:
    shape = tuple(image.shape)
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[0] != 1):
        raise ValueError(f"expected an image [z y x] or [1 z y x], got shape {shape}")
    return triple(shape[-3:])


def _coverage(size: int, extent: int, starts: list[int]) -> Tensor:
    """How many windows lie over each index of one axis, float32."""
    counts = torch.zeros(size)
    for start in starts:
        counts[start : start + extent] += 1
    return counts


def _crops(
    image: Sliceable,
    size: Corner,
    window: Sequence[int],
    starts: list[list[int]],
    device: str | torch.device,
) -> Iterator[tuple[Corner, Tensor]]:
    """Each window's first voxel and its crop [1 dz dy dx], in order of z, y, x."""
    _, height, width = window
    for z in starts[0]:
        slab = _read_slab(image, z, min(z + window[0], size[0]), window).to(device)
        for y, x in product(*starts[1:]):
            yield (z, y, x), slab[None, :, y : y + height, x : x + width]


def _read_slab(image: Sliceable, first: int, end: int, window: Sequence[int]) -> Tensor:
    """Planes first..end as float32 [z y x], zero padded at the end of every axis to the window.

    ASSUME: padding goes after the volume, with 0, the mean of a z-scored image.
    """
    planes = image[(0,) * (len(image.shape) - 3) + (slice(first, end),)]
    if not isinstance(planes, Tensor):
        planes = torch.from_numpy(np.array(planes, dtype=np.float32, order="C"))
    missing = [max(0, w - s) for w, s in zip(window, planes.shape, strict=True)]
    pad = [amount for axis in reversed(missing) for amount in (0, axis)]
    return F.pad(planes.float(), pad)
