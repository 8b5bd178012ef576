"""Window inference from image to masks and label: ours, the published scheme and MONAI's.

    python benchmarks/windows.py --size 192 --window 64 --classes 16 --repeats 3

The network is one 1^3 convolution, so what is timed is the scheme. Each run has a process of its
own, in turns, so that peaks do not mix and a busy machine disturbs all alike; the best of the
repeats counts. Peak memory (Linux) is the highest resident size above that before the run and
includes the logits of one batch and the masks. `present` is the share of classes found anywhere:
absent ones cost less here, so 1.0 is the hardest.
"""

import argparse
import importlib.util
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from hermes.predict.windows import sliding_window

Predict = Callable[[Tensor], Tensor]


def run_hermes(image: Tensor, predict: Predict, options: argparse.Namespace) -> tuple:
    window = (options.window,) * 3
    return sliding_window(
        image, window, options.window // 2, predict, options.batch, options.classes
    )


def run_published(image: Tensor, predict: Predict, options: argparse.Namespace) -> tuple:
    """The published loop: size // half windows per axis, the last ones moved back to fit.

    One window at a time, sums and counts of the whole volume, then average and threshold.
    """
    size, half = options.size, options.window // 2
    total = torch.zeros(options.classes, size, size, size)
    count = torch.zeros(1, size, size, size)
    for steps in product(range(size // half), repeat=3):
        ends = [min(step * half + 2 * half, size) for step in steps]
        where = tuple(slice(end - 2 * half, end) for end in ends)
        total[:, *where] += predict(image[where][None, None])[0].sigmoid()
        count[:, *where] += 1
    return to_labels(total / count)


def run_monai(image: Tensor, predict: Predict, options: argparse.Namespace) -> tuple:
    from monai.inferers import sliding_window_inference

    window = (options.window,) * 3
    probabilities = sliding_window_inference(
        image[None, None], window, options.batch, lambda crops: predict(crops).sigmoid(), 0.5
    )
    return to_labels(probabilities[0])


def to_labels(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Masks and label from averaged probabilities [k z y x], the plain way."""
    best, index = probabilities.max(0)
    masks = (probabilities > 0.5).to(torch.uint8)
    return masks, torch.where(best > 0.5, index + 1, 0).to(torch.uint8)


CONTENDERS = {"hermes": run_hermes, "published": run_published, "monai": run_monai}


def make_predict(options: argparse.Namespace) -> Predict:
    torch.manual_seed(0)
    head = torch.nn.Conv3d(1, options.classes, 1).requires_grad_(False)
    head.bias[round(options.present * options.classes) :] = -20.0
    return head


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


@torch.inference_mode()
def measure(name: str, options: argparse.Namespace) -> tuple[float, float, float]:
    """Seconds, peak MiB over the start, and a checksum of the label."""
    torch.set_num_threads(options.threads)
    predict = make_predict(options)
    image = torch.randn(options.size, options.size, options.size)
    predict(image[None, None, :8, :8, :8])
    if name == "monai":
        importlib.import_module("monai.inferers")
    before, start = resident_mib(), time.perf_counter()
    _, label = CONTENDERS[name](image, predict, options)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    return seconds, peak, float(torch.as_tensor(label).double().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=192, help="voxels per side")
    parser.add_argument("--window", type=int, default=64, help="voxels per side; stride is half")
    parser.add_argument("--classes", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4, help="windows per batch")
    parser.add_argument("--present", type=float, default=1.0, help="share of classes present")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    names = [n for n in CONTENDERS if n != "monai" or importlib.util.find_spec("monai")]
    runs: dict[str, list] = {name: [] for name in names}
    spawn = multiprocessing.get_context("spawn")
    for name in names * options.repeats:
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            runs[name].append(process.submit(measure, name, options).result())
    seconds = {name: min(run[0] for run in runs[name]) for name in names}
    peaks = {name: min(run[1] for run in runs[name]) for name in names}

    print(f"{'':12}{'ms':>8}{'MiB':>8}{'hermes is faster':>18}{'its memory':>12}{'mean label':>12}")
    for name in CONTENDERS:
        if name not in names:
            print(f"{name:12}not installed")
            continue
        faster, share = seconds[name] / seconds["hermes"], peaks["hermes"] / peaks[name]
        print(
            f"{name:12}{seconds[name] * 1e3:8.0f}{peaks[name]:8.0f}{faster:17.2f}x{share:11.2f}x"
            f"{runs[name][0][2]:12.5f}"
        )


if __name__ == "__main__":
    main()
