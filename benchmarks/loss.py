"""The fused loss beside the same loss on masks and floats: time and memory, forward and backward.

    python benchmarks/loss.py --size 64 --classes 23

At the paper's crop (--size 128) the reference needs about 3.5 GiB. Each is timed in a process of
its own, so that its peak memory is its own; "memory" is what it adds to logits and label.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from hermes.losses import segmentation_loss


def masks_and_floats(logits: Tensor, label: Tensor, values: Tensor) -> Tensor:
    """The textbook way: a float mask per class, and every intermediate as large as the logits."""
    masks = (label[:, None] == values[:, :, None, None, None]).float()
    bce = F.binary_cross_entropy_with_logits(logits, masks, reduction="none").mean()
    p = logits.sigmoid()
    voxels = (2, 3, 4)
    tp = (p * masks).sum(voxels)
    fp, fn = (p * (1 - masks)).sum(voxels), ((1 - p) * masks).sum(voxels)
    weight = (fp / (fp + fn)).clamp(0.2, 0.8)
    return bce + (1 - tp / (tp + weight * fp + (1 - weight) * fn + 1e-6)).mean()


def fused(logits: Tensor, label: Tensor, values: Tensor) -> Tensor:
    """Ours."""
    return sum(segmentation_loss(logits, label, values))


def blobs(size: int, classes: int) -> Tensor:
    """Label map (1, size, size, size): a cube per class, about a fifth of the volume in all."""
    label = torch.zeros(1, size, size, size, dtype=torch.uint8)
    side = max(1, round(size * (0.2 / classes) ** (1 / 3)))
    for value in range(1, classes + 1):
        z, y, x = torch.randint(0, size - side + 1, (3,)).tolist()
        label[0, z : z + side, y : y + side, x : x + side] = value
    return label


def measure(loss: Callable, arguments: argparse.Namespace) -> tuple[float, float, float]:
    """Best CPU seconds, MiB added at the peak, and the loss."""
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    size, classes = arguments.size, arguments.classes
    shape = (arguments.batch, classes, size, size, size)
    logits = torch.randn(shape).sub_(2).requires_grad_()
    label = blobs(size, classes).repeat(arguments.batch, 1, 1, 1)
    values = torch.arange(1, classes + 1).repeat(arguments.batch, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(arguments.repeats):
        logits.grad = None
        start = time.process_time()
        result = loss(logits, label, values)
        result.backward()
        seconds.append(time.process_time() - start)
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return min(seconds), added, result.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {
        "batch": 2,
        "classes": 23,
        "size": 64,
        "repeats": 3,
        "threads": 1,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    results = {}
    for loss in (masks_and_floats, fused):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            results[loss] = pool.apply(measure, (loss, arguments))
        seconds, added, value = results[loss]
        print(f"{loss.__name__:18s} {seconds * 1e3:9.1f} ms {added:9.1f} MiB  loss {value:.6f}")
    gradient = 4 * arguments.batch * arguments.classes * arguments.size**3 / 2**20
    ratio = results[masks_and_floats][0] / results[fused][0]
    print(
        f"fused is {ratio:.1f}x as fast; it adds {results[fused][1] / gradient:.2f}x the gradient"
        f" ({gradient:.1f} MiB), masks and floats {results[masks_and_floats][1] / gradient:.2f}x"
    )


if __name__ == "__main__":
    main()
