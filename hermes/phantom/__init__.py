"""A synthetic patient population imaged by thirteen protocols, in the datasets' raw layouts."""

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path

from hermes.files.atomic import writing, writing_folder
from hermes.phantom.acquire import Job
from hermes.phantom.autopet import write_autopet
from hermes.phantom.chaos import write_chaos
from hermes.phantom.dlbs import write_dlbs
from hermes.phantom.layouts import PAIRS, write_pair
from hermes.phantom.mnms import write_mnms, write_table
from hermes.phantom.protocols import PROTOCOLS
from hermes.phantom.shapes import Number

_WRITERS: dict[str, Callable[[Job, Path], None]] = {
    **dict.fromkeys(PAIRS, write_pair),
    "chaos": write_chaos,
    "mnms": write_mnms,
    "autopet": write_autopet,
    "dlbs": write_dlbs,
}


class PhantomError(ValueError):
    """The phantom was asked for something that no published dataset has."""


def run(
    *,
    dataset: str,
    raw: str | Path,
    manifest: str | Path,
    patients: int,
    seed: int,
    voxel_scale: Number,
    workers: int = 1,
) -> None:
    """Write one dataset of the phantom, and the manifest of its files.

    The same arguments give the same bytes, whatever `workers` is.

    Args:
        dataset: one of the thirteen names in `PROTOCOLS`.
        raw: folder to make; one that is already there is replaced.
        manifest: JSON to write: dataset, source and path, bytes, sha256 of every file.
        patients: how many; a patient of CHAOS has three images, one of M&Ms two.
        seed: of the study.
        voxel_scale: factor on the published in-plane spacing.
        workers: processes.

    Raises:
        PhantomError: for an unknown dataset, or more patients than the real dataset has.
    """
    _check(dataset, patients, voxel_scale)
    jobs = [Job(dataset, number, patients, seed, voxel_scale) for number in range(patients)]
    with writing_folder(raw) as aside:
        _write_all(jobs, aside, workers)
        if dataset == "mnms":
            write_table(jobs[0], aside)
        files = _listing(aside)
    with writing(manifest) as path:
        text = json.dumps({"dataset": dataset, "source": "phantom", "files": files}, indent=1)
        path.write_text(text + "\n", encoding="utf-8")


def _check(dataset: str, patients: int, voxel_scale: Number) -> None:
    if dataset not in PROTOCOLS:
        raise PhantomError(f"no phantom of {dataset!r}; there are: {', '.join(PROTOCOLS)}")
    most = PROTOCOLS[dataset].patients
    if not 1 <= patients <= most:
        raise PhantomError(f"{dataset}: {patients} patients asked for; give 1 to {most}")
    if not 1 <= voxel_scale <= 20:
        raise PhantomError(f"{dataset}: voxel_scale {voxel_scale} is not between 1 and 20")


def _write_all(jobs: list[Job], folder: Path, workers: int) -> None:
    if workers <= 1:
        for job in jobs:
            write_patient(job, folder)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(write_patient, jobs, [folder] * len(jobs)))


def write_patient(job: Job, folder: Path) -> None:
    """Write all files of one patient below a folder."""
    _WRITERS[job.dataset](job, folder)


def _listing(folder: Path) -> list[dict]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        {
            "path": path.relative_to(folder).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": sha256(path.read_bytes()).hexdigest(),
        }
        for path in files
    ]
