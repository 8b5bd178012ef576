"""What the priors cost: Hermes beside its backbone, inference and training step, in one run.

    python benchmarks/hermes_overhead.py --backbone medformer --base 8 --size 64

The paper's setting is --base 32 --size 128 (1.033 times the arithmetic on the ResUNet, 1.002 on
the MedFormer). CPU time, so that other work on the machine disturbs less; with several threads it
is that of all of them. The two take turns, and the best of each is kept. The batch is 2: on a CPU
torch sends a small float32 convolution of batch 1 to a slow kernel, whatever the method.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from hermes.losses import segmentation_loss
from hermes.models import ModelSpec, build_model

NAMES = {"resunet": ("ResUNet", "Hermes-R"), "medformer": ("MedFormer", "Hermes-M")}
METHODS = ("traditional", "hermes")
PRECISIONS = {"float32": False, "bfloat16": True}  # whether autocast is on


def specification(method: str, backbone: str, base_channels: int, tasks: int) -> ModelSpec:
    """The paper's table sizes, with `tasks` of the 72 wanted."""
    return ModelSpec(
        method=method,
        backbone=backbone,
        base_channels=base_channels,
        tasks=tuple(f"task/{row}" for row in range(72)),
        datasets={"wanted": tuple(f"task/{row}" for row in range(tasks))},
        modalities=("ct", "t1", "t2", "cine", "pet", "unknown"),
    )


def inference(model: nn.Module, inputs: tuple, label: torch.Tensor) -> None:
    model.eval()
    with torch.inference_mode():
        model(*inputs)


def training_step(model: nn.Module, inputs: tuple, label: torch.Tensor) -> None:
    model.train().zero_grad(set_to_none=True)
    output = model(*inputs)
    loss = sum(segmentation_loss(output.logits, label, inputs[1] + 1))
    if output.auxiliary is not None:
        loss = loss + sum(segmentation_loss(output.auxiliary, label, inputs[1] + 1))
    loss.backward()


WORK = {"inference": inference, "training": training_step}


def best_times(calls: dict[tuple, Callable[[], None]], repeats: int) -> dict[tuple, float]:
    """Best CPU milliseconds of each call; the calls take turns."""
    times: dict[tuple, list[float]] = {key: [] for key in calls}
    for _ in range(repeats + 1):  # the first turn warms up
        for key, call in calls.items():
            start = time.process_time()
            call()
            times[key].append((time.process_time() - start) * 1e3)
    return {key: min(values[1:]) for key, values in times.items()}


def prepare(arguments: argparse.Namespace) -> dict[tuple, Callable[[], None]]:
    """(work, precision, method) -> a call."""
    batch, size = arguments.batch, arguments.size
    image = torch.randn(batch, 1, size, size, size)
    label = torch.randint(0, arguments.tasks + 1, (batch, size, size, size), dtype=torch.uint8)
    tasks = torch.arange(arguments.tasks).repeat(batch, 1)
    inputs = (image, tasks, torch.zeros(batch).long(), torch.zeros(batch).long())
    calls = {}
    for method in METHODS:
        spec = specification(method, arguments.backbone, arguments.base, arguments.tasks)
        model = build_model(spec)
        for work in arguments.work:
            for precision, enabled in PRECISIONS.items():
                calls[work, precision, method] = partial(
                    _call, WORK[work], enabled, model, inputs, label
                )
    return calls


def _call(work: Callable, enabled: bool, model: nn.Module, inputs: tuple, label: Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        work(model, inputs, label)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", choices=NAMES, default="resunet")
    parser.add_argument("--work", nargs="+", choices=WORK, default=list(WORK))
    defaults = {"base": 8, "size": 64, "batch": 2, "tasks": 14, "threads": 1, "repeats": 5}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    times = best_times(prepare(arguments), arguments.repeats)
    plain_name, name = NAMES[arguments.backbone]
    for work in arguments.work:
        for precision in PRECISIONS:
            plain, hermes = (times[work, precision, each] for each in METHODS)
            wide = times[work, "float32", "hermes"]
            print(
                f"{work:9s} {precision:8s} {plain_name} {plain:9.1f} ms  {name} {hermes:9.1f} ms"
                f"  overhead {hermes / plain:5.3f}x  bfloat16 gains {wide / hermes:5.2f}x"
            )


if __name__ == "__main__":
    main()
