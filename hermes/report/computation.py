"""Table 1: what each network costs: parameters, arithmetic, memory, time of one inference.

Networks have the paper's width and the study's tasks. Parameters and multiply-accumulates are
counted; memory and time are measured here, each network in a process of its own, and mean
something only beside one another: the sidecar says on which device, in which precision and at
which input size. On a GPU that is the paper's setting.
"""

import logging
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import psutil
import torch
from torch import nn

from hermes.config.registry import MODALITIES
from hermes.files.atomic import writing
from hermes.jobs.precision import choose_device, choose_dtype, device_name
from hermes.models.build import ModelSpec, build_model, count_parameters, label_of
from hermes.models.interface import channels_last
from hermes.provenance.sidecar import Made, write_sidecar
from hermes.report.cost import count_macs, wanted
from hermes.report.markdown import grid_text

logger = logging.getLogger(__name__)

BASE_CHANNELS = 32
"""The paper's width."""

COLUMNS = ("model", "memory_gb", "params_m", "inference_time_s", "gmac")
TITLES = ("Model", "Memory/GB", "Parameters/M", "Inference time/s", "GMAC")


@dataclass(frozen=True)
class Setting:
    """What is measured: images [batch, 1, size, size, size], mean time of some runs."""

    batch: int
    size: int
    runs: int


SETTINGS = {
    "cuda": Setting(batch=2, size=128, runs=100),  # the paper's
    "cpu": Setting(batch=2, size=64, runs=3),  # ASSUME: what a laptop does in a few seconds
}


def run(
    *,
    rows: list[dict],
    datasets: list[dict],
    dataset: str,
    published: str,
    study: dict,
    precision: str,
    csv: str | Path,
    markdown: str | Path,
    sidecar: str | Path,
    device: str = "auto",
    threads: int = 1,
    settings: dict | None = None,
) -> None:
    """Count and measure every row.

    Args:
        rows: model (as printed), method, backbone, options.
        datasets: name and tasks of the datasets that a universal network is trained on.
        dataset: the one whose classes are asked for.
        published: CSV with the paper's numbers.
        study: facts for the sidecar.
        precision: `auto`, `float32` or `bfloat16`.
        csv, markdown, sidecar: files to write.
        device: `auto`, `cpu`, `cuda`, ...
        threads: CPU threads.
        settings: what the workflow was told, kept in the sidecar.
    """
    where = choose_device(device)
    setting = SETTINGS[where.type]
    measured = [_row(row, datasets, dataset, setting, where, precision, threads) for row in rows]
    facts = {
        "device": device_name(where),
        "threads": threads,
        "precision": str(choose_dtype(precision, where)).removeprefix("torch."),
        "input": [setting.batch, 1, *[setting.size] * 3],
        "runs": setting.runs,
        "base_channels": BASE_CHANNELS,
        "classes_asked_for": dataset,
    }
    with writing(csv) as aside:
        pd.DataFrame(measured, columns=COLUMNS).to_csv(aside, index=False)
    with writing(markdown) as aside:
        aside.write_text(_markdown(measured, facts, published, study), encoding="utf-8")
    made = Made([csv, markdown], settings=settings or {}, extra={"measurement": facts})
    write_sidecar(sidecar, study, made)


def specification(row: dict, datasets: list[dict]) -> ModelSpec:
    """The network of a row, at the paper's width, for all tasks of the datasets."""
    tasks = tuple(dict.fromkeys(task for one in datasets for task in one["tasks"]))
    return ModelSpec(
        method=row["method"],
        backbone=row["backbone"],
        base_channels=BASE_CHANNELS,
        tasks=tasks,
        datasets={one["name"]: tuple(one["tasks"]) for one in datasets},
        modalities=MODALITIES,
        options=row["options"],
    )


def _row(
    row: dict,
    datasets: list[dict],
    dataset: str,
    setting: Setting,
    device: torch.device,
    precision: str,
    threads: int,
) -> list[str]:
    if row["each"]:  # one network per dataset: this dataset's
        datasets = [one for one in datasets if one["name"] == dataset]
    spec = specification(row, datasets)
    with torch.device("meta"):
        parameters = count_parameters(build_model(spec))
    work = partial(measure, spec, dataset, setting, str(device), precision, threads)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        memory_bytes, seconds = pool.submit(work).result()
    numbers = (memory_bytes / 1e9, parameters / 1e6, seconds, count_macs(spec, dataset) / 1e9)
    formats = (".3f", ".2f", ".3f", ".1f")
    cells = [format(number, form) for number, form in zip(numbers, formats, strict=True)]
    logger.info("%s: %s GB, %s M, %s s, %s GMAC", row["model"], *cells)
    return [label_of(row["model"], spec), *cells]


def measure(
    spec: ModelSpec, dataset: str, setting: Setting, device: str, precision: str, threads: int
) -> tuple[int, float]:
    """Peak bytes of an inference with the weights, and mean seconds, in this process.

    On a GPU, what torch has allocated at the most; on a CPU, how much the process has grown.
    """
    torch.set_num_threads(threads)
    where = torch.device(device)
    dtype = choose_dtype(precision, where)
    if where.type == "cpu":
        _forget_peak()
    before = _resident_bytes()
    torch.manual_seed(0)
    model = channels_last(build_model(spec).eval().to(where))
    image = torch.randn(setting.batch, 1, *[setting.size] * 3, device=where)
    image = image.contiguous(memory_format=torch.channels_last_3d)
    questions = wanted(spec, dataset, setting.batch, where)
    seconds = mean_seconds(partial(_infer, model, image, questions, dtype), setting.runs, where)
    if where.type == "cuda":
        return torch.cuda.max_memory_allocated(where), seconds
    return _peak_bytes() - before, seconds


@torch.inference_mode()
def _infer(model: nn.Module, image: torch.Tensor, questions: tuple, dtype: torch.dtype) -> None:
    with torch.autocast(image.device.type, dtype=dtype, enabled=dtype != torch.float32):
        model(image, *questions)


def mean_seconds(call: Callable[[], None], runs: int, device: torch.device) -> float:
    """Mean wall-clock seconds of a call, after one that warms up."""
    call()
    _wait(device)
    start = time.perf_counter()
    for _ in range(runs):
        call()
    _wait(device)
    return (time.perf_counter() - start) / runs


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _resident_bytes() -> int:
    """Main memory that this process holds now."""
    return psutil.Process().memory_info().rss


def _peak_bytes() -> int:
    """Most main memory that this process has held, since `_forget_peak` where that is possible."""
    if not STATUS.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _forget_peak() -> None:
    """Let Linux count the peak from here on: a new process inherits that of its parent."""
    if STATUS.is_file():
        STATUS.with_name("clear_refs").write_text("5")


STATUS = Path("/proc/self/status")


def _markdown(measured: list[list[str]], facts: dict, published: str, study: dict) -> str:
    batch, _, size, *_ = facts["input"]
    parts = [
        "# Computation",
        f"{study['title']}. Networks of {facts['base_channels']} base channels. Memory and time of "
        f"one inference of {batch}x1x{size}x{size}x{size} on {facts['device']} "
        f"({facts['threads']} CPU threads, {facts['precision']}), mean of {facts['runs']} runs; "
        "GMAC: multiply-accumulates of 1x1x128x128x128. The classes asked for are those of "
        f"{facts['classes_asked_for']}. Numbers of other devices and sizes are not comparable.",
        grid_text(TITLES, measured),
    ]
    if published:
        paper = pd.read_csv(published, dtype=str).reindex(columns=COLUMNS[:-1])
        parts += [
            "## The paper's numbers",
            "2x1x128x128x128 on an A100; parameters with 42 tasks and 2 modalities, and without "
            "the modality head.",
            grid_text(TITLES[:-1], paper.to_numpy().tolist()),
        ]
    return "\n\n".join(parts) + "\n"
