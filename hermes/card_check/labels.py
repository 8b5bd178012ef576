"""The label values of a dataset beside those that its card lists."""

import re
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hermes.card_check.finding import Finding, skeleton
from hermes.card_check.scan import Scan
from hermes.config.schema import Card
from hermes.words import counted, some

MANY_VALUES = 100
"""ASSUME: a reference with more values that the card does not list is no label volume."""

MOST_SHOWN = 60
"""Values described in a line each."""


@dataclass
class Value:
    """A published value: what the card makes of it, and where it was found."""

    value: int
    meaning: str  # structure, "ignored", "background" or "not in the card"
    voxels: int = 0
    cases: list[str] = field(default_factory=list)
    millilitres: list[float] = field(default_factory=list)  # per case that has it

    @property
    def median_ml(self) -> float:
        """Median volume over the cases that have it."""
        return statistics.median(self.millilitres)


def tabulate(card: Card, scans: Sequence[Scan]) -> dict[int, Value]:
    """Every value that the card lists or a reference holds, but background 0; listed ones first."""
    table = {
        value: Value(value, label.structure)
        for label in card.labels
        for value in (label.value, *label.also)
    }
    table |= {value: Value(value, "ignored") for value in sorted(card.ignored_values) if value}
    other = "background" if card.unlisted_values == "background" else "not in the card"
    for scan in scans:
        for value, voxels in (scan.values or {}).items():
            if value or value in table:
                entry = table.setdefault(value, Value(value, other))
                entry.voxels += voxels
                entry.cases.append(scan.case.name)
                entry.millilitres.append(voxels * scan.voxel_ml)
    return table


def describe_labels(table: dict[int, Value]) -> list[str]:
    """A line per value: meaning, cases, voxels, median volume; values read as background in one."""
    if not any(entry.cases for entry in table.values()):
        return []
    rows = [("value", "meaning", "cases", "voxels", "median ml")]
    shown = [entry for entry in table.values() if entry.meaning != "background"]
    for entry in shown[:MOST_SHOWN]:
        median = f"{entry.median_ml:.1f}" if entry.cases else "-"
        found = f"{len(entry.cases):,}", f"{entry.voxels:,}"
        rows.append((str(entry.value), entry.meaning, *found, median))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line(row, widths) for row in rows]
    if len(shown) > MOST_SHOWN:
        lines.append(f"and {len(shown) - MOST_SHOWN:,} values more")
    others = sorted(entry.value for entry in table.values() if entry.meaning == "background")
    if others:
        lines.append(f"read as background: {some(map(str, others), 20)}")
    return lines


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    value, meaning, *numbers = row
    right = "  ".join(text.rjust(width) for text, width in zip(numbers, widths[2:], strict=True))
    return f"{value:>{widths[0]}}  {meaning:<{widths[1]}}  {right}".rstrip()


def check_labels(
    card: Card, scans: Sequence[Scan], table: dict[int, Value], complete: bool
) -> Iterator[Finding]:
    """Compare what the references hold with the card.

    Args:
        card: the card.
        scans: the cases that were read.
        table: of `tabulate`.
        complete: every case was read, so what was not found is not there.
    """
    if not any(scan.values is not None for scan in scans):
        return
    unlisted = [*_unlisted(card, table)]
    yield from unlisted
    if not unlisted or any(table[label.value].cases for label in card.labels):
        yield from _never_found(card, table, complete)
    yield from _empty(card, scans)
    yield from _warned(scans)


def _unlisted(card: Card, table: dict[int, Value]) -> Iterator[Finding]:
    unlisted = sorted((e for e in table.values() if e.meaning == "not in the card"), key=_voxels)
    if not unlisted:
        return
    cases = {name for entry in unlisted for name in entry.cases}
    if len(unlisted) > MANY_VALUES:
        values = [entry.value for entry in unlisted]
        yield Finding(
            f"references hold {len(unlisted):,} values that the card does not list ({min(values)} "
            f"to {max(values)}): an image or a probability map, not labels",
            "point the label's `path` to label volumes; for maps of 0 to 255 `format: probability`",
        )
        return
    listed = [entry for entry in table.values() if entry.meaning in card.structures]
    if [entry.value for entry in unlisted] == [255] and not any(e.cases for e in listed):
        yield Finding(
            "references are masks of 0 and 255, but the card does not list 255",
            "write 255 as the structure's `value`",
        )
        return
    found = [f"{e.value} ({counted(e.voxels, 'voxel')} in {len(e.cases):,})" for e in unlisted]
    yield Finding(
        f"{counted(len(cases), 'case')} with values that the card does not list: {some(found, 10)}",
        "name them in `labels`, in `also` or in `ignored_values`; `unlisted_values: background` "
        "reads all such values as background",
    )


def _voxels(entry: Value) -> int:
    return -entry.voxels


def _never_found(card: Card, table: dict[int, Value], complete: bool) -> Iterator[Finding]:
    missing = []
    for label in card.labels:
        values = [label.value, *label.also]
        if not any(table[value].cases for value in values if value in table):
            missing.append(f"{'/'.join(map(str, values))} ({label.structure})")
    if missing:
        yield Finding(
            f"in no reference{'' if complete else ' that was read'}: {some(missing, 10)}",
            "correct the values or take the structures out of `labels`: there is nothing to learn "
            "them from",
            problem=complete,
        )


def _empty(card: Card, scans: Sequence[Scan]) -> Iterator[Finding]:
    listed = {value for value, canonical in card.canonical_values.items() if canonical}
    read = [scan for scan in scans if scan.values is not None]
    empty = [scan.case.name for scan in read if not listed & set(scan.values or ())]
    expected = card.published.empty if card.published else None
    if empty and len(empty) < len(read) and len(empty) != expected:
        yield Finding(
            f"{len(empty):,} of {counted(len(read), 'case')} without any annotated voxel: "
            f"{some(empty)}",
            "nothing, if nothing is to be seen in them",
            problem=False,
        )


def _warned(scans: Sequence[Scan]) -> Iterator[Finding]:
    """The converter's warnings, those of many cases once; of most cases they are the card's."""
    told: dict[str, list[str]] = defaultdict(list)
    for scan in scans:
        for warning in scan.warnings:
            told[warning].append(scan.case.name)
    usable = sum(not scan.step for scan in scans)
    for warning, names in told.items():
        side = " lies on the patient's " in warning
        yield Finding(
            f"{warning}: {len(names):,} of {counted(usable, 'case')}, {some(names)}",
            "correct `sides` or the values; if the card is right, the headers are mirrored"
            if side
            else "look at these cases",
            problem=side and 2 * len(names) > usable,
        )


def refused(scans: Sequence[Scan], explained: set[str]) -> Iterator[Finding]:
    """Cases that the converter leaves out, alike reasons together.

    Args:
        scans: the cases that were read.
        explained: names of those that another finding speaks of.
    """
    alike: dict[tuple[str, str], list[Scan]] = defaultdict(list)
    for scan in scans:
        if scan.step and scan.step != "values" and scan.case.name not in explained:
            alike[scan.step, skeleton(re.sub(r"\S*/\S*|\S+\.nii\S*", "*", scan.reason))].append(
                scan
            )
    for group in alike.values():
        first = group[0]
        names = some([scan.case.name for scan in group], 5)
        yield Finding(f"{counted(len(group), 'case')} ({names}): {first.reason}", _advice(first))


def _advice(scan: Scan) -> str:
    if scan.step == "image" and scan.case.image.frames:
        return "correct `frames` in the card, or the table that it names"
    if scan.step == "image" and scan.dimensions > 3:
        return "name the frames to use in the card (`frames`), or give files of one volume"
    peek = scan.peek
    if scan.step == "label" and peek:
        if not peek.whole and peek.low >= 0 and peek.high <= 1:
            return "for probability maps `format: probability` with `maps`; else the original label"
        if peek.low < 0 or peek.high > 1000:
            return "point the label's `path` to the references: these values are an image's"
        if peek.whole and peek.same_size:
            return "if the label's header is what is wrong, `geometry: image` takes the image's"
        return "look whether the label's `path` pairs the right files"
    return "repair the file, or take it out: the converter leaves the case out and goes on"
