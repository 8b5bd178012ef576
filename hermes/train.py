"""Train: one readable loop for every method, resumable at every epoch.

A step is a pure function of (seed, run, step): which crops are drawn and how they are augmented do
not depend on what happened before, so a training that goes on from its last state ends with the
weights of an unbroken one. The exponential moving average of the weights is what is kept.
"""

import csv
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from hermes import augment
from hermes.atomic import writing
from hermes.checkpoint import Progress, fingerprint
from hermes.dataset import (
    Batch,
    CropDataset,
    TrainingSet,
    cases_of,
    labelled_cases,
    run_seed,
)
from hermes.losses import SegmentationLoss, common_loss, modality_loss
from hermes.models.build import ModelSpec, build_model, method_of, save_model
from hermes.models.interface import ModelOutput
from hermes.optim import Ema, Lamb, learning_rate
from hermes.precision import choose_device, choose_dtype, device_name
from hermes.registry import MODALITIES
from hermes.study_schema import Training

logger = logging.getLogger(__name__)

Loss = Callable[[ModelOutput, Batch], SegmentationLoss]
"""A method's loss, or the common one."""

Objective = Callable[[nn.Module, Batch], Tensor]
"""`losses` with the run's settings and loss."""

METRICS = (
    "epoch",
    "step",
    "learning_rate",
    "loss",
    "cross_entropy",
    "overlap",
    "modality",
    "val_loss",
)


def run(
    *,
    name: str,
    method: str,
    backbone: str,
    options: dict,
    datasets: list[dict],
    folders: list[str],
    splits: list[str],
    training: dict,
    preparation: dict,
    seed: int,
    model: str | Path,
    metrics: str | Path,
    checkpoint: str | Path,
    device: str = "auto",
    threads: int = 1,
) -> None:
    """Train one network.

    Args:
        name: the run's name, mixed into its seed.
        method: how tasks condition the network (`hermes.models.methods`).
        backbone: the network that is conditioned.
        options: what only this method knows.
        datasets: per dataset `name`, `tasks` in class order, `weight`, `augmentation_probability`.
        folders: per dataset, the folder of its preprocessed cases.
        splits: per dataset, its split file.
        training: values of `hermes.schema.Training`.
        preparation: per dataset, how its images were prepared; kept with the model, so that a new
            scan can be prepared alike.
        seed: the study's seed.
        model: `model.safetensors` to write; `model.json` is written beside it.
        metrics: TSV with a row per epoch.
        checkpoint: resumable state, kept outside the outputs of the workflow.
        device: `auto`, `cpu`, `cuda`, ...
        threads: CPU threads.
    """
    torch.set_num_threads(threads)
    settings = Training(**training)
    where = choose_device(device)
    spec = make_spec(method, backbone, options, datasets, settings)
    seed_of_run = run_seed(seed, name)
    parts = [spec.to_json(), settings.model_dump_json(), seed_of_run, datasets, preparation]
    mark = fingerprint(parts, splits, folders)
    loss = common_loss if settings.loss == "common" else method_of(spec).loss
    objective = partial(losses, settings=settings, loss=loss)
    progress = _start(spec, settings, seed_of_run, where, mark)
    _resume(progress, Path(checkpoint), where, name)
    sets = _sets(datasets, folders, splits, "train")
    data = _crops(sets, spec, settings, seed=seed_of_run, steps=_total_steps(settings))
    held_out = _validation_batches(_sets(datasets, folders, splits, "val"), spec, settings, seed)
    parameters = sum(p.numel() for p in progress.model.parameters())
    logger.info("%s: %s parameters, %s, %s", name, f"{parameters:,}", where, settings.precision)
    while progress.epoch < settings.epochs:
        started = time.perf_counter()
        row = _epoch(progress, data, settings, objective, where, seed_of_run, name)
        seconds = (time.perf_counter() - started) / settings.iterations
        row["val_loss"] = validate(progress, held_out, objective, where)
        progress.history.append(row)
        progress.epoch += 1
        progress.save(Path(checkpoint))
        logger.info("%s: %s, %.3f s a step", name, _line(row, settings.epochs), seconds)
    progress.ema.copy_to(progress.model)
    _write_metrics(Path(metrics), progress.history)
    told = {"run": name, "seed": seed, "parameters": parameters, "preparation": preparation}
    save_model(Path(model).parent, progress.model, spec, told | _made_with(settings, where))
    Path(checkpoint).unlink(missing_ok=True)


def _made_with(settings: Training, device: torch.device) -> dict:
    """What `model.json` says of how the weights came about."""
    return {
        "device": device_name(device),
        "precision": str(choose_dtype(settings.precision, device)).removeprefix("torch."),
        "training": settings.model_dump(mode="json"),
    }


def make_spec(
    method: str, backbone: str, options: dict, datasets: list[dict], settings: Training
) -> ModelSpec:
    """The network's description: tasks and datasets in the order of the run."""
    tasks = tuple(dict.fromkeys(task for d in datasets for task in d["tasks"]))
    return ModelSpec(
        method=method,
        backbone=backbone,
        base_channels=settings.base_channels,
        tasks=tasks,
        datasets={d["name"]: tuple(d["tasks"]) for d in datasets},
        modalities=MODALITIES,
        options=options,
    )


def _start(
    spec: ModelSpec, settings: Training, seed: int, device: torch.device, mark: str
) -> Progress:
    torch.manual_seed(seed)
    model = build_model(spec).to(device, memory_format=torch.channels_last_3d)
    optimizer = Lamb(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    ema = Ema(model, settings.ema_decay)
    return Progress(model, ema, optimizer, fingerprint=mark, epoch=0, history=[])


def _resume(progress: Progress, checkpoint: Path, device: torch.device, name: str) -> None:
    if not checkpoint.is_file():
        return
    try:
        progress.load(checkpoint, device)
    except ValueError as error:
        logger.warning("%s: starting afresh, %s", name, error)
        return
    logger.info("%s: going on after epoch %d", name, progress.epoch)


def _total_steps(settings: Training) -> int:
    return settings.epochs * settings.iterations


def _sets(
    datasets: list[dict], folders: list[str], splits: list[str], part: str
) -> list[TrainingSet]:
    return [
        TrainingSet(
            name=d["name"],
            tasks=tuple(d["tasks"]),
            folder=Path(folder),
            cases=_labelled(d["name"], Path(folder), cases_of(split, part), part),
            weight=d["weight"],
            augmentation_probability=d["augmentation_probability"],
        )
        for d, folder, split in zip(datasets, folders, splits, strict=True)
    ]


def _labelled(dataset: str, folder: Path, cases: tuple[str, ...], part: str) -> tuple[str, ...]:
    known = labelled_cases(folder)
    dropped = [case for case in cases if case not in known]
    if dropped:
        logger.warning("%s: no reference, left out of %s: %s", dataset, part, ", ".join(dropped))
    return tuple(case for case in cases if case in known)


def _crops(
    sets: list[TrainingSet], spec: ModelSpec, settings: Training, *, seed: int, steps: int
) -> CropDataset:
    margin = settings.margin if settings.augment else 0
    native = settings.sampling == "native"
    return CropDataset(
        sets,
        spec.tasks,
        size=[n + margin for n in settings.crop],
        batch=settings.batch,
        steps=steps,
        seed=seed,
        sampling=method_of(spec).sampling if native else settings.sampling,
        foreground=settings.foreground,
    )


def _validation_batches(
    sets: list[TrainingSet], spec: ModelSpec, settings: Training, seed: int
) -> list[Batch]:
    """A few fixed crops of validation cases; none where a dataset has no such case."""
    usable = [s for s in sets if s.cases]
    if not usable or not settings.validation_crops:
        return []
    steps = -(-settings.validation_crops // settings.batch)
    plain = settings.model_copy(update={"augment": False, "sampling": "uniform"})
    data = _crops(usable, spec, plain, seed=run_seed(seed, "validation"), steps=steps)
    return [data[step] for step in range(steps)]


def _epoch(
    progress: Progress,
    data: CropDataset,
    settings: Training,
    objective: Objective,
    device: torch.device,
    seed: int,
    name: str,
) -> dict[str, int | float]:
    """Train for one epoch and return its row of the metrics."""
    rate = learning_rate(
        progress.epoch, settings.epochs, settings.warmup_epochs, settings.learning_rate
    )
    for group in progress.optimizer.param_groups:
        group["lr"] = rate
    first = progress.epoch * settings.iterations
    steps = range(first, first + settings.iterations)
    loader = DataLoader(data, batch_size=None, sampler=steps, num_workers=settings.workers)
    bar = tqdm(loader, desc=f"{name} epoch {progress.epoch + 1}", unit="step", disable=None)
    progress.model.train()
    sums = torch.zeros(4, dtype=torch.float64)
    for step, batch in zip(steps, bar, strict=True):
        sums += _step(progress, batch.to(device), settings, objective, step, seed)
    loss, cross_entropy, overlap, modality = (sums / settings.iterations).tolist()
    return {
        "epoch": progress.epoch + 1,
        "step": steps.stop,
        "learning_rate": rate,
        "loss": loss,
        "cross_entropy": cross_entropy,
        "overlap": overlap,
        "modality": modality,
    }


def _step(
    progress: Progress,
    batch: Batch,
    settings: Training,
    objective: Objective,
    step: int,
    seed: int,
) -> Tensor:
    """One update; returns what `losses` does as float64 [4] on the CPU."""
    if settings.augment:
        batch = _augmented(batch, settings, step, seed)
    terms = objective(progress.model, batch)
    progress.optimizer.zero_grad(set_to_none=True)
    terms[0].backward()
    progress.optimizer.step()
    progress.ema.update(progress.model, step)
    return terms.detach().double().cpu()


def _augmented(batch: Batch, settings: Training, step: int, seed: int) -> Batch:
    generator = torch.Generator().manual_seed((seed << 24) + step)
    drawn = augment.draw(
        batch.probability.cpu(),
        settings.crop,
        settings.margin,
        generator,
        settings.affine_probability,
    )
    image, label = augment.apply(drawn, batch.image, batch.label)
    return Batch(**{**vars(batch), "image": image, "label": label})


def losses(model: nn.Module, batch: Batch, settings: Training, loss: Loss) -> Tensor:
    """Total, cross-entropy, overlap and modality loss of a batch, float32 [4]."""
    image = batch.image.contiguous(memory_format=torch.channels_last_3d)
    dtype = choose_dtype(settings.precision, image.device)
    with torch.autocast(image.device.type, dtype=dtype, enabled=dtype != torch.float32):
        output = model(image, batch.tasks, batch.dataset, batch.modality)
    cross_entropy, overlap = loss(output, batch)
    modality = overlap.new_zeros(())
    if output.modality_logits is not None:
        modality = modality_loss(output.modality_logits, batch.modality)
    total = cross_entropy + overlap + settings.modality_weight * modality
    return torch.stack([total, cross_entropy, overlap, modality])


@torch.no_grad()
def validate(
    progress: Progress, batches: list[Batch], objective: Objective, device: torch.device
) -> float:
    """Mean loss of the averaged weights on fixed crops of validation cases; NaN without any."""
    if not batches:
        return float("nan")
    with progress.ema.applied_to(progress.model):
        progress.model.eval()
        values = [objective(progress.model, batch.to(device))[0] for batch in batches]
    return float(torch.stack(values).mean())


def _line(row: dict[str, int | float], epochs: int) -> str:
    return (
        f"epoch {row['epoch']}/{epochs} lr {row['learning_rate']:.2e} loss {row['loss']:.4f} "
        f"ce {row['cross_entropy']:.4f} overlap {row['overlap']:.4f} "
        f"modality {row['modality']:.3f} val {row['val_loss']:.4f}"
    )


def _write_metrics(path: Path, history: list[dict[str, int | float]]) -> None:
    with writing(path) as aside, open(aside, "w", encoding="utf-8", newline="") as handle:
        table = csv.DictWriter(handle, METRICS, delimiter="\t", lineterminator="\n")
        table.writeheader()
        table.writerows({key: f"{value:.8g}" for key, value in row.items()} for row in history)
