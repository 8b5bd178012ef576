"""Kill a whole run at random moments, restart it, and compare its bytes with an unbroken run.

    python workflow/scripts/kill_test.py --study phantom --kills 20 --seed 1 FOLDER

In FOLDER the run is made twice, in copies of this checkout: `unbroken`, which is used again where
it is there already, and `killed`. The unbroken run is cut into as many parts of the same length as
there are kills, and in each a random moment is drawn. The other run is killed when it has come as
far: as many jobs done, and as long after the last of them. Snakemake, its jobs and their processes
are killed at once, as a power cut would do it. Then it is restarted by what a user would type:

    snakemake --unlock
    snakemake --rerun-incomplete ...

At the end every file of `data/` and `results/` is compared (`same_bytes.py` says what is not).
Exit status 1: a byte differs, or the run was over before all kills had come.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent))

from same_bytes import compared, differences

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("Snakefile", "profiles", "workflow", "config", "hermes")
MADE = ("data", "results")
SNAKEMAKE = (sys.executable, "-m", "snakemake")
TIMELINE = "timeline.json"
PATIENCE_S = 120
"""ASSUME: a job that is told to stop, not killed, has left by then."""


@dataclass(frozen=True)
class Moment:
    """When to kill: after so many jobs are done, and then so many seconds."""

    done: int
    seconds: float


class Run:
    """Snakemake at work in a folder, watched through what it prints; killed with its block."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.study = folder, options.study
        self.log = folder / "output.txt"
        command = [*SNAKEMAKE, "--cores", str(options.cores), "--rerun-incomplete"]
        command += ["--config", f"study={self.study}", "--", *options.targets]
        with open(self.log, "w", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=out, stderr=out, start_new_session=True
            )

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        if not self.over():
            self.end(signal.SIGKILL)

    def text(self) -> str:
        """What it printed until now."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def left(self) -> int | None:
        """Jobs that are not done; nothing before they are planned."""
        planned = re.search(r"^total +(\d+)$", self.text(), re.MULTILINE)
        return int(planned[1]) - len(self.done()) if planned else None

    def begun(self) -> dict[str, str]:
        """What each job says it does, by its number."""
        return dict(re.findall(r"^(?:Job|localrule) (\d+): (.+)$", self.text(), re.MULTILINE))

    def done(self) -> list[str]:
        """Numbers of the jobs that are done."""
        return re.findall(r"^Finished jobid: (\d+)", self.text(), re.MULTILINE)

    def running(self) -> list[str]:
        """What the jobs that are running say they do."""
        done = set(self.done())
        return [told for number, told in self.begun().items() if number not in done]

    def over(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def end(self, number: signal.Signals) -> None:
        """Send a signal to all its processes at once, and wait until they are gone."""
        everyone = psutil.Process(self.process.pid).children(recursive=True)
        os.killpg(self.process.pid, number)
        for process in everyone if number == signal.SIGKILL else ():
            if process.is_running():  # in a group of its own
                process.kill()
        gone = psutil.wait_procs(everyone, PATIENCE_S)
        self.process.wait(PATIENCE_S)
        if gone[1]:
            raise RuntimeError(f"{number.name}: still there: {gone[1]}")
        if any((self.folder / ".snakemake").glob("locks/*")):
            unlock = [*SNAKEMAKE, "--unlock", "--config", f"study={self.study}"]
            subprocess.run(unlock, cwd=self.folder, check=True, capture_output=True)


def copy_checkout(source: Path, folder: Path) -> None:
    """Copy what a run needs of a checkout; nothing that it has built."""
    folder.mkdir(parents=True)
    for name in PARTS:
        if (source / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source / name, folder / name, ignore=ignored)
        else:
            shutil.copy(source / name, folder / name)


def follow(folder: Path, options: argparse.Namespace) -> list[float]:
    """Run to the end; seconds from the first job to the end of each, and to the end of all.

    Raises RuntimeError: it failed.
    """
    start = time.monotonic()
    ends: list[float] = []
    with Run(folder, options) as run:
        while not run.over():
            if not run.begun():
                start = time.monotonic()
            ends += [time.monotonic() - start] * (len(run.done()) - len(ends))
            time.sleep(0.1)
    ends += [time.monotonic() - start] * (len(run.done()) - len(ends))
    if run.process.returncode:
        raise RuntimeError(f"{run.folder}: the run failed:\n{run.text()[-3000:]}")
    return [*ends, time.monotonic() - start]


def moments(ends: Sequence[float], kills: int, seed: int) -> list[Moment]:
    """A random moment in each of as many equal parts of a run as there are kills."""
    generator = random.Random(seed)
    drawn = [(part + generator.random()) / kills * ends[-1] for part in range(kills)]
    last = max(0, len(ends) - 4)  # two jobs are left to be killed in, whose ends are near
    done = [min(last, sum(end <= at for end in ends[:-1])) for at in drawn]
    return [Moment(n, at - ([0.0, *ends])[n]) for n, at in zip(done, drawn, strict=True)]


def come(run: Run, total: int, moment: Moment) -> bool:
    """Wait for a moment; whether it came before the run was over.

    A run that is faster than the unbroken one is past it when its next job is done.
    """
    began = None
    while not run.over():
        left = run.left()
        if left is not None and run.begun() and total - left >= moment.done:
            began = began or time.monotonic()
            if total - left > moment.done or time.monotonic() - began >= moment.seconds:
                return True
        time.sleep(0.02)
    return False


def kill_often(folder: Path, options: argparse.Namespace, total: int, at: Sequence[Moment]) -> int:
    """Kill a run at these moments, then let it end; returns how many kills came."""
    came = 0
    for number, moment in enumerate(at):
        with Run(folder, options) as run:
            if not come(run, total, moment):
                break
            kind = signal.Signals[f"SIG{options.signals[number % len(options.signals)]}"]
            running, left = run.running(), run.left()
            run.end(kind)
        came += 1
        done = f"{total - (left or 0)} of {total} jobs done"
        told = f"kill {came} of {len(at)}: {kind.name}, {done}; running: "
        print(told + ("; ".join(running) or "none"), flush=True)
    follow(folder, options)
    return came


def unbroken_run(source: Path, folder: Path, options: argparse.Namespace) -> list[float]:
    """Make the unbroken run, or recall it; returns when its jobs ended."""
    recorded = folder / TIMELINE
    if not recorded.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        copy_checkout(source, folder)
        ends = follow(folder, options)
        recorded.write_text(json.dumps(ends), encoding="utf-8")
    return json.loads(recorded.read_text("utf-8"))


def kill_test(source: Path, options: argparse.Namespace) -> int:
    """The whole test on a checkout; returns the exit status."""
    whole, killed = options.folder / "unbroken", options.folder / "killed"
    ends = unbroken_run(source, whole, options)
    total = len(ends) - 1
    print(f"unbroken: {total} jobs in {ends[-1]:.0f} s", flush=True)
    shutil.rmtree(killed, ignore_errors=True)
    copy_checkout(source, killed)
    start = time.monotonic()
    came = kill_often(killed, options, total, moments(ends, options.kills, options.seed))
    print(f"killed: {time.monotonic() - start:.0f} s in all")
    pairs = [(killed / part, whole / part) for part in MADE]
    apart = [line for pair in pairs for line in differences(*pair)]
    files = sum(len(compared(pair[0])) for pair in pairs)
    print(*apart, sep="\n", end="\n" * bool(apart))
    print(f"{came} of {options.kills} kills; {files - len(apart)} of {files} files the same bytes")
    return 0 if came == options.kills and not apart else 1


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="to work in")
    parser.add_argument("targets", nargs="*", default=["tables"], help="of Snakemake")
    parser.add_argument("--study", default="phantom")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument(
        "--signals",
        type=lambda text: text.split(","),
        default=["KILL"],
        help="sent in turn, such as KILL,TERM,INT; the others are sent as a batch system or a "
        "terminal would, to all processes",
    )
    return parser.parse_args(words)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # and end what was started
    sys.exit(kill_test(ROOT, arguments()))
