"""Which GPUs of a machine a job takes, where jobs run side by side without a batch system.

A job locks as many as it asks for, a file each in a folder of temporary files, and sees these
alone. The system lifts a lock when its process ends, however it ends. Jobs of other programs and
other users are not seen: `CUDA_VISIBLE_DEVICES` leaves out what they use.
"""

import fcntl
import logging
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO

VISIBLE = "CUDA_VISIBLE_DEVICES"
PAUSE_S = 1.0
"""Between two looks at whether enough GPUs are free."""

logger = logging.getLogger(__name__)
_held: list[IO[str]] = []
"""Locks of this process; they end with it."""


class GpuError(RuntimeError):
    """A job asks for more GPUs than there are; the message says how many."""


def installed() -> int:
    """Number of GPUs of this machine, without importing torch."""
    if not shutil.which("nvidia-smi"):
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def usable() -> list[str]:
    """What CUDA calls the GPUs that may be used: all, or what `CUDA_VISIBLE_DEVICES` names."""
    if VISIBLE in os.environ:
        return [name.strip() for name in os.environ[VISIBLE].split(",") if name.strip()]
    return [str(number) for number in range(installed())]


def take(count: int, folder: Path | None = None) -> list[str]:
    """Wait until so many GPUs are free, and have this process and its children see them alone.

    In a SLURM job, which has its own, and on a machine without GPUs nothing is done.

    Args:
        count: of GPUs.
        folder: of the locks; else one of this user among the temporary files.

    Returns:
        What CUDA calls them.

    Raises:
        GpuError: there are fewer.
    """
    names = usable()
    if not count or not names or "SLURM_JOB_ID" in os.environ:
        return []
    if count > len(names):
        raise GpuError(
            f"{count} GPUs asked for, and {len(names)} may be used ({', '.join(names)}); say "
            f"--config gpus={len(names)}"
        )
    folder = folder or Path(tempfile.gettempdir()) / f"hermes-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    waited = False
    while len(taken := _lock(names, count, folder)) < count:
        if not waited:
            logger.warning("waiting for %d free GPUs of %s", count, ", ".join(names))
        waited = True
        time.sleep(PAUSE_S)
    os.environ[VISIBLE] = ",".join(taken)
    return taken


def _lock(names: list[str], count: int, folder: Path) -> list[str]:
    """Lock so many, or none; one process looks at a time, so that two never wait for each other."""
    locks: dict[str, IO[str]] = {}
    with open(folder / "all", "w", encoding="utf-8") as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        for name in names:
            lock = open(folder / f"{name}.lock", "w", encoding="utf-8")  # noqa: SIM115
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            locks[name] = lock
            if len(locks) == count:
                _held.extend(locks.values())
                return list(locks)
        for lock in locks.values():
            lock.close()
    return []
