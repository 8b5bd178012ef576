"""What the files that a job leaves say of it: why it failed, and how long it took."""

import csv
import re
from pathlib import Path

LINE = re.compile(r"^\S+ \S+ (?P<level>[A-Z]+) (?P<text>.*)$")
"""A line of a stage's log, as `workflow/scripts/stage.py` writes it."""

FAILED = re.compile(r"^[a-z._]+ failed: ")
"""How a stage's last error begins; who reads the cause knows which one it is."""

MOST = 400
"""Characters of a cause that are shown."""

SILENT = "ended without a word on why; was it killed, or was memory short?"


def cause(log: Path, otherwise: str = "") -> str:
    """Why a job failed, in one line, from its log and those of the processes beside it.

    The last error is what ended it; else a warning in the last line, such as of a training that was
    told to stop; else what `otherwise` says, or the log's last line where no stage wrote it.
    """
    lines: list[str] = []
    for path in [*sorted(log.parent.glob(f"{log.name}.rank*")), log]:
        if path.is_file():
            lines += path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = [match for line in lines if (match := LINE.match(line))]
    errors = [match["text"] for match in found if match["level"] == "ERROR"]
    if errors:
        return _short(FAILED.sub("", errors[-1]))
    if found and found[-1]["level"] == "WARNING":
        return _short(found[-1]["text"])
    if otherwise:
        return _short(otherwise)
    spoken = [line for line in lines if line.strip()]
    return _short(spoken[-1]) if spoken and not found else SILENT


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST else f"{line[:MOST]} ..."


def seconds(benchmark: Path) -> float | None:
    """Wall-clock seconds of a job, from the file that Snakemake writes of it; None without one."""
    if not benchmark.is_file():
        return None
    with open(benchmark, encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    try:
        return float(rows[-1]["s"])
    except (IndexError, KeyError, ValueError):  # cut short, or another version's
        return None
