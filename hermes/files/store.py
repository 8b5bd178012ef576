"""Preprocessed cases on disk: chunked, compressed arrays from which a crop reads only its part.

A case is `{case}_image.b2nd` (float16, with the meta in its vlmeta) and `{case}_label.b2nd`
(uint8), both (z, y, x) Blosc2 arrays (https://www.blosc.org). The image may be a box of the
training grid; the label always covers the whole grid (its empty chunks cost nothing), so that what
lies outside the box is still known when predictions are scored. LZ4HC with bit shuffling decodes
about 1.5 times as fast as Zstandard, which is up to an eighth smaller; its files are a twelfth
smaller than LZ4's; measured by benchmarks/storage.py on 158^3 crops.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import blosc2
import numpy as np
from jaxtyping import Float32, Integer, UInt8

from hermes.axes import Box, triple
from hermes.files.atomic import writing

IMAGE_STEP = 2.0**-8
"""Step to which a z-scored image is rounded (1 = one standard deviation).

ASSUME: float16 alone steps by 2^-10 between 1 and 2 and much finer near zero, spending bits on
noise that no codec can squeeze. The rounding error, 2^-9 at most and 0.0011 root mean square (0.5
HU in a CT clipped to [-991, 500]), is a hundredth of the noise that augmentation adds; the file
is at least a fifth smaller.
"""

CHUNK_VOXELS = 64
"""Edge of a chunk; an axis up to half as long again is one chunk, so small volumes are whole."""

BLOCK_VOXELS = 32
"""Edge of a block, decompressed at once inside a chunk; again up to half as long again."""

_META = "case"

BOX_START = "box_start"
"""Key of the meta: first voxel (z, y, x) of the image in the training grid; absent: the grid's."""

Triple = Sequence[int] | Integer[np.ndarray, "3"]


@runtime_checkable
class Planes(Protocol):
    """An image that is handed over some z planes at a time: an array, or one made when asked."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, planes: slice) -> np.ndarray: ...


class StoreError(ValueError):
    """A stored case that is missing, damaged or cannot be written; the message names the file."""


@dataclass
class StoredCase:
    """A case opened for reading; nothing is in memory until `crop`.

    Attributes:
        image: [z, y, x], the box of the training grid that is kept; often the whole grid.
        label: [z, y, x], the whole training grid; None: not labelled.
        meta: what preprocess knows of the case.
    """

    image: blosc2.NDArray
    label: blosc2.NDArray | None
    meta: dict

    @property
    def box(self) -> Box:
        """Where the image lies in the training grid."""
        start = self.meta.get(BOX_START, (0, 0, 0))
        return triple(slice(s, s + n) for s, n in zip(start, self.image.shape, strict=True))

    def crop(
        self, start: Triple, size: Triple
    ) -> tuple[Float32[np.ndarray, "z y x"], UInt8[np.ndarray, "z y x"] | None]:
        """Image and label of a part of the box; `start` (z, y, x) counts from the box's corner.

        It may be negative, and the part may hang over: zero outside the box, which is the mean
        intensity, and background. Only the blocks that the part touches are read. The label is
        None for a case without one. Raises StoreError for a damaged block.
        """
        image = _crop(self.image, self.image.shape, (0, 0, 0), start, size, np.float32)
        if self.label is None:
            return image, None
        corner = [edge.start for edge in self.box]
        return image, _crop(self.label, self.image.shape, corner, start, size, np.uint8)


def save_case(
    folder: str | os.PathLike,
    case: str,
    image: Planes,
    label: UInt8[np.ndarray, "_ _ _"] | None,
    meta: dict,
) -> None:
    """Write a case: image rounded to IMAGE_STEP and float16, label as is, meta as JSON.

    The image is taken a row of chunks at a time. Same input, same bytes. Both files are whole
    before either has its name, and the image is named last: a case that opens is a whole one.

    Raises StoreError: the label does not cover the grid, the image is not finite as float16
    (intensities that were not normalised), or the meta is not JSON.
    """
    path, label_path = case_files(folder, case)
    grid = tuple(meta["grid_size"]) if BOX_START in meta else tuple(image.shape)
    if label is not None and label.shape != grid:
        raise StoreError(f"{path}: grid {grid} and label {label.shape} differ; one grid")
    try:
        text = json.dumps(meta, sort_keys=True)
    except TypeError as error:
        raise StoreError(f"{path}: meta is not JSON ({error}); give plain values") from error
    with writing(path) as aside:
        _write(aside, _Rounded(image, path), np.float16, blosc2.Filter.BITSHUFFLE, {_META: text})
        if label is None:
            label_path.unlink(missing_ok=True)
            return
        with writing(label_path) as label_aside:
            _write(label_aside, label, np.uint8, blosc2.Filter.NOFILTER, {})


class _Rounded:
    """Planes of an image as they are stored: float16, multiples of IMAGE_STEP."""

    def __init__(self, image: Planes, path: Path) -> None:
        self.image, self.shape, self.path = image, tuple(image.shape), path

    def __getitem__(self, planes: slice) -> np.ndarray:
        with np.errstate(over="ignore"):
            steps = self.image[planes] / np.float32(IMAGE_STEP)
            np.rint(steps, out=steps)
            steps *= IMAGE_STEP
            rounded = steps.astype(np.float16)
        if not np.isfinite(rounded).all():
            raise StoreError(f"{self.path}: values not finite as float16; normalise the image")
        return rounded


def open_case(folder: str | os.PathLike, case: str) -> StoredCase:
    """Open a case for reading, memory-mapped and decompressed by one thread.

    Cheap enough to call in every loader process. Raises StoreError: missing or damaged files.
    """
    path = _path(folder, case, "image")
    image = _open(path)
    if _META not in image.schunk.vlmeta:
        raise StoreError(f"{path}: holds no case meta; run preprocess again")
    meta = json.loads(image.schunk.vlmeta[_META])
    grid = tuple(meta["grid_size"]) if BOX_START in meta else image.shape
    label_path = _path(folder, case, "label")
    label = _open(label_path) if label_path.exists() else None
    if label is not None and label.shape != grid:
        raise StoreError(f"{label_path}: size {label.shape}, grid {grid}; preprocess again")
    return StoredCase(image, label, meta)


def case_files(folder: str | os.PathLike, case: str) -> tuple[Path, Path]:
    """Paths of a case's image and label."""
    return _path(folder, case, "image"), _path(folder, case, "label")


def _path(folder: str | os.PathLike, case: str, kind: str) -> Path:
    return Path(folder) / f"{case}_{kind}.b2nd"


def _write(
    aside: Path, array: Planes, dtype: type, shuffle: blosc2.Filter, texts: dict[str, str]
) -> None:
    chunks = _parts(array.shape, CHUNK_VOXELS)
    stored = blosc2.empty(
        tuple(array.shape),
        np.dtype(dtype),
        urlpath=str(aside),
        mode="w",
        chunks=chunks,
        blocks=_parts(chunks, BLOCK_VOXELS),
        cparams={
            "codec": blosc2.Codec.LZ4HC,
            "clevel": 5,
            "filters": [shuffle],
            "typesize": np.dtype(dtype).itemsize,
            "nthreads": 1,
        },
        dparams={"nthreads": 1},  # else the file holds the number of this machine's cores
    )
    for z in range(0, array.shape[0], chunks[0]):  # whole chunks: none is written twice
        planes = slice(z, min(z + chunks[0], array.shape[0]))
        stored[planes] = np.ascontiguousarray(array[planes])
    for name, text in texts.items():
        stored.schunk.vlmeta[name] = text


def _parts(lengths: Sequence[int], edge: int) -> tuple[int, ...]:
    """Edge per axis: the whole axis where it is hardly longer than `edge`."""
    return tuple(length if 2 * length <= 3 * edge else edge for length in lengths)


def _open(path: Path) -> blosc2.NDArray:
    if not path.is_file():
        raise StoreError(f"{path}: no such file; run preprocess for this dataset")
    try:
        return blosc2.open(str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1})
    except (RuntimeError, ValueError, OSError) as error:
        raise StoreError(f"{path}: damaged ({error}); run preprocess again") from error


def _crop(
    stored: blosc2.NDArray,
    extent: Triple,
    corner: Triple,
    start: Triple,
    size: Triple,
    dtype: type,
) -> np.ndarray:
    """The part at `start` of the box of this extent and corner; zero outside the box."""
    low = [max(0, first) for first in start]
    high = [min(n, first + want) for n, first, want in zip(extent, start, size, strict=True)]
    result = np.zeros(tuple(size), dtype)
    if all(a < b for a, b in zip(low, high, strict=True)):
        inside = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
        box = tuple(slice(c + a, c + b) for a, b, c in zip(low, high, corner, strict=True))
        try:
            result[inside] = stored[box]
        except RuntimeError as error:
            raise StoreError(f"{stored.schunk.urlpath}: damaged; run preprocess again") from error
    return result
