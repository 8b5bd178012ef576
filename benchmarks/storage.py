"""Random crops from stored cases: disk, cold and warm time, ours beside the usual formats.

    python benchmarks/storage.py --size 254 259 259 --crop 158
    python benchmarks/storage.py --scan chest_ct.nii.gz

Cold: the file's pages are dropped from the page cache and the file opened anew. Warm: the same
crop again. One thread. The formats take turns for every crop, so that a busy machine slows all
alike; medians are given. The synthetic scan has CT-like noise, which is what compresses badly; a
real one is a fairer judge of size.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import blosc2
import numpy as np
from scipy.ndimage import gaussian_filter

from hermes.files.nifti import read_nifti
from hermes.files.store import open_case, save_case

CT_WINDOW_HU = (-991, 500)
Opener = Callable[[Path], Callable[[tuple[slice, ...]], np.ndarray]]


def synthetic_scan(size: tuple[int, ...]) -> np.ndarray:
    """Soft regions of CT intensity in air, with noise as fine as a resampled scan's (HU)."""
    rng = np.random.default_rng(0)
    regions = gaussian_filter(rng.normal(size=size).astype(np.float32), 6)
    tissue = np.digitize(regions / regions.std(), [-1.5, -0.5, 0.5, 1.5]) * 60.0 - 100
    distance = sum(((np.arange(n) - n / 2) / (0.45 * n)).reshape(s) ** 2 for n, s in zip(
        size, [(-1, 1, 1), (1, -1, 1), (1, 1, -1)], strict=True))  # fmt: skip
    noise = gaussian_filter(rng.normal(size=size).astype(np.float32), 0.6)
    return np.where(distance < 1, tissue, -1000) + 15 * noise / noise.std()


def zscored(scan: np.ndarray) -> np.ndarray:
    clipped = np.clip(scan.astype(np.float32), *CT_WINDOW_HU)
    return (clipped - clipped.mean()) / clipped.std()


def save_blosc(path: Path, array: np.ndarray, codec: str, level: int, shuffle: str) -> None:
    """As ours, another codec; float32 as nnU-Net's files (Zstandard 8, byte shuffle)."""
    chunk, block = (128, 64) if array.dtype == np.float32 else (64, 32)
    blosc2.asarray(
        array,
        urlpath=str(path),
        mode="w",
        chunks=tuple(min(chunk, n) for n in array.shape),
        blocks=tuple(min(block, n) for n in array.shape),
        cparams={
            "codec": blosc2.Codec[codec],
            "clevel": level,
            "filters": [blosc2.Filter[shuffle]],
            "typesize": array.dtype.itemsize,
            "nthreads": 1,
        },
    )


def open_blosc(path: Path) -> Callable[[tuple[slice, ...]], np.ndarray]:
    stored = blosc2.open(str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1})
    return lambda box: stored[box].astype(np.float32, copy=False)


def open_npy(path: Path) -> Callable[[tuple[slice, ...]], np.ndarray]:
    stored = np.load(path, mmap_mode="r")
    return lambda box: stored[box].astype(np.float32)


def open_ours(path: Path) -> Callable[[tuple[slice, ...]], np.ndarray]:
    case = open_case(path.parent, path.name.removesuffix("_image.b2nd"))
    return lambda box: case.crop([s.start for s in box], [s.stop - s.start for s in box])[0]


def write_all(folder: Path, image: np.ndarray) -> dict[str, tuple[Path, Opener, float]]:
    """Name -> (file, opener, seconds to write)."""
    half = image.astype(np.float16)
    writers = {
        "hermes.files.store": ("ours_image.b2nd", open_ours, lambda p: save_case(
            folder, "ours", image, None, {})),
        "nnU-Net-like float32 zstd": ("f32.b2nd", open_blosc, lambda p: save_blosc(
            p, image, "ZSTD", 8, "SHUFFLE")),
        "float16 lz4": ("lz4.b2nd", open_blosc, lambda p: save_blosc(
            p, half, "LZ4", 5, "BITSHUFFLE")),
        "float16 lz4hc": ("lz4hc.b2nd", open_blosc, lambda p: save_blosc(
            p, half, "LZ4HC", 5, "BITSHUFFLE")),
        "float16 zstd": ("zstd.b2nd", open_blosc, lambda p: save_blosc(
            p, half, "ZSTD", 1, "BITSHUFFLE")),
        "float16 npy": ("half.npy", open_npy, lambda p: np.save(p, half)),
    }  # fmt: skip
    written = {}
    for name, (file, opener, write) in writers.items():
        start = time.perf_counter()
        write(folder / file)
        written[name] = (folder / file, opener, time.perf_counter() - start)
    return written


def drop_from_cache(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def timed_crops(path: Path, opener: Opener, box: tuple[slice, ...]) -> tuple[float, float]:
    """Seconds for the cold crop (opening included) and the warm one."""
    drop_from_cache(path)
    start = time.perf_counter()
    read = opener(path)
    read(box)
    cold = time.perf_counter()
    read(box)
    return cold - start, time.perf_counter() - cold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=3, default=(254, 259, 259), help="z y x")
    parser.add_argument("--scan", help="a CT as NIfTI instead of the synthetic one (HU)")
    parser.add_argument("--crop", type=int, default=158, help="edge of the crop in voxels")
    parser.add_argument("--crops", type=int, default=20, help="random crops per format")
    args = parser.parse_args()
    scan = read_nifti(args.scan).array if args.scan else synthetic_scan(tuple(args.size))
    image = zscored(scan)
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        written = write_all(Path(folder), image)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in written}
        for _ in range(args.crops):
            lengths = [min(args.crop, n) for n in image.shape]
            starts = [
                int(rng.integers(0, n - m + 1)) for n, m in zip(image.shape, lengths, strict=True)
            ]
            box = tuple(slice(s, s + m) for s, m in zip(starts, lengths, strict=True))
            for name, (path, opener, _) in written.items():
                times[name].append(timed_crops(path, opener, box))
        print(f"{image.shape} {args.crops} crops of {args.crop}^3")
        print(f"{'format':28s} {'MiB':>7s} {'write ms':>9s} {'cold ms':>8s} {'warm ms':>8s}")
        for name, (path, _, seconds) in written.items():
            cold, warm = np.median(times[name], axis=0) * 1e3
            size = path.stat().st_size / 2**20
            print(f"{name:28s} {size:7.2f} {seconds * 1e3:9.0f} {cold:8.1f} {warm:8.1f}")


if __name__ == "__main__":
    main()
