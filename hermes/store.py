"""Preprocessed cases on disk: chunked, compressed arrays from which a crop reads only its part.

A case is `{case}_image.b2nd` (float16, with the meta in its vlmeta) and `{case}_label.b2nd`
(uint8), both (z, y, x) Blosc2 arrays (https://www.blosc.org). LZ4HC with bit shuffling decodes
about 1.5 times as fast as Zstandard, which is up to an eighth smaller; its files are a twelfth
smaller than LZ4's; measured by benchmarks/storage.py on 158^3 crops.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import blosc2
import numpy as np
from jaxtyping import Float32, Integer, Shaped, UInt8

from hermes.atomic import writing

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

Triple = Sequence[int] | Integer[np.ndarray, "3"]


class StoreError(ValueError):
    """A stored case that is missing, damaged or cannot be written; the message names the file."""


@dataclass
class StoredCase:
    """A case opened for reading; nothing is in memory until `crop`. label None: not labelled."""

    image: blosc2.NDArray
    label: blosc2.NDArray | None
    meta: dict

    def crop(
        self, start: Triple, size: Triple
    ) -> tuple[Float32[np.ndarray, "z y x"], UInt8[np.ndarray, "z y x"] | None]:
        """Image and label of a box; `start` (z, y, x) may be negative or the box hang over.

        Zero outside the volume: the mean intensity, and background. Only the blocks that the box
        touches are read. The label is None for a case without one. Raises StoreError for a
        damaged block.
        """
        image = _crop(self.image, start, size, np.float32)
        label = None if self.label is None else _crop(self.label, start, size, np.uint8)
        return image, label


def save_case(
    folder: str | os.PathLike,
    case: str,
    image: Shaped[np.ndarray, "z y x"],
    label: UInt8[np.ndarray, "_ _ _"] | None,
    meta: dict,
) -> None:
    """Write a case: image rounded to IMAGE_STEP and float16, label as is, meta as JSON.

    Same input, same bytes. The image comes last, so a case that opens is a whole one.

    Raises StoreError: shapes differ, the image is not finite as float16 (intensities that were
    not normalised), or the meta is not JSON.
    """
    path = _path(folder, case, "image")
    if label is not None and label.shape != image.shape:
        raise StoreError(f"{path}: image {image.shape} and label {label.shape} differ; one grid")
    with np.errstate(over="ignore"):
        rounded = (np.rint(image / np.float32(IMAGE_STEP)) * IMAGE_STEP).astype(np.float16)
    if not np.isfinite(rounded).all():
        raise StoreError(f"{path}: values not finite as float16; normalise the image first")
    try:
        text = json.dumps(meta, sort_keys=True)
    except TypeError as error:
        raise StoreError(f"{path}: meta is not JSON ({error}); give plain values") from error
    if label is None:
        _path(folder, case, "label").unlink(missing_ok=True)
    else:
        _write(_path(folder, case, "label"), label, blosc2.Filter.NOFILTER, {})
    _write(path, rounded, blosc2.Filter.BITSHUFFLE, {_META: text})


def open_case(folder: str | os.PathLike, case: str) -> StoredCase:
    """Open a case for reading, memory-mapped and decompressed by one thread.

    Cheap enough to call in every loader process. Raises StoreError: missing or damaged files.
    """
    path = _path(folder, case, "image")
    image = _open(path)
    if _META not in image.schunk.vlmeta:
        raise StoreError(f"{path}: holds no case meta; run preprocess again")
    label_path = _path(folder, case, "label")
    label = _open(label_path) if label_path.exists() else None
    if label is not None and label.shape != image.shape:
        raise StoreError(f"{label_path}: size {label.shape}, image {image.shape}; preprocess again")
    return StoredCase(image, label, json.loads(image.schunk.vlmeta[_META]))


def _path(folder: str | os.PathLike, case: str, kind: str) -> Path:
    return Path(folder) / f"{case}_{kind}.b2nd"


def _write(path: Path, array: np.ndarray, shuffle: blosc2.Filter, texts: dict[str, str]) -> None:
    chunks = _parts(array.shape, CHUNK_VOXELS)
    with writing(path) as aside:
        stored = blosc2.asarray(
            np.ascontiguousarray(array),
            urlpath=str(aside),
            mode="w",
            chunks=chunks,
            blocks=_parts(chunks, BLOCK_VOXELS),
            cparams={
                "codec": blosc2.Codec.LZ4HC,
                "clevel": 5,
                "filters": [shuffle],
                "typesize": array.dtype.itemsize,
                "nthreads": 1,
            },
        )
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


def _crop(stored: blosc2.NDArray, start: Triple, size: Triple, dtype: type) -> np.ndarray:
    low = [max(0, first) for first in start]
    high = [
        min(length, first + extent)
        for length, first, extent in zip(stored.shape, start, size, strict=True)
    ]
    result = np.zeros(tuple(size), dtype)
    if all(a < b for a, b in zip(low, high, strict=True)):
        inside = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        try:
            result[inside] = stored[box]
        except RuntimeError as error:
            raise StoreError(f"{stored.schunk.urlpath}: damaged; run preprocess again") from error
    return result
