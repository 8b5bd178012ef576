"""The body's box, found in the image alone: no reference segmentation, no modality, no unit.

Air is the darkest thing that there is much of. The volume is averaged in blocks, Otsu's threshold
(1979) parts dark from bright, and a lower one, half way up from the air's own level, lets in what
is faint: fat and lungs in CT, legs in PET. Both work on square roots, which keep hot lesions and
bright coils from setting the scale. Thin plates (a CT table, blankets) are opened away, and every
part of some size is kept.
"""

import numpy as np
from jaxtyping import Shaped
from scipy import ndimage
from skimage.filters import threshold_otsu

from hermes.axes import Box, triple

BLOCKS = 160
"""Blocks per axis, at most: 3 mm in a scan of half a metre. The box is right to a block or two."""

SAMPLES = 1 << 20
"""Voxels, at most, that are looked at for padding."""

PADDING_SHARE = 0.02
PADDING_GAP = 0.2
PADDING_ALIKE = 0.99
"""ASSUME: a lowest value was filled in around a scanner's circle, and stands for air, where so much
of the volume shares it, it lies so much of the range of all values below the others, and it has the
same place in every plane to this degree. Else it is the air itself, as in images without skull."""

TAILS_PERCENT = (0.5, 99.0)
"""ASSUME: values beyond say nothing of where the body ends: streaks, metal, the hottest lesions."""

SEPARATION = 0.65
"""ASSUME: the share of the variance that Otsu's two classes must explain; it is 0.64 in one
bell-shaped mass and 0.73 to 0.97 in scans with air around the body."""

FAINT = 0.5
"""ASSUME: the body begins at this share of the way from air to Otsu's threshold."""

NOISE = 4.0
"""ASSUME: and at least so many standard deviations of the air above the air."""

LEAST_PART = 0.005
"""ASSUME: a part of the body has this share of the largest part's volume; the others are specks."""

LEAST_BODY = 0.005
"""ASSUME: less than this share of the volume is no body."""


def body_box(array: Shaped[np.ndarray, "z y x"], margin_voxels: int = 0) -> Box:
    """A box (z, y, x) around the body, with a margin.

    For CT, with -2000 or -3024 around its circle or without; PET; MR with noise and a bias field;
    images without the skull, whose background is 0; z-scores of any of them. It is the whole
    volume where there is no air, no contrast, or too little that is bright.

    The limit: where an MR coil's field falls below a fifth of its peak inside the body, the dark
    part looks like air. At a tenth the box may cut off half of the body, so images of surface
    coils that were not corrected for it are better left whole.
    """
    edges = [np.arange(0, length, -(-length // BLOCKS)) for length in array.shape]
    body = _body(_block_means(array, edges))
    if body is None:
        return triple(slice(0, length) for length in array.shape)
    box = []
    for axis, (starts, length) in enumerate(zip(edges, array.shape, strict=True)):
        hit = np.flatnonzero(body.any(axis=tuple({0, 1, 2} - {axis})))
        ends = [*starts[1:], length]
        # one block more: a block that the body fills in part may be darker than the threshold
        low, high = starts[max(0, hit[0] - 1)], ends[min(len(ends) - 1, hit[-1] + 1)]
        box.append(slice(int(max(0, low - margin_voxels)), int(min(length, high + margin_voxels))))
    return triple(box)


def _block_means(array: np.ndarray, edges: list[np.ndarray]) -> np.ndarray:
    """Mean of every block, float32 [z, y, x], a layer of blocks at a time; padding is made air."""
    below, air = _padding(array)
    layers = []
    for first, last in zip(edges[0], [*edges[0][1:], len(array)], strict=True):
        planes = array[first:last].astype(np.float32)
        planes[planes < below] = air
        lines = np.add.reduceat(planes.mean(axis=0), edges[1], axis=0)
        layers.append(np.add.reduceat(lines, edges[2], axis=1))
    y, x = (np.diff([*e, n]) for e, n in zip(edges[1:], array.shape[1:], strict=True))
    return np.stack(layers) / np.outer(y, x).astype(np.float32)


def _padding(array: np.ndarray) -> tuple[float, float]:
    """Values below the first were filled in around the field of view; the second is air's."""
    nothing = float("-inf"), 0.0
    step = max(1, round((array.size / SAMPLES) ** (1 / 3)))
    values = array[::step, ::step, ::step]
    filled = values == values.min()
    everywhere, somewhere = filled.all(axis=0).sum(), filled.any(axis=0).sum()
    if filled.mean() < PADDING_SHARE or everywhere < PADDING_ALIKE * somewhere or filled.all():
        return nothing
    others = values[~filled].astype(np.float32)
    fill = float(values.min())
    low, high = np.percentile(others, (1, TAILS_PERCENT[1])).tolist()
    if low - fill < PADDING_GAP * (high - fill) or _parted(others) is None:
        return nothing
    return (fill + low) / 2, low


def _body(means: np.ndarray) -> np.ndarray | None:
    """Mask of the blocks of the body; None where nothing of the kind is found."""
    low, high = np.percentile(means, TAILS_PERCENT)
    if not high > low:
        return None
    roots = np.sqrt(np.clip(means, low, high) - low)
    bright = _parted(roots)
    if bright is None:
        return None
    dark = roots[roots <= bright]
    air = np.median(dark)
    noise = 1.4826 * np.median(np.abs(dark - air))  # a normal distribution's deviation
    level = max(air + FAINT * (bright - air), min(air + NOISE * noise, bright))
    # opened; what lies beyond the volume counts as body, so that nothing is lost at its ends
    core = ndimage.binary_erosion(roots > level, border_value=1)
    parts, _ = ndimage.label(ndimage.binary_dilation(core))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept = (sizes > 0) & (sizes >= LEAST_PART * sizes.max())
    body = kept[parts]
    return body if body.mean() >= LEAST_BODY else None


def _parted(values: np.ndarray) -> float | None:
    """Otsu's threshold; None where its two classes explain too little of the variance."""
    if not values.max() > values.min():
        return None
    threshold = float(threshold_otsu(values))
    dark, bright = values[values <= threshold], values[values > threshold]
    between = dark.size * bright.size * (bright.mean() - dark.mean()) ** 2 / values.size**2
    return threshold if between >= SEPARATION * values.var() else None
