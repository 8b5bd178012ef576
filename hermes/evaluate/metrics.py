"""Dice, normalised surface Dice, 95 % Hausdorff distance and false-positive volume.

Arrays are [z y x] on one grid and `spacing_mm` is (z, y, x). A mask is bool or uint8, non-zero
inside.

Surfaces are made of **voxels**: those of the mask that share a face with the outside, which goes on
beyond the array. Each counts once and stands at its centre, as in MONAI. The surface-distance
library instead weighs elements between the voxels by area: its numbers differ by parts of a voxel.

An absent structure: where the reference is empty every score here is NaN and drops out of means,
as in the paper; `false_positive_volume_ml` says what was predicted there. Where only the prediction
is empty, Dice and NSD are 0 and HD95 is the diagonal of the volume.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8
from scipy import ndimage
from scipy.spatial import cKDTree

Mask = Bool[np.ndarray, "_ _ _"] | UInt8[np.ndarray, "_ _ _"]
Spacing = Sequence[float]

CHUNK = 1 << 16  # voxels counted at once: they fit in a core's cache
MANY_POINTS = 50_000  # fewer are always fast to look up in a tree
BOX_PER_POINT = 16  # voxels whose distances are computed in the time of a slow look-up


class SurfaceDistances(NamedTuple):
    """From each surface voxel to the nearest one of the other mask, millimetres."""

    from_prediction: Float64[np.ndarray, " p"]
    from_reference: Float64[np.ndarray, " r"]


class SurfaceScores(NamedTuple):
    nsd: float
    hd95: float  # millimetres


def dice_per_class(
    prediction: UInt8[np.ndarray, " k *grid"] | Bool[np.ndarray, " k *grid"],
    label: UInt8[np.ndarray, " *grid"],
) -> Float64[np.ndarray, " k"]:
    """Dice of K masks, which may overlap, against a label map with values 0..K.

    2 |P and R| / (|P| + |R|) with R the voxels of value k for mask k - 1 (Dice, Ecology 1945).
    NaN where the class is absent from the reference. Raises ValueError when shapes differ or the
    label has values over K.

    >>> label = np.array([0, 1, 1, 2], np.uint8)
    >>> dice_per_class(np.array([[0, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0]], np.uint8), label)
    array([0.66666667, 0.66666667,        nan])
    """
    if prediction.shape[1:] != label.shape:
        raise ValueError(f"masks {prediction.shape} and label {label.shape} are of unlike grids")
    masks, flat = prediction.reshape(len(prediction), -1), label.reshape(-1)
    _check_values(flat, len(masks), "label")
    both, predicted, actual = np.zeros((3, len(masks)), np.int64)
    for first in range(0, flat.size, CHUNK):
        chunk = slice(first, first + CHUNK)
        present = np.bincount(flat[chunk], minlength=len(masks) + 1)[1:]
        actual += present
        for k, mask in enumerate(masks[:, chunk]):
            predicted[k] += np.count_nonzero(mask)
            if present[k]:
                both[k] += np.count_nonzero(mask[flat[chunk] == k + 1])
    return _dice(both, predicted, actual)


def dice_from_label_maps(
    prediction: UInt8[np.ndarray, " *grid"], label: UInt8[np.ndarray, " *grid"], classes: int
) -> Float64[np.ndarray, " {classes}"]:
    """Dice of classes 1..K between two label maps, as `dice_per_class` defines it.

    Counted in one pass. Raises ValueError when shapes differ or a map has values over K.

    >>> dice_from_label_maps(np.array([1, 1, 0], np.uint8), np.array([1, 0, 0], np.uint8), 2)
    array([0.66666667,        nan])
    """
    if prediction.shape != label.shape:
        raise ValueError(f"prediction {prediction.shape} and label {label.shape} differ in shape")
    _check_values(prediction, classes, "prediction")
    _check_values(label, classes, "label")
    predicted, actual, values = prediction.reshape(-1), label.reshape(-1), classes + 1
    counts = np.zeros(values * values, np.int64)
    for first in range(0, actual.size, CHUNK):
        pairs = actual[first : first + CHUNK].astype(np.uint16)  # 256 * 256 pairs just fit
        pairs *= np.uint16(values)
        pairs += predicted[first : first + CHUNK]
        # pair 0 is background in both, which no class's Dice asks for
        counts += np.bincount(pairs[pairs != 0], minlength=values * values)
    joint = counts.reshape(values, values)  # [label, prediction]
    return _dice(np.diag(joint)[1:], joint.sum(0)[1:], joint.sum(1)[1:])


def surface_distances(prediction: Mask, reference: Mask, spacing_mm: Spacing) -> SurfaceDistances:
    """Distances between the surfaces of two masks, both ways; arrays are empty for an empty mask.

    Distances to an empty mask are infinite. Raises ValueError when shapes differ or the spacing is
    not positive.

    >>> a, b = np.zeros((2, 1, 1, 5), bool)
    >>> a[..., 0] = b[..., 3] = True
    >>> surface_distances(a, b, (1.0, 1.0, 0.5)).from_prediction
    array([1.5])
    """
    _check_pair(prediction, reference, spacing_mm)
    ours, theirs = _surface_voxels(prediction), _surface_voxels(reference)
    return SurfaceDistances(_nearest(ours, theirs, spacing_mm), _nearest(theirs, ours, spacing_mm))


def surface_scores(
    prediction: Mask, reference: Mask, spacing_mm: Spacing, tolerance_mm: float
) -> SurfaceScores:
    """`nsd` and `hd95` from one computation of the distances."""
    distances = surface_distances(prediction, reference, spacing_mm)
    if not len(distances.from_reference):
        return SurfaceScores(np.nan, np.nan)
    if not len(distances.from_prediction):
        # ASSUME: a missed structure is as wrong as the volume is large, so that missing it never
        # looks better than finding it badly; infinity would spoil every mean.
        extent = np.multiply(reference.shape, spacing_mm)
        return SurfaceScores(0.0, float(np.linalg.norm(extent)))
    near = [int(np.count_nonzero(d <= tolerance_mm)) for d in distances]
    far = max(float(np.percentile(d, 95)) for d in distances)
    return SurfaceScores(sum(near) / sum(map(len, distances)), far)


def nsd(prediction: Mask, reference: Mask, spacing_mm: Spacing, tolerance_mm: float) -> float:
    """Normalised surface Dice: the share of both surfaces within the tolerance of the other.

    (|{p in S_P: d(p, S_R) <= t}| + |{r in S_R: d(r, S_P) <= t}|) / (|S_P| + |S_R|)
    (Nikolov et al., JMIR 2021). NaN for an empty reference, 0 for an empty prediction only.

    >>> a, b = np.zeros((2, 8, 8, 8), bool)
    >>> a[2:5, 2:5, 2:5] = b[3:6, 2:5, 2:5] = True
    >>> nsd(a, b, (1.0, 1.0, 1.0), 1.0), round(nsd(a, b, (1.0, 1.0, 1.0), 0.0), 3)
    (1.0, 0.615)
    """
    return surface_scores(prediction, reference, spacing_mm, tolerance_mm).nsd


def hd95(prediction: Mask, reference: Mask, spacing_mm: Spacing) -> float:
    """95 % Hausdorff distance, millimetres.

    max(P95 of d(p, S_R), P95 of d(r, S_P)), percentiles interpolated linearly (Huttenlocher et
    al., PAMI 1993, with the quantile in place of the maximum). NaN for an empty reference; the
    diagonal of the volume for an empty prediction only.

    >>> a, b = np.zeros((2, 8, 8, 8), bool)
    >>> a[2:5, 2:5, 2:5] = b[3:6, 2:5, 2:5] = True
    >>> hd95(a, b, (2.0, 1.0, 1.0))
    2.0
    """
    return surface_scores(prediction, reference, spacing_mm, 0.0).hd95


def false_positive_volume_ml(prediction: Mask, reference: Mask, spacing_mm: Spacing) -> float:
    """Volume in millilitres of the predicted components that touch no reference voxel.

    Components are 18-connected, as in the autoPET challenge (Gatidis et al., Sci Data 2022). With
    an empty reference it is the whole predicted volume; with an empty prediction 0. Raises
    ValueError when shapes differ or the spacing is not positive.

    >>> prediction = np.array([[[1, 1, 0, 1]]], np.uint8)
    >>> reference = np.array([[[1, 0, 0, 0]]], np.uint8)
    >>> false_positive_volume_ml(prediction, reference, (10.0, 10.0, 10.0))
    1.0
    """
    _check_pair(prediction, reference, spacing_mm)
    box = _bounding_box(prediction)
    if box is None:
        return 0.0
    components, _ = ndimage.label(prediction[box], ndimage.generate_binary_structure(3, 2))
    volumes = np.bincount(components.reshape(-1))
    volumes[0] = 0
    volumes[components[reference[box] != 0]] = 0
    return float(volumes.sum() * np.prod(spacing_mm) / 1000)


def _dice(both: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    scores = np.full(len(both), np.nan)
    return np.divide(2 * both, predicted + actual, out=scores, where=actual > 0)


def _check_values(label: np.ndarray, classes: int, name: str) -> None:
    if not 1 <= classes <= 255:
        raise ValueError(f"need 1..255 classes, got {classes}")
    if label.size and label.max() > classes:
        raise ValueError(f"{name} has the value {label.max()} but there are {classes} classes")


def _check_pair(prediction: np.ndarray, reference: np.ndarray, spacing_mm: Spacing) -> None:
    if prediction.shape != reference.shape:
        raise ValueError(
            f"prediction {prediction.shape}, reference {reference.shape}: unlike grids"
        )
    if len(spacing_mm) != 3 or min(spacing_mm) <= 0:
        raise ValueError(f"spacing_mm must be three positive numbers (z, y, x), got {spacing_mm}")


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...] | None:
    """The smallest slices around what is not 0, or None."""
    box: tuple[slice, ...] = ()
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        hits = np.flatnonzero(mask[box].any(others))
        if not len(hits):
            return None
        box += (slice(int(hits[0]), int(hits[-1]) + 1),)
    return box


def _surface_voxels(mask: np.ndarray) -> Int64[np.ndarray, "n 3"]:
    """Indices (z, y, x) of the voxels with a face towards the outside."""
    box = _bounding_box(mask)
    if box is None:
        return np.empty((0, 3), np.int64)
    padded = np.pad(mask[box] != 0, 1)
    inner = padded[1:-1, 1:-1, 1:-1]
    enclosed = inner.copy()
    for axis in range(3):
        for shift in (0, 2):
            window = [slice(1, -1)] * 3
            window[axis] = slice(shift, shift + inner.shape[axis])
            enclosed &= padded[tuple(window)]
    return np.argwhere(inner & ~enclosed) + [s.start for s in box]


def _nearest(
    points: Int64[np.ndarray, "n 3"], targets: Int64[np.ndarray, "m 3"], spacing_mm: Spacing
) -> Float64[np.ndarray, " n"]:
    """Distance in millimetres from each voxel to the nearest target.

    A k-d tree takes under a microsecond a point where the masks agree but tens where they are far
    apart, so very many points in a box are answered by the box's distance transform.
    """
    if not (len(points) and len(targets)):
        return np.full(len(points), np.inf)
    low = np.minimum(points.min(0), targets.min(0))
    size = np.maximum(points.max(0), targets.max(0)) - low + 1
    if len(points) > MANY_POINTS and len(points) * BOX_PER_POINT > np.prod(size):
        outside = np.ones(size, bool)
        outside[tuple((targets - low).T)] = False
        return ndimage.distance_transform_edt(outside, spacing_mm)[tuple((points - low).T)]
    tree = cKDTree(targets * np.asarray(spacing_mm), balanced_tree=False)
    return np.asarray(tree.query(points * np.asarray(spacing_mm))[0])
