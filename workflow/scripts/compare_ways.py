"""One study by Snakemake and by DVC, from nothing: are the results the same, and is either at rest?

    python workflow/scripts/compare_ways.py STUDY FOLDER

In FOLDER, which must not be there yet, clones of the last commit build the study:

    snakemake   by Snakemake, recorded by `dvc commit -f`
    dvc         by `dvc repro`, pushed to the remote FOLDER/remote
    pulled      by nothing but `make pull`, from that remote

After each of them Snakemake has nothing to do, `dvc status` is clean and `dvc repro` runs nothing.
The first two have the same bytes in every output, and the same `dvc.lock`, but for what tells of a
run (`same_bytes.py`). Exit status 1: something is not so; it is said.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from same_bytes import differences, tells_of_a_run

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow" / "dvc"))

from stages import file_of  # noqa: E402

BIN = str(Path(sys.executable).parent)


class WaysDiffer(RuntimeError):
    """Something that should hold does not; the message says what."""


@dataclass(frozen=True)
class Clone:
    """A clone of the repository in which one way is tried.

    Attributes:
        folder: where it lies.
        study: what is built.
        pipeline: the study's pipeline for DVC.
    """

    folder: Path
    study: str
    pipeline: str

    @classmethod
    def make(cls, source: Path, folder: Path, study: str) -> "Clone":
        """Clone what is committed at `source`, with the study's pipeline."""
        subprocess.run(["git", "clone", "--quiet", str(source), str(folder)], check=True)
        clone = cls(folder, study, file_of(study))
        if not (folder / clone.pipeline).is_file():
            clone.call("python", "workflow/dvc/stages.py", study)
        return clone

    def call(self, *command: str) -> str:
        """Run a command in the clone; its output is returned.

        Raises WaysDiffer: it fails, with the end of what it said.
        """
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command,
            check=False,
            cwd=self.folder,
            env={**os.environ, "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise WaysDiffer(f"{self.folder}: {' '.join(command)}\n{done.stdout[-4000:]}")
        return done.stdout

    def snakemake(self, *options: str) -> str:
        """Have Snakemake build everything of the study."""
        chosen = ("--config", f"study={self.study}", "--", "all")
        return self.call("snakemake", "--cores", "all", *options, *chosen)

    def at_rest(self) -> None:
        """Neither Snakemake nor DVC has anything to do.

        Raises WaysDiffer: one of them has.
        """
        planned = self.snakemake("--dry-run")
        if "Nothing to be done" not in planned:
            raise WaysDiffer(f"{self.folder}: Snakemake would run again:\n{planned[-4000:]}")
        status = self.call("dvc", "status", self.pipeline)
        if "up to date" not in status:
            raise WaysDiffer(f"{self.folder}: dvc status:\n{status}")
        again = self.call("dvc", "repro", self.pipeline)
        if "Running stage" in again:
            raise WaysDiffer(f"{self.folder}: dvc repro runs again:\n{again[-4000:]}")

    def lock(self) -> dict[str, Any]:
        """What DVC recorded, without hashes and sizes of what tells of a run."""
        path = self.folder / self.pipeline
        stages = yaml.safe_load(path.with_suffix(".lock").read_text(encoding="utf-8"))["stages"]
        for stage in stages.values():
            for entry in (*stage.get("deps", ()), *stage.get("outs", ())):
                if tells_of_a_run(self.folder / entry["path"]):
                    del entry["md5"], entry["size"]
        return stages


def by_snakemake(source: Path, folder: Path, study: str) -> Clone:
    """The study by Snakemake, recorded by DVC."""
    clone = Clone.make(source, folder / "snakemake", study)
    clone.snakemake()
    clone.call("dvc", "commit", "--force", clone.pipeline)
    clone.at_rest()
    return clone


def by_dvc(source: Path, folder: Path, study: str) -> Clone:
    """The study by DVC."""
    clone = Clone.make(source, folder / "dvc", study)
    clone.call("dvc", "repro", clone.pipeline)
    clone.at_rest()
    return clone


def by_pull(built: Clone, folder: Path) -> Clone:
    """The study as one who has nothing but the repository and the remote gets it."""
    for command in (
        ("dvc", "remote", "add", "--default", "--force", "compare", str(folder / "remote")),
        ("dvc", "push", built.pipeline),
        ("git", "add", "--all", str(Path(built.pipeline).parent), ".dvc"),
        ("git", *AUTHOR, "commit", "--quiet", "--message", "What was built"),
    ):
        built.call(*command)
    clone = Clone.make(built.folder, folder / "pulled", built.study)
    # in this environment, which a READY that make knows would have it set up anew for the clone
    clone.call("make", "pull", f"STUDY={clone.study}", f"BIN={BIN}", "READY=")
    clone.at_rest()
    return clone


AUTHOR = ("-c", "user.name=compare", "-c", "user.email=compare@localhost")


def same(one: Clone, other: Clone) -> None:
    """Two clones hold the same data and results.

    Raises WaysDiffer: files differ, or what DVC recorded of them.
    """
    found = [
        line
        for part in ("data", "results")
        for line in differences(one.folder / part, other.folder / part)
    ]
    ours, theirs = one.lock(), other.lock()
    found += [
        f"dvc.lock differs: {name}"
        for name in sorted(set(ours) | set(theirs))
        if ours.get(name) != theirs.get(name)
    ]
    if found:
        raise WaysDiffer(f"{one.folder} and {other.folder}:\n" + "\n".join(found))


def steps(source: Path, folder: Path, study: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every step by what it shows."""
    clones: dict[str, Clone] = {}

    def keep(name: str, make: Callable[[], Clone]) -> Callable[[], Any]:
        return lambda: clones.update({name: make()})

    yield "Snakemake", keep("snakemake", lambda: by_snakemake(source, folder, study))
    yield "dvc repro", keep("dvc", lambda: by_dvc(source, folder, study))
    yield "the same bytes", lambda: same(clones["snakemake"], clones["dvc"])
    yield "make pull", lambda: by_pull(clones["dvc"], folder)


def main(study: str, folder: str, source: Path = ROOT) -> int:
    """Try every way; returns the exit status."""
    target = Path(folder).resolve()
    target.mkdir(parents=True)
    for name, step in steps(source, target, study):
        begun = time.monotonic()
        try:
            step()
        except WaysDiffer as error:
            print(f"{name}: no\n{error}", file=sys.stderr)
            return 1
        print(f"{name}: yes, {time.monotonic() - begun:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2]))
