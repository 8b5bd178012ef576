"""The workflow on a real SLURM cluster of two nodes, which lose, kill and stop jobs on the way."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import slurm_cluster
import torch
from safetensors.torch import load_file

from hermes.files.tables import read_tsv

ROOT = Path(__file__).parents[1]
TINY = Path(__file__).parent / "tiny_study"
MODEL = "results/tiny/models/hermes-r/model.safetensors"
METRICS = "results/tiny/models/hermes-r/metrics.tsv"
TABLE = "results/tiny/tiny.csv"
# few steps, that rounding stays small, of some time each, to stop it within; shared by two machines
STUDY = {"batch: 1": "batch: 8", "iterations: 2": "iterations: 6", "rate: 0.01": "rate: 0.00001"}
CONFIG = ["--config", "study=tiny", "without=mnms", "device=cpu"]
PROFILE = ["--profile", "workflow/profiles/slurm", "--slurm-init-seconds-before-status-checks", "6"]

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@contextmanager
def cluster(accounting: bool) -> Iterator[Path]:
    """A cluster while the block runs; another process of the tests waits for its end."""
    folder = Path(tempfile.mkdtemp(prefix="hermes-slurm-"))
    with open(Path(tempfile.gettempdir()) / "hermes-slurm.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            slurm_cluster.check(accounting)
        except slurm_cluster.Unavailable as reason:
            shutil.rmtree(folder)
            pytest.skip(str(reason))
        try:
            try:
                slurm_cluster.start(folder, accounting)
            except slurm_cluster.Unavailable as reason:  # a container that keeps its daemons down
                pytest.skip(str(reason))
            yield folder
        finally:
            slurm_cluster.stop(folder)
            shutil.rmtree(folder)


def make_checkout(folder: Path) -> Path:
    """The tracked part of the repository with the tiny study, one row of its table."""
    for name in ("workflow", "config", "hermes"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "Snakefile", folder)
    text = (TINY / "tiny.yaml").read_text()
    for old, new in STUDY.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "config/studies/tiny.yaml").write_text(text)
    lines = (TINY / "tables.yaml").read_text().splitlines(keepends=True)
    with (folder / "config/tables.yaml").open("a") as tables:
        tables.writelines(line for line in lines if "ResUNet" not in line)
    return folder


@contextmanager
def snakemake(checkout: Path, *arguments: str) -> Iterator[subprocess.Popen]:
    """Snakemake while the block runs, then killed; it writes to `output.txt` of the checkout."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    with (checkout / "output.txt").open("w") as output:
        process = subprocess.Popen(command, cwd=checkout, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def succeeds(process: subprocess.Popen, checkout: Path) -> None:
    """Wait for Snakemake's end, which must be a success."""
    status = process.wait(240)
    assert status == 0, (checkout / "output.txt").read_text()[-5000:]


def run(checkout: Path, *arguments: str) -> None:
    with snakemake(checkout, *arguments) as process:
        succeeds(process, checkout)


def when(happened: Callable[[], object], process: subprocess.Popen, seconds: float = 120) -> None:
    """Wait until it happened, for as long as the process runs."""
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, "it ended before that"
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def told(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def jobs(comment: str, *fields: str) -> list[tuple[str, ...]]:
    """These fields of the jobs of a rule, in the order of submission."""
    lines = [x for x in told("scontrol", "-o", "show", "job").splitlines() if comment in x]
    return [tuple(re.search(rf"\b{f}=(\S*)", line)[1] for f in fields) for line in lines]


@contextmanager
def drained(node: str) -> Iterator[None]:
    """No new job is started on the node within the block."""
    told("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    try:
        yield
    finally:
        told("scontrol", "update", f"NodeName={node}", "State=RESUME")


def says(log: Path, text: str) -> bool:
    return log.exists() and text in log.read_text()


@pytest.fixture(scope="module")
def accounted() -> Iterator[Path]:
    with cluster(accounting=True) as folder:
        yield folder


@pytest.fixture(scope="module")
def local(accounted, tmp_path_factory) -> Path:
    """A checkout where the study was built without a cluster."""
    checkout = make_checkout(tmp_path_factory.mktemp("local"))
    run(checkout, "--cores", "2", *CONFIG, "--", TABLE)
    return checkout


def test_a_study_under_fire_has_the_bytes_of_a_quiet_one(accounted, local, tmp_path):
    """Jobs are killed over their memory, a node is drained, a training is told to stop."""
    checkout = make_checkout(tmp_path)
    asks = checkout / "config/resources.yaml"
    asks.write_text(asks.read_text().replace("split: {memory_mb: 500,", "split: {memory_mb: 100,"))
    log = checkout / "logs/tiny/train/hermes-r.log"
    with snakemake(checkout, *PROFILE, *CONFIG, "gpus=1", "--", TABLE) as process:
        when(lambda: jobs("rule_convert", "JobId"), process)
        with drained("hermes1"):
            when(lambda: says(log, "epoch 1/2"), process)
            assert "State=IDLE+DRAIN" in told("scontrol", "show", "node", "hermes1")
            assert jobs("rule_train", "NodeList", "Partition") == [("hermes2", "gpu")]
        told("scancel", "--signal=TERM", jobs("rule_train", "JobId")[0][0])
        when(lambda: says(log, "going on after step"), process)
        succeeds(process, checkout)

    *killed, last = jobs("rule_split", "JobState", "MinMemoryNode")
    assert killed[0] in (("FAILED", "100M"), ("OUT_OF_MEMORY", "100M"))
    assert last == ("COMPLETED", f"{100 * (1 + len(killed))}M")
    number = jobs("rule_split", "JobId")[0][0]
    daemons = "".join(path.read_text() for path in accounted.glob("slurmd-*.log"))
    assert re.search(rf"StepId={number}\.\S+ exceeded memory limit", daemons)
    assert [state for (state,) in jobs("rule_train", "JobState")] == ["FAILED", "COMPLETED"]
    assert "|COMPLETED" in told("sacct", "-X", "--parsable2", "--format=JobID,State")
    for path in (TABLE, MODEL):
        assert (checkout / path).read_bytes() == (local / path).read_bytes(), path


@pytest.mark.whole
def test_two_machines_train_the_network_of_one_process(local):
    """Told to stop and gone on with, on both."""
    alone, losses = load_file(local / MODEL), read_tsv(local / METRICS)
    for folder in ("models", "checkpoints"):
        shutil.rmtree(local / "results/tiny" / folder)
    log = local / "logs/tiny/train/hermes-r.log"
    log.unlink()
    with snakemake(local, *PROFILE, *CONFIG, "gpus=2", "nodes=2", "--", MODEL) as process:
        when(lambda: says(log, "epoch 1/2"), process)
        number, *job = jobs("rule_train", "JobId", "NumNodes", "NodeList", "JobState")[-1]
        assert job == ["2", "hermes[1-2]", "RUNNING"]
        told("scancel", "--signal=TERM", number)
        when(lambda: says(log, "going on after step"), process)
        succeeds(process, local)
    assert "2 processes" in log.read_text()
    torch.testing.assert_close(load_file(local / MODEL), alone, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(read_tsv(local / METRICS), losses, strict=True):
        for term in ("loss", "cross_entropy", "overlap", "modality", "val_loss"):
            assert float(ours[term]) == pytest.approx(float(theirs[term]), rel=1e-5), term


@pytest.mark.whole
def test_the_page_can_be_followed_as_it_stands(accounted, tmp_path):
    """What `docs/slurm.md` has a reader type between the start and the end of the cluster."""
    checkout = make_checkout(tmp_path)
    for name in ("config/tables.yaml", "config/studies/tiny.yaml"):
        (checkout / name).unlink()
    shutil.copy(ROOT / "config/tables.yaml", checkout / "config")
    shutil.copytree(TINY, checkout / "tests/tiny_study")
    page = (ROOT / "docs/slurm.md").read_text(encoding="utf-8").split("## Try it on one machine")[1]
    blocks = re.findall(r"```\n(.*?)```", page, re.DOTALL)
    (block,) = (text for text in blocks if "snakemake --profile" in text)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    typed = subprocess.run(
        ["bash", "-euc", block],
        cwd=checkout,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert typed.returncode == 0, typed.stderr[-3000:]
    assert "ResUNet," in typed.stdout
    assert re.search(r"gpu +COMPLETED", typed.stdout)


@pytest.fixture(scope="module")
def unaccounted(accounted) -> Path:
    """The cluster anew, without a database."""
    slurm_cluster.stop(accounted)
    shutil.rmtree(accounted)
    slurm_cluster.start(accounted)
    return accounted


def test_without_accounting_jobs_are_seen_to_end_and_an_interrupt_leaves_none(
    unaccounted, tmp_path
):
    assert subprocess.run(["sacct"], capture_output=True).returncode != 0
    checkout = make_checkout(tmp_path)
    target = "data/tiny/raw/dlbs.json"
    run(checkout, *PROFILE, *CONFIG, "--", target)
    assert (checkout / target).exists()

    with snakemake(checkout, *PROFILE, *CONFIG, "--", "results/tiny/splits/dlbs.tsv") as process:
        when(lambda: told("squeue", "--noheader", "--states=RUNNING"), process)
        process.send_signal(signal.SIGINT)
        process.wait(60)
        end = time.monotonic() + 30
        while told("squeue", "--noheader"):
            assert time.monotonic() < end, told("squeue")
            time.sleep(0.2)


def test_another_slurm_is_left_alone(tmp_path, monkeypatch):
    if os.geteuid():
        pytest.skip("root only")
    (tmp_path / "slurm.conf").write_text("ClusterName=theirs\n")
    monkeypatch.setattr(slurm_cluster, "ETC", tmp_path)
    monkeypatch.setattr(slurm_cluster.shutil, "which", lambda name: name)
    with pytest.raises(slurm_cluster.Unavailable, match="another SLURM"):
        slurm_cluster.start(tmp_path / "ours")
    slurm_cluster.stop(tmp_path / "ours")
    assert (tmp_path / "slurm.conf").read_text() == "ClusterName=theirs\n"
