"""Whether two runs gave the same bytes: `same_bytes.py FOLDER OTHER`, say two `results/phantom`.

Every file below the folders is compared, but for what tells of a run and not of its result: the
sidecar `x.json` of a table `x.csv` (date, commit), origins of networks (commit, machine), table 1
(measured times) and the page that shows it, the quality page (commit), and states of trainings.
Exit status 1: some differ; they are listed.
"""

import sys
from hashlib import file_digest
from pathlib import Path

MEASURED = "table1"
PAGE_OF_TABLES = "tables.html"
WITH_COMMIT = ("origin.json", "quality.html")
STATES = "checkpoints"


def main(folder: str, other: str) -> int:
    """Compare two folders; returns the exit status."""
    found = differences(Path(folder), Path(other))
    print("\n".join(found) or f"{len(compared(Path(folder)))} files, the same bytes")
    return 1 if found else 0


def compared(folder: Path) -> dict[str, Path]:
    """The files of a folder whose bytes a run decides, by their path in it.

    Raises NotADirectoryError: no such folder.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no such folder; run the study first")
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return {name: files[name] for name in sorted(files) if not tells_of_a_run(files[name])}


def tells_of_a_run(path: Path) -> bool:
    """Whether a file says when, where or by what code it was made, and so differs between runs."""
    sidecar = path.suffix == ".json" and path.with_suffix(".csv").exists()
    measured = path.stem == MEASURED or (
        path.name == PAGE_OF_TABLES and path.with_name(f"{MEASURED}.md").exists()
    )
    return sidecar or measured or path.name in WITH_COMMIT or path.parent.name == STATES


def differences(folder: Path, other: Path) -> list[str]:
    """What is in one folder alone, and what differs, a line each; none where all is the same."""
    ours, theirs = compared(folder), compared(other)
    lines = [f"only in {folder}: {name}" for name in sorted(set(ours) - set(theirs))]
    lines += [f"only in {other}: {name}" for name in sorted(set(theirs) - set(ours))]
    both = sorted(set(ours) & set(theirs))
    return lines + [f"differs: {name}" for name in both if _hash(ours[name]) != _hash(theirs[name])]


def _hash(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file_digest(file, "sha256").digest()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
