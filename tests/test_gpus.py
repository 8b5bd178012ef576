"""Jobs side by side on one machine take different GPUs, and give them back however they end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hermes.jobs import gpus

ROOT = Path(__file__).parents[1]
JOB = """
import sys, time
from pathlib import Path
from hermes.jobs.gpus import take
print(",".join(take(int(sys.argv[1]), Path(sys.argv[2]))), flush=True)
sys.stdin.read()
"""


class Job:
    """A process that takes GPUs of 4 and holds them until it is told to end."""

    def __init__(self, count: int, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", JOB, str(count), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**_without_slurm(), gpus.VISIBLE: "0,1,2,3"},
        )

    def taken(self) -> list[str]:
        assert self.process.stdout
        return self.process.stdout.readline().strip().split(",")

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(20)


def _without_slurm() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("SLURM")}


@pytest.fixture(autouse=True)
def apart(monkeypatch):
    """No job of SLURM around the tests, no GPU of this machine, no lock that stays."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv(gpus.VISIBLE, "")
    yield
    while gpus._held:
        gpus._held.pop().close()


def test_jobs_take_different_ones_and_a_large_job_waits_until_they_end(tmp_path):
    small = [Job(1, tmp_path), Job(2, tmp_path)]
    taken = [name for job in small for name in job.taken()]
    assert len(taken) == len(set(taken)) == 3
    large = Job(4, tmp_path)
    time.sleep(1.5)
    assert large.process.poll() is None
    small[0].process.send_signal(signal.SIGKILL)
    small[0].process.wait(20)
    small[1].end()
    assert large.taken() == ["0", "1", "2", "3"]
    large.end()


def test_a_job_sees_what_it_took_alone(tmp_path, monkeypatch):
    monkeypatch.setenv(gpus.VISIBLE, "5, 7")
    assert gpus.take(1, tmp_path) == ["5"]
    assert os.environ[gpus.VISIBLE] == "5"


def test_more_than_there_are_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(gpus.VISIBLE, "0,1")
    with pytest.raises(gpus.GpuError, match=r"8 GPUs asked for, and 2 .*gpus=2"):
        gpus.take(8, tmp_path)


@pytest.mark.parametrize(("count", "names", "job"), [(0, "0", ""), (1, "", ""), (1, "0", "17")])
def test_nothing_is_taken_where_none_is_asked_for_or_there_or_slurm_deals_them_out(
    tmp_path, monkeypatch, count, names, job
):
    monkeypatch.setenv(gpus.VISIBLE, names)
    if job:
        monkeypatch.setenv("SLURM_JOB_ID", job)
    assert gpus.take(count, tmp_path) == []
    assert os.environ[gpus.VISIBLE] == names


def test_gpus_are_counted_by_the_drivers_own_command(tmp_path, monkeypatch):
    monkeypatch.delenv(gpus.VISIBLE)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.usable() == []
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: x)'; echo 'GPU 1: B (UUID: y)'\n")
    command.chmod(0o755)
    assert gpus.usable() == ["0", "1"]
