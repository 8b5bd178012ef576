"""Train: one readable loop for every method, alone or by several processes, resumable anywhere.

A step is a pure function of (seed, run, step): which crops are drawn and how they are augmented do
not depend on what happened before, nor on how many processes share the step's batch. So a training
that goes on from its last state ends with the weights of an unbroken one. The exponential moving
average of the weights is what is kept.
"""

import json
import logging
from pathlib import Path

import torch

from hermes.config.registry import MODALITIES
from hermes.config.study_schema import MACHINE, Training
from hermes.dataset import run_seed
from hermes.files.atomic import remove_asides, writing
from hermes.jobs.distributed import Ranks, joined
from hermes.jobs.precision import choose_dtype, device_name
from hermes.jobs.strict import pin
from hermes.models.build import ModelSpec, build_model, save_model
from hermes.models.interface import channels_last
from hermes.origin import code_hash, environment, file_hash
from hermes.train.checkpoint import Progress, fingerprint
from hermes.train.data import load_data
from hermes.train.log import write_metrics
from hermes.train.loop import fit
from hermes.train.objective import TERMS, make_objective
from hermes.train.optim import Ema, Lamb

logger = logging.getLogger(__name__)


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
    curve: str | Path | None = None,
    origin: str | Path | None = None,
    device: str = "auto",
    threads: int = 1,
    machine: dict | None = None,
    strict: bool = False,
) -> None:
    """Train one network; in each of the processes that `torchrun` started, the same call.

    Args:
        name: the run's name, mixed into its seed.
        method: how tasks condition the network (`hermes.models.methods`).
        backbone: the network that is conditioned.
        options: what only this method knows.
        datasets: per dataset `name`, `tasks` in class order, `weight`, `augmentation_probability`.
        folders: per dataset, the folder of its preprocessed cases.
        splits: per dataset, its split file.
        training: values of `hermes.config.study_schema.Training`.
        preparation: per dataset, how its images were prepared; kept with the model, so that a new
            scan can be prepared alike.
        seed: the study's seed.
        model: `model.safetensors` to write; `model.json` is written beside it.
        metrics: TSV with a row per epoch.
        checkpoint: resumable state, kept outside the outputs of the workflow. It stays when the
            training is done, so that outputs that are lost before they are accepted cost no steps.
        curve: TSV as `metrics`, to look at while the training runs: rewritten after each epoch.
        origin: JSON to write: code, commit, packages and machine that ended the training. They
            are no part of `model.json`, which the same weights leave as it is.
        device: `auto`, `cpu`, `cuda`, ...
        threads: CPU threads.
        machine: the values of `training` that only say how this machine computes (`MACHINE` of
            `hermes.config.study_schema`), where they are kept apart from the others.
        strict: see `hermes.jobs.strict`.

    Raises:
        Interrupted: SIGTERM or SIGUSR1 came; the state is saved, the same call goes on from it.
        ValueError: values that do not fit each other, the data or the machine.
        WriteError: the state cannot be saved.
    """
    torch.set_num_threads(threads)
    with joined(device) as ranks:
        settings = Training(**training | (machine or {}))
        if strict:
            precision = pin(settings.precision, ranks.device.type)
            settings = settings.model_copy(update={"precision": precision})
        spec = make_spec(method, backbone, options, datasets, settings)
        parts = [spec.to_json(), _decisive(settings), run_seed(seed, name), datasets, preparation]
        parts += [strict, code_hash("hermes.train")]
        progress = start(spec, settings, run_seed(seed, name), ranks.device)
        progress.fingerprint = fingerprint(parts, splits, folders)
        resume(progress, Path(checkpoint), ranks, name)
        data = load_data(datasets, folders, splits, spec, settings, seed, name, ranks)
        objective = make_objective(progress.model, spec, settings, ranks)
        parameters = sum(p.numel() for p in progress.model.parameters())
        if ranks.first:
            _announce(name, f"{parameters:,} parameters", settings, ranks)
        shown = Path(curve) if curve else None
        fit(progress, objective, data, settings, Path(checkpoint), name, shown)
        if not ranks.first:
            return
        progress.ema.copy_to(progress.model)
        write_metrics(Path(metrics), progress.history)
        told = {"run": name, "seed": seed, "parameters": parameters, "preparation": preparation}
        told |= made_with(settings, ranks, strict)
        told["data"] = made_of([one["name"] for one in datasets], folders, splits)
        save_model(Path(model).parent, progress.model, spec, told)
        if origin:
            write_origin(Path(origin))


def _announce(name: str, parameters: str, settings: Training, ranks: Ranks) -> None:
    shared = f", {ranks.count} processes" if ranks.count > 1 else ""
    logger.info("%s: %s, %s, %s%s", name, parameters, ranks.device, settings.precision, shared)


def _decisive(settings: Training) -> str:
    """Settings that decide what is learned; the others may differ when a training goes on."""
    return settings.model_dump_json(exclude=set(MACHINE))


def made_with(settings: Training, ranks: Ranks, strict: bool) -> dict:
    """What `model.json` says of how the weights came about."""
    return {
        "device": device_name(ranks.device),
        "ranks": ranks.count,
        "strict": strict,
        "cpu_instructions": torch.backends.cpu.get_cpu_capability(),
        "precision": str(choose_dtype(settings.precision, ranks.device)).removeprefix("torch."),
        "training": settings.model_dump(mode="json"),
    }


def made_of(names: list[str], folders: list[str], splits: list[str]) -> dict[str, dict[str, str]]:
    """Dataset -> hashes of the case table and the split that its training crops were drawn by."""
    return {
        name: {"cases": file_hash(Path(folder) / "cases.tsv"), "split": file_hash(split)}
        for name, folder, split in zip(names, folders, splits, strict=True)
    }


def write_origin(path: Path) -> None:
    """Write what code, on what machine, is ending a training here."""
    facts = {"code_sha256": code_hash("hermes.train")} | environment()
    with writing(path) as aside:
        aside.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


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


def start(spec: ModelSpec, settings: Training, seed: int, device: torch.device) -> Progress:
    """A training that has not begun, with fresh weights."""
    torch.manual_seed(seed)
    model = channels_last(build_model(spec).to(device))
    optimizer = Lamb(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    sums = torch.zeros(len(TERMS), dtype=torch.float64, device=device)
    return Progress(model, Ema(model, settings.ema_decay), optimizer, fingerprint="", sums=sums)


def resume(progress: Progress, checkpoint: Path, ranks: Ranks, name: str) -> None:
    """Take up a saved state, if there is one that can be used; every process reads it."""
    if checkpoint.is_file():
        try:
            progress.load(checkpoint, ranks.device)
        except ValueError as error:
            logger.warning("%s: starting afresh, %s", name, error)
        else:
            logger.info("%s: going on after step %d", name, progress.step)
    ranks.agree(progress.step, "the step that their saved state stands at")
    if ranks.first:
        remove_asides(checkpoint)
