"""Resampling a scan and its label map to isotropic voxels: time and error, ours beside peers.

    python benchmarks/resample.py --size 127 512 512 --spacing 3 0.76 0.76 --target 1.5

The image is a sum of plane waves no shorter than `--wavelength` mm, so the truth is known at any
point and every peer is judged on the grid that it chose itself. "inner" leaves out the outer eighth
at every side. The label map holds touching and free ellipsoids; "equal" is the share of voxels
equal to interpolating each mask linearly and taking the largest. Peers that are not installed say
so. One thread everywhere unless `--threads` says otherwise.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from scipy import ndimage

from hermes.files.volume import Volume
from hermes.resample import resample_image, resample_label, resampled_affine, target_grid
from hermes.resample.general import resample_to

SLOW_S = 3.0
"""A peer slower than this is timed once."""

Points = list[np.ndarray]
"""Where a result's voxels are: per axis (z, y, x), source indices."""


@dataclass
class Scan:
    image: np.ndarray
    label: np.ndarray
    spacing: tuple[float, ...]
    target: tuple[float, ...]
    waves: tuple[np.ndarray, np.ndarray]

    @property
    def size(self) -> tuple[int, ...]:
        """Of the target grid."""
        return target_grid(self.image.shape, self.spacing, self.target)[0]

    def centred(self) -> Points:
        """Our grid: centres coincide, spacing exact."""
        axes = zip(self.image.shape, self.size, self.spacing, self.target, strict=True)
        return [(np.arange(m) - (m - 1) / 2) * t / s + (n - 1) / 2 for n, m, s, t in axes]

    def edge_aligned(self) -> Points:
        """The grid of F.interpolate, skimage and nnU-Net: outer edges coincide, spacing rounded."""
        axes = zip(self.image.shape, self.size, strict=True)
        return [(np.arange(m) + 0.5) * n / m - 0.5 for n, m in axes]

    def placed(self, affine: np.ndarray, size: tuple[int, ...]) -> Points:
        """A grid whose diagonal affine speaks of (z, y, x) mm from the first source voxel."""
        return [
            (affine[i, i] * np.arange(m) + affine[i, 3]) / s
            for i, (m, s) in enumerate(zip(size, self.spacing, strict=True))
        ]

    def truth(self, points: Points) -> np.ndarray:
        """The waves at these points, (z, y, x) float64, in HU."""
        result = np.zeros([len(p) for p in points], np.complex64)
        for frequency, phase in zip(*self.waves, strict=True):
            steps = zip(frequency, self.spacing, points, strict=True)
            z, y, x = (np.exp(1j * f * s * p).astype(np.complex64) for f, s, p in steps)
            plane = np.complex64(np.exp(1j * phase)) * np.outer(y, x)
            result += z[:, None, None] * plane
        return result.real * 100


def fabricate(args: argparse.Namespace) -> Scan:
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(12, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = args.wavelength / rng.uniform(0.2, 1, (12, 1))
    waves = (2 * np.pi * directions / lengths, rng.uniform(0, 2 * np.pi, 12))
    size = tuple(args.size)
    scan = Scan(np.zeros(size), ellipsoids(size, args.labels, rng), tuple(args.spacing),
                (args.target,) * 3, waves)  # fmt: skip
    scan.image = scan.truth([np.arange(n, dtype=float) for n in size]).astype(np.float32)
    return scan


def ellipsoids(size: tuple[int, ...], count: int, rng: np.random.Generator) -> np.ndarray:
    label = np.zeros(size, np.uint8)
    axes = np.meshgrid(*[np.linspace(0, 1, n) for n in size], indexing="ij", sparse=True)
    for value in range(1, count + 1):
        centre, radius = rng.uniform(0.2, 0.8, 3), rng.uniform(0.04, 0.16, 3)
        inside = sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radius, strict=True)) < 1
        label[inside] = value
    return label


def ours(scan: Scan) -> tuple[np.ndarray, Points]:
    return resample_image(scan.image, scan.spacing, scan.target), scan.centred()


def scipy_map(scan: Scan) -> tuple[np.ndarray, Points]:
    grid = np.meshgrid(*scan.centred(), indexing="ij")
    return ndimage.map_coordinates(scan.image, grid, order=3, mode="nearest"), scan.centred()


def scipy_zoom(scan: Scan) -> tuple[np.ndarray, Points]:
    factors = [m / n for m, n in zip(scan.size, scan.image.shape, strict=True)]
    result = ndimage.zoom(scan.image, factors, order=3, mode="nearest", grid_mode=True)
    return result, scan.edge_aligned()


def simpleitk(scan: Scan) -> tuple[np.ndarray, Points]:
    affine = np.diag([*scan.spacing[::-1], 1.0])
    target = resampled_affine(affine, scan.image.shape, scan.target)
    moved = resample_to(Volume(scan.image, affine), target, scan.size, order=3)
    return moved.array, scan.centred()


def torch_linear(scan: Scan) -> tuple[np.ndarray, Points]:
    batch = torch.from_numpy(scan.image)[None, None]
    moved = torch.nn.functional.interpolate(batch, size=scan.size, mode="trilinear")
    return moved[0, 0].numpy(), scan.edge_aligned()


def nnunet(scan: Scan, label: bool = False) -> tuple[np.ndarray, Points]:
    """Its own choice of order per axis ("auto"), as its preprocessing calls it."""
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    data = (scan.label if label else scan.image)[None]
    moved = resample_data_or_seg_to_shape(
        data, scan.size, scan.spacing, scan.target, is_seg=label, order=1 if label else 3, order_z=0
    )
    return moved[0], scan.edge_aligned()


def monai(scan: Scan) -> tuple[np.ndarray, Points]:
    from monai.data import MetaTensor
    from monai.transforms import Spacing

    source = MetaTensor(torch.from_numpy(scan.image)[None], affine=np.diag([*scan.spacing, 1.0]))
    moved = Spacing(pixdim=scan.target, mode="bilinear")(source)
    return moved[0].numpy(), scan.placed(moved.affine.numpy(), moved.shape[1:])


def torchio(scan: Scan) -> tuple[np.ndarray, Points]:
    import torchio as tio

    affine = np.diag([*scan.spacing, 1.0])
    source = tio.ScalarImage(tensor=torch.from_numpy(scan.image)[None], affine=affine)
    moved = tio.Resample(scan.target)(source)
    return moved.data[0].numpy(), scan.placed(moved.affine, moved.shape[1:])


def one_hot(scan: Scan, points: Points | None = None) -> np.ndarray:
    """The definition: every mask interpolated linearly, one axis at a time, then the largest."""
    weights = [linear_weights(n, p) for n, p in zip(
        scan.label.shape, points or scan.centred(), strict=True)]  # fmt: skip
    best = torch.full(scan.size, -1.0)
    result = np.zeros(scan.size, np.uint8)
    for value in np.unique(scan.label):
        mask = torch.from_numpy((scan.label == value).astype(np.float32))
        share = torch.einsum("zk,kyx->zyx", weights[0], weights[1] @ (mask @ weights[2].T))
        result[(share > best).numpy()] = value
        torch.maximum(best, share, out=best)
    return result


def linear_weights(size: int, points: np.ndarray) -> torch.Tensor:
    clipped = np.clip(points, 0, size - 1)
    return torch.from_numpy(np.maximum(0, 1 - np.abs(clipped[:, None] - np.arange(size)))).float()


def simpleitk_nearest(scan: Scan) -> np.ndarray:
    affine = np.diag([*scan.spacing[::-1], 1.0])
    target = resampled_affine(affine, scan.image.shape, scan.target)
    return resample_to(Volume(scan.label, affine), target, scan.size, order=0).array


IMAGE_PEERS = {
    "hermes cubic": ours,
    "scipy map_coordinates 3": scipy_map,
    "scipy zoom 3": scipy_zoom,
    "SimpleITK B-spline": simpleitk,
    "F.interpolate linear": torch_linear,
    "nnU-Net auto": nnunet,
    "MONAI linear": monai,
    "TorchIO linear": torchio,
}
LABEL_PEERS = {
    "hermes vote": lambda scan: resample_label(scan.label, scan.spacing, scan.target),
    "one-hot + argmax": one_hot,
    "SimpleITK nearest": simpleitk_nearest,
    "nnU-Net auto": lambda scan: nnunet(scan, label=True)[0],
}


def timed(work: Callable, scan: Scan, repeats: int) -> tuple[object, float]:
    """The result and the least seconds of `repeats` runs."""
    least = np.inf
    for _ in itertools.repeat(None, repeats):
        start = time.perf_counter()
        result = work(scan)
        least = min(least, time.perf_counter() - start)
        if least > SLOW_S:
            break
    return result, least


def image_error(result: np.ndarray, truth: np.ndarray) -> str:
    inner = tuple(slice(n // 8, n - n // 8) for n in result.shape)
    error = np.abs(result - truth)
    return " ".join(f"{np.sqrt(np.mean(e**2)):9.4f}" for e in (error, error[inner]))


def compare(title: str, peers: dict, scan: Scan, repeats: int, judge: Callable) -> None:
    print(title)
    first = None
    for name, work in peers.items():
        try:
            result, seconds = timed(work, scan, repeats)
        except ImportError:
            print(f"{name:26s} not installed")
            continue
        first = first or seconds
        print(f"{name:26s} {seconds * 1e3:9.0f} {seconds / first:7.2f} {judge(result)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=3, default=(127, 512, 512), help="z y x")
    parser.add_argument("--spacing", type=float, nargs=3, default=(3, 0.76, 0.76), help="mm, z y x")
    parser.add_argument("--target", type=float, default=1.5, help="mm, isotropic")
    parser.add_argument("--wavelength", type=float, default=12.0, help="shortest, mm")
    parser.add_argument("--labels", type=int, default=22)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(args.threads)
    scan = fabricate(args)
    print(f"{scan.image.shape} at {scan.spacing} mm -> {scan.size} at {args.target} mm")
    compare(
        "image                             ms   ratio  rms error, HU: all, inner",
        IMAGE_PEERS,
        scan,
        args.repeats,
        lambda out: image_error(out[0], scan.truth(out[1])),
    )
    same = [one_hot(scan, grid) for grid in (scan.centred(), scan.edge_aligned())]
    compare(
        "label                             ms   ratio  equal to one-hot + argmax",
        LABEL_PEERS,
        scan,
        args.repeats,
        lambda out: f"{max(np.mean(out == expected) for expected in same):.6f}",
    )


if __name__ == "__main__":
    main()
