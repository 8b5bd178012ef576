"""What a check has to say of a dataset or of one of its cases."""

import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from hermes.files.tables import read_tsv, write_tsv

LEVELS = ("ok", "note", "warning", "error")
"""From what was checked and is sound to what must be cleared up before the data are used."""

CONTENT = ("pairing", "position", "adult volumes", "published volumes")
"""Checks of what a scan shows: of equally grave findings theirs come first."""

COLUMNS = ("dataset", "case", "level", "check", "message")


@dataclass(frozen=True)
class Finding:
    """One line of `quality.tsv`. `case` is empty where the whole dataset is meant."""

    dataset: str
    case: str
    level: str
    check: str
    message: str

    @property
    def severity(self) -> int:
        return LEVELS.index(self.level)


def gravest_first(findings: Iterable[Finding]) -> list[Finding]:
    """Sorted by level; of one level what concerns the content first, in the order of `CONTENT`."""
    last = len(CONTENT)
    return sorted(
        findings,
        key=lambda f: (-f.severity, CONTENT.index(f.check) if f.check in CONTENT else last),
    )


def worst(findings: Iterable[Finding]) -> str:
    """The gravest level; `ok` where there is none."""
    return LEVELS[max((finding.severity for finding in findings), default=0)]


def read_findings(path: str | Path) -> list[Finding]:
    """Read a table of findings."""
    return [Finding(**row) for row in read_tsv(path)]


def write_findings(path: str | Path, findings: Iterable[Finding]) -> None:
    """Write a table of findings, `COLUMNS`."""
    write_tsv(path, COLUMNS, (dict(zip(COLUMNS, astuple(f), strict=True)) for f in findings))


def figure(value: float) -> str:
    """A quantity with three significant digits and no exponent: 0.0423, 12.3, 1,530."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{round(value, 2 - math.floor(math.log10(abs(value)))):,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def span(low: float, high: float) -> str:
    """Two quantities as a range."""
    return f"{figure(low)}–{figure(high)}"


def times(ratio: float) -> str:
    """A ratio in words: "0.5 times", "12 times"."""
    return f"{ratio:.1f} times" if ratio >= 0.95 else f"{ratio:.2g} times"
