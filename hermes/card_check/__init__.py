"""Check a dataset's card against a folder of scans: what fits, what does not, what to change.

Files are found and read by the functions of `hermes.convert`, so the answer is the converter's own.
Nothing is written.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermes.card_check.finding import Finding
from hermes.card_check.images import check_images, describe_images
from hermes.card_check.labels import check_labels, describe_labels, refused, tabulate
from hermes.card_check.layout import Layout, lay_out
from hermes.card_check.listing import check_manifest, group, read_folder
from hermes.card_check.patients import check_patients, describe_patients
from hermes.card_check.references import without_reference
from hermes.card_check.scan import Scan, scan_all
from hermes.config.registry import RegistryError, Structure, load_card, read_yaml
from hermes.config.schema import Card
from hermes.convert.patterns import compile_pattern
from hermes.convert.raw import RawFolder
from hermes.words import counted

__all__ = ["Finding", "Report", "check"]

TODO = "TODO"
"""Beginning of the structures that a drafted card leaves open."""


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        findings: what does not fit, and what a person should look at.
        sections: title -> lines that describe the files, the images, the labels and the split.
        verdict: one line.
    """

    findings: tuple[Finding, ...]
    sections: dict[str, list[str]]
    verdict: str

    @property
    def fits(self) -> bool:
        """Whether the dataset can be used as it is."""
        return not any(finding.problem for finding in self.findings)


def check(
    card: Path,
    folder: Path,
    structures: dict[str, Structure],
    *,
    cases: int | None = None,
    workers: int = 1,
) -> Report:
    """Check a card against a folder of scans.

    Args:
        card: the card, a YAML file.
        folder: the raw folder.
        structures: of `config/structures.tsv`.
        cases: read the first so many cases only; None: all.
        workers: processes that read cases.

    Raises:
        RegistryError: the card is not valid.
        FileNotFoundError: no such folder, or no file in it.
    """
    what = _load(card, structures)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give the one that holds the scans")
    raw = read_folder(folder)
    if not raw.files:
        raise FileNotFoundError(f"{folder}: no file in it")
    layout = lay_out(what, raw)
    scans = scan_all(what, layout.jobs[:cases], workers)
    return _report(what, raw, layout, scans)


def _load(path: Path, structures: dict[str, Structure]) -> Card:
    """The card; structures that a draft leaves open are all named at once."""
    if unnamed := _unnamed(read_yaml(path)):
        raise RegistryError(
            f"{path}: labels: name the structures of the values {', '.join(unnamed)}, each a line "
            "of config/structures.tsv, or move the values to ignored_values"
        )
    card = load_card(path, structures)
    labels = [source.label for source in card.images]
    patterns = [source.pattern for source in card.images] + [label.path for label in labels]
    for pattern in [*patterns, *(p for label in labels for p in label.maps.values())]:
        try:
            compile_pattern(pattern)
        except re.error as error:
            raise RegistryError(
                f"{path}: {pattern}: {error}; a name in braces begins with a letter"
            ) from error
    return card


def _unnamed(card: Any) -> list[str]:
    labels = card.get("labels") if isinstance(card, dict) else None
    entries = [entry for entry in labels or [] if isinstance(entry, dict)]
    return [
        str(entry.get("value"))
        for entry in entries
        if str(entry.get("structure", "")).startswith(TODO)
    ]


def _report(card: Card, raw: RawFolder, layout: Layout, scans: list[Scan]) -> Report:
    table = tabulate(card, scans)
    complete = len(scans) == len(layout.jobs)
    lacking, explained = without_reference(layout, raw)
    out = {scan.case.name for scan in scans if scan.step} | explained
    kept = [job.case for job in layout.jobs if job.case.name not in out]
    findings = (
        *layout.findings,
        *check_manifest(raw),
        *lacking,
        *refused(scans, explained),
        *check_labels(card, scans, table, complete),
        *check_images(card, scans),
        *check_patients(card, kept),
    )
    images = sum(scan.image is not None for scan in scans)
    labels = sum(scan.values is not None for scan in scans)
    every = f"of {len(layout.jobs):,} read"
    sections = {
        "Files": _describe_files(raw, layout),
        f"Images ({images:,} {every})": describe_images(scans),
        f"Labels ({labels:,} {every})": describe_labels(table),
        f"Patients of the {counted(len(kept), 'case')} that can be used": describe_patients(
            card, kept
        ),
    }
    return Report(findings, sections, _verdict(card, findings, kept, layout, scans))


def _describe_files(raw: RawFolder, layout: Layout) -> list[str]:
    size = sum(size for size, _ in raw.files.values()) / 1e6
    lines = [f"{counted(len(raw.files), 'file')}, {size:,.1f} MB"]
    lines += [
        f"{found.pattern}: {len(found.paths):,} found, {counted(found.cases, 'case')}"
        for found in layout.matched
    ]
    if layout.unused:
        lines.append(f"not used: {counted(len(layout.unused), 'file')}")
        lines += [f"  {line}" for line in group(layout.unused)]
    return lines


def _verdict(
    card: Card, findings: Sequence[Finding], kept: list, layout: Layout, scans: list[Scan]
) -> str:
    problems = sum(finding.problem for finding in findings)
    others = len(findings) - problems
    also = f"; {counted(others, 'thing')} to look at" if others else ""
    if problems:
        return f"The card does not fit yet: {counted(problems, 'problem')}{also}."
    part = "" if len(scans) == len(layout.jobs) else f" (of the first {len(scans):,}; --cases)"
    classes = counted(len(card.labels), "structure")
    return f"The card fits: {counted(len(kept), 'case')}{part}, {classes}{also}."
