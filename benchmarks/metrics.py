"""Dice, NSD and HD95: ours, plain references and the libraries, side by side in one run.

    python benchmarks/metrics.py --size 300 --labels 23 --repeats 3

A phantom of random ellipsoids is scored three ways: shifted by two voxels (near), with every
structure moved across the volume (far), and as noise. Contenders take turns; the best of the
repeats counts. MONAI is asked for NSD and HD95 in two calls, as its interface has it.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage

from hermes.evaluate.metrics import dice_from_label_maps, dice_per_class, surface_scores

SPACING_MM = (1.5, 1.5, 1.5)
TOLERANCE_MM = 3.0
Contender = Callable[[np.ndarray, np.ndarray, int], list]


def ellipsoids(size: int, labels: int) -> np.ndarray:
    """A label map [z y x] of `labels` ellipsoids, later ones over earlier ones."""
    rng = np.random.default_rng(0)
    label = np.zeros((size, size, size), np.uint8)
    for k in range(1, labels + 1):
        radii, centre = rng.uniform(0.05, 0.16, 3) * size, rng.uniform(0.2, 0.8, 3) * size
        low = np.maximum(centre - radii, 0).astype(int)
        box = tuple(slice(a, a + int(2 * r) + 2) for a, r in zip(low, radii, strict=True))
        grid = np.ogrid[tuple(slice(b.start, min(b.stop, size)) for b in box)]
        terms = [((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)]
        label[box][sum(terms) <= 1] = k
    return label


def predictions(label: np.ndarray, labels: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, labels + 1, label.shape, dtype=np.uint8)
    noise[rng.random(label.shape) < 0.9] = 0
    return {
        "near": np.roll(label, 2, axis=1),
        "far": np.roll(label, label.shape[0] // 2, axis=(0, 2)),
        "noise": noise,
    }


def masks_of(label: np.ndarray, labels: int) -> np.ndarray:
    return np.stack([label == k for k in range(1, labels + 1)])


def dice_hermes_maps(prediction: np.ndarray, label: np.ndarray, labels: int) -> list:
    return dice_from_label_maps(prediction, label, labels).tolist()


def dice_boolean_masks(prediction: np.ndarray, label: np.ndarray, labels: int) -> list:
    scores = []
    for k in range(1, labels + 1):
        ours, theirs = prediction == k, label == k
        scores.append(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()))
    return scores


def dice_monai(prediction: np.ndarray, label: np.ndarray, labels: int) -> list:
    from monai.metrics import compute_dice

    ours, theirs = (torch.from_numpy(masks_of(m, labels))[None] for m in (prediction, label))
    return compute_dice(ours, theirs)[0].tolist()


def dice_masks_hermes(masks: np.ndarray, label: np.ndarray, labels: int) -> list:
    return dice_per_class(masks, label).tolist()


def dice_masks_plain(masks: np.ndarray, label: np.ndarray, labels: int) -> list:
    pairs = ((mask != 0, label == k) for k, mask in enumerate(masks, start=1))
    return [2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) for ours, theirs in pairs]


def surfaces_hermes(prediction: np.ndarray, label: np.ndarray, labels: int) -> list:
    pairs = ((prediction == k, label == k) for k in range(1, labels + 1))
    return [surface_scores(*pair, SPACING_MM, TOLERANCE_MM) for pair in pairs]


def surfaces_plain(prediction: np.ndarray, label: np.ndarray, labels: int) -> list:
    """Erosion for the surface, a distance transform of the whole volume for the distances."""
    scores = []
    for k in range(1, labels + 1):
        shells = [m & ~ndimage.binary_erosion(m) for m in (prediction == k, label == k)]
        fields = [ndimage.distance_transform_edt(~shell, SPACING_MM) for shell in shells]
        ours, theirs = fields[1][shells[0]], fields[0][shells[1]]
        near = (ours <= TOLERANCE_MM).sum() + (theirs <= TOLERANCE_MM).sum()
        far = max(np.percentile(ours, 95), np.percentile(theirs, 95))
        scores.append((near / (ours.size + theirs.size), far))
    return scores


def surfaces_monai(prediction: np.ndarray, label: np.ndarray, labels: int) -> list:
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    ours, theirs = (torch.from_numpy(masks_of(m, labels))[None] for m in (prediction, label))
    common = {"include_background": True, "spacing": list(SPACING_MM)}
    shares = compute_surface_dice(ours, theirs, [TOLERANCE_MM] * labels, **common)[0]
    distances = compute_hausdorff_distance(ours, theirs, percentile=95, **common)[0]
    return list(zip(shares.tolist(), distances.tolist(), strict=True))


def surfaces_surface_distance(prediction: np.ndarray, label: np.ndarray, labels: int) -> list:
    import surface_distance as library

    scores = []
    for k in range(1, labels + 1):
        found = library.compute_surface_distances(label == k, prediction == k, SPACING_MM)
        share = library.compute_surface_dice_at_tolerance(found, TOLERANCE_MM)
        scores.append((share, library.compute_robust_hausdorff(found, 95)))
    return scores


def compare(title: str, contenders: dict[str, Contender], arguments: tuple, repeats: int) -> None:
    """Time contenders in turns; print each beside the first, with its mean score."""
    present = {n: c for n, c in contenders.items() if importlib.util.find_spec(n) or " " in n}
    seconds: dict[str, list[float]] = {name: [] for name in present}
    means = {}
    for name in [*present] * repeats:
        start = time.perf_counter()
        scores = present[name](*arguments)
        seconds[name].append(time.perf_counter() - start)
        means[name] = np.round(np.nanmean(scores, axis=0), 4)
    best = {name: min(times) for name, times in seconds.items()}
    first = next(iter(best.values()))
    print(title)
    for name in contenders:
        if name not in best:
            print(f"  {name:24}not installed")
            continue
        print(f"  {name:24}{best[name] * 1e3:9.0f} ms{best[name] / first:9.2f}x   {means[name]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=300, help="voxels per side, for Dice")
    parser.add_argument("--surface-size", type=int, default=160, help="the same, for surfaces")
    parser.add_argument("--labels", type=int, default=23)
    parser.add_argument("--surface-labels", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    maps = {
        "hermes maps": dice_hermes_maps,
        "boolean masks": dice_boolean_masks,
        "monai": dice_monai,
    }
    masks = {"hermes masks": dice_masks_hermes, "boolean masks": dice_masks_plain}
    label = ellipsoids(options.size, options.labels)
    for kind, prediction in predictions(label, options.labels).items():
        compare(f"Dice, {kind}", maps, (prediction, label, options.labels), options.repeats)
        stack = masks_of(prediction, options.labels).view(np.uint8)
        compare(f"Dice of masks, {kind}", masks, (stack, label, options.labels), options.repeats)

    surfaces = {
        "hermes surfaces": surfaces_hermes,
        "whole transform": surfaces_plain,
        "monai": surfaces_monai,
        "surface_distance": surfaces_surface_distance,
    }
    label = ellipsoids(options.surface_size, options.surface_labels)
    for kind, prediction in predictions(label, options.surface_labels).items():
        arguments = (prediction, label, options.surface_labels)
        compare(f"NSD and HD95, {kind}", surfaces, arguments, options.repeats)


if __name__ == "__main__":
    main()
