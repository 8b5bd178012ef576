"""A disk that fills up under a stage: one plain line, nothing half-written, nothing rejected.

The stages are called by the commands of their rules, with what they write moved to a folder of
little room: a small file system in memory where mounting is allowed, and everywhere a limit on the
size of files, under which writing fails alike.
"""

import re
import resource
import shutil
import subprocess
from pathlib import Path

import pytest
from tiny_run import TARGET, kill_test, same_bytes

pytest_plugins = ["tiny_run_fixtures"]
pytestmark = pytest.mark.slow

STAGES = {  # where a stage writes, and the KiB that there are for it: a beginning
    "phantom": ("data/tiny/raw", 96),
    "convert": ("data/tiny/canonical", 64),
    "preprocess": ("data/tiny/preprocessed", 64),
    "quality.measure": ("results/tiny/quality", 8),
    "train": ("results/tiny/checkpoints", 1024),
    "predict": ("results/tiny/predictions", 16),
    "evaluate": ("results/tiny/scores", 4),
    "report.tables": ("results/tiny/tiny", 8),
}
FULL = "full"
ASIDE = re.compile(r"\.[\w-]+\.\d+\..+")
LIMIT_BYTES = 100  # a semaphore takes 32
LINE = re.compile(
    r"(\S+ failed: )?full/\S+: cannot be written: (no room is left|files may not be larger) on \S+ "
    r"\([\d,]+ of [\d,]+ MB free\)\. Nothing half-written is left; make room.* run it again.*"
)


@pytest.fixture(scope="module")
def checkout(tiny, tmp_path_factory):
    """The unbroken run, to be read, with a folder for what is written on the full disk."""
    folder = tmp_path_factory.mktemp("full") / "checkout"
    shutil.copytree(tiny / "unbroken", folder)
    return folder


@pytest.fixture(scope="module")
def commands(checkout):
    """Stage -> the command of a rule that calls it, in the shell's words."""
    targets = [TARGET, "results/tiny/quality/mnms_cases.tsv"]
    dry = ["-n", "-p", "--forceall", "--cores", "2", "--config", "study=tiny", "--", *targets]
    command = [*kill_test.SNAKEMAKE, *dry]
    told = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
    calls = re.findall(r"(workflow/scripts/stage\.py (\S+) .*)$", told.stdout, re.MULTILINE)
    return {stage: f"{kill_test.SNAKEMAKE[0]} {call}" for call, stage in calls}


@pytest.fixture
def full(checkout):
    """The folder of little room, empty."""
    folder = checkout / FULL
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def disk(full):
    """Mount a small file system there, of so many KiB, or change its size."""

    def sized(kib: int, *options: str) -> None:
        size = ",".join([f"size={kib}k", *options])
        command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(full)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no file system can be mounted: that takes root")

    yield sized
    subprocess.run(["umount", str(full)], capture_output=True)


def call(checkout: Path, command: str, stage: str, limit: bool = False):
    """Run a stage as its rule does, with what it writes, and its log, in the folder."""
    for place in (STAGES[stage][0], "results/tiny/models" if stage == "train" else "", "logs"):
        command = command.replace(place, f"{FULL}/{Path(place).name}") if place else command

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, LIMIT_BYTES))

    return subprocess.run(
        command,
        shell=True,
        cwd=checkout,
        capture_output=True,
        text=True,
        preexec_fn=limited if limit else None,
    )


def assert_told_in_a_line(done: subprocess.CompletedProcess, stage: str) -> None:
    """What a person sees: the stage failed, for want of room, there, and what to do."""
    assert done.returncode == 1, done.stderr
    failed = [line for line in done.stderr.splitlines() if line.startswith(f"{stage} failed: ")]
    assert len(failed) == 1, done.stderr
    assert LINE.fullmatch(failed[0]), failed[0]
    for word in ("Traceback", "Logging error", "rejected"):
        assert word not in done.stdout + done.stderr


def written(full: Path) -> dict[str, Path]:
    """The files of a stage in the folder, but its logs."""
    return {n: p for n, p in same_bytes.compared(full).items() if not n.startswith("logs/")}


def assert_whole(full: Path, stage: str) -> None:
    """What lies there is what an unbroken run leaves there, byte for byte; nothing lies aside."""
    there = full.parent / Path(STAGES[stage][0]).parent
    for name, path in written(full).items():
        assert not ASIDE.fullmatch(path.name)
        if (there / name).exists():
            assert path.read_bytes() == (there / name).read_bytes(), name


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_may_write_no_file_says_so(checkout, commands, full, stage):
    assert_told_in_a_line(call(checkout, commands[stage], stage, limit=True), stage)
    assert_whole(full, stage)
    assert all(path.stat().st_size <= LIMIT_BYTES for path in written(full).values())


@pytest.mark.parametrize("stage", STAGES)
def test_a_disk_that_fills_up_loses_nothing(checkout, commands, full, disk, stage):
    """And with more room the same command goes on to the bytes of an unbroken run."""
    disk(STAGES[stage][1])
    assert_told_in_a_line(call(checkout, commands[stage], stage), stage)
    assert_whole(full, stage)
    assert not list(full.rglob("cases.tsv")) + list(full.rglob("rejected.tsv"))
    disk(100_000, "remount")
    done = call(checkout, commands[stage], stage)
    assert done.returncode == 0, done.stderr
    assert_whole(full, stage)
    assert written(full)
