"""What the quality page says of one dataset: its mark, its findings, its numbers and charts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hermes.quality.facts import DatasetFacts, LabelFacts
from hermes.quality.finding import Finding, figure, gravest_first, span, worst
from hermes.quality.measurements import CaseMeasured, Extent
from hermes.quality.places import UNSEEN
from hermes.quality.volumes import Usual, rate, usual_volumes
from hermes.report import quality_charts as charts
from hermes.report.protocol import MODALITY_NAMES, window_text
from hermes.words import counted, some

SHOWN = 12
"""Findings of a level that the page lists; the rest are in the table beside it."""

UNITS = {"ct": "HU", "pet": "SUV"}
"""Of grey values; those of MR have none."""

MARKS = {
    "error": ("stop", "Clear up first"),
    "warning": ("look", "Look at it"),
    "note": ("sound", "Sound"),
    "ok": ("sound", "Sound"),
}

WITHIN_PATIENT = "parts of one scan are trained on and tested on"
"""Begins the note on a split within patients, and stands in the overview."""


@dataclass
class Dataset:
    """All that the page knows of one dataset."""

    facts: DatasetFacts
    cases: list[CaseMeasured]
    rejected: list[dict[str, str]]
    pictures: list[dict[str, str]]
    split: dict[str, str] = field(default_factory=dict)  # case -> side
    findings: list[Finding] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.facts.name

    def gravest_first(self) -> list[Finding]:
        """Findings, the gravest first."""
        return gravest_first(self.findings)


def section(dataset: Dataset) -> dict[str, Any]:
    """What the template says of one dataset."""
    found = dataset.gravest_first()
    mark, word = MARKS[worst(found)]
    levels = Counter(finding.level for finding in found)
    doubts = [finding for finding in found if finding.severity > 1]
    head = doubts[0] if doubts else None
    return {
        "facts": dataset.facts,
        "mark": mark,
        "word": word,
        "levels": levels,
        "headline": _headline(head, levels),
        "caveats": caveats(found),
        "unseen": any(f.message.endswith(UNSEEN) for f in found),
        "more": max(0, len(doubts) - 1),
        "groups": [(level, *_shown(found, level)) for level in ("error", "warning", "note")],
        "passed": [finding for finding in found if finding.level == "ok"],
        "numbers": numbers(dataset),
        "pictures": dataset.pictures,
        "charts": _charts(dataset),
        "axis": charts.volume_axis(_scale(dataset)),
        "structures": structures(dataset),
        "preparation": preparation(dataset),
    }


def _headline(head: Finding | None, levels: Mapping[str, int]) -> str:
    if head:
        return f"{head.case}: {head.message}" if head.case else head.message
    notes = f", {counted(levels['note'], 'note')}" if levels["note"] else ""
    return f"nothing in doubt: {counted(levels['ok'], 'check')} passed{notes}"


def caveats(findings: Sequence[Finding]) -> list[str]:
    """What no mark says, and everybody should know: unseen directions, splits within patients."""
    said = [f.message for f in findings if f.message.endswith(UNSEEN)]
    within = any(f.message.startswith(WITHIN_PATIENT) for f in findings)
    return said + ([WITHIN_PATIENT] if within else [])


@dataclass(frozen=True)
class Line:
    """Findings that say the same, as one line of the page."""

    level: str
    check: str
    case: str
    message: str


def folded(findings: Sequence[Finding]) -> list[Line]:
    """One line for findings with one message, and for those of one check on one case."""
    cases: dict[tuple[str, str, str], list[str]] = {}
    for f in findings:
        cases.setdefault((f.level, f.check, f.message), []).append(f.case)
    lines: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (level, check, message), names in cases.items():
        key = level, check, tuple(names) if any(names) else (message,)
        lines.setdefault(key, []).append(message)
    return [
        Line(level, check, "" if messages[0] in names else some(names), "; ".join(messages))
        for (level, check, names), messages in lines.items()
    ]


def _shown(findings: Sequence[Finding], level: str) -> tuple[list[Line], int]:
    """The first lines of a level, and how many more there are."""
    of_level = folded([finding for finding in findings if finding.level == level])
    return of_level[:SHOWN], max(0, len(of_level) - SHOWN)


def numbers(dataset: Dataset) -> list[tuple[str, str, str]]:
    """What, how many are here, how many are expected ("" where that is not known)."""
    cases, expected = dataset.cases, dataset.facts.expected
    empty = sum(case.has_reference and not case.structures for case in cases)
    parts = Counter(dataset.split.values())
    classes = {name for case in cases for name in case.structures}

    def wanted(key: str) -> str:
        unsure = " (unsure)" if key in dataset.facts.unsure else ""
        return f"{expected[key]}{unsure}" if key in expected else ""

    return [
        ("images", str(len(cases)), wanted("images")),
        ("patients", str(len({case.patient for case in cases})), wanted("patients")),
        ("classes", str(len(classes)), str(len(dataset.facts.labels))),
        ("empty references", str(empty), wanted("empty")),
        ("left out", str(len(dataset.rejected)), "0"),
        ("train / val / test", " / ".join(str(parts[p]) for p in ("train", "val", "test")), ""),
    ]


def _charts(dataset: Dataset) -> list[tuple[str, str]]:
    """Title and SVG of the charts of a dataset's images."""
    quantiles: dict[str, list] = {}
    for case in dataset.cases:
        quantiles.setdefault(case.modality, []).append(case.quantiles)
    units = " or ".join(dict.fromkeys(UNITS.get(name, "the scanner's units") for name in quantiles))
    modalities = ", ".join(MODALITY_NAMES.get(name, name) for name in quantiles)
    spacing = [case.spacing_mm for case in dataset.cases]
    size = [case.size for case in dataset.cases]
    return [
        ("Spacing, mm", charts.axis_chart(spacing, "mm", "Spacing")),
        ("Size, voxels", charts.axis_chart(size, "voxels", "Size")),
        (
            f"Grey values, {modalities}, in {units}; share of voxels (square root), median and "
            "middle 90 % of the scans",
            charts.grey_chart(quantiles),
        ),
    ]


def _scale(dataset: Dataset) -> charts.LogScale:
    return charts.volume_scale(
        extent.volume_ml for case in dataset.cases for extent in case.structures.values()
    )


def structures(dataset: Dataset) -> list[dict[str, Any]]:
    """A row per class: how often, how large, and a strip of all volumes."""
    usual, scale = usual_volumes(dataset.cases), _scale(dataset)
    referenced = sum(case.has_reference for case in dataset.cases)
    rows = []
    for label in dataset.facts.labels:
        extents = {
            case.name: case.structures[label.structure]
            for case in dataset.cases
            if label.structure in case.structures
        }
        bounds = dataset.facts.range_ml(label)
        row = {
            "label": label,
            "present": f"{len(extents)} of {referenced}",
            "cut": sum(extent.cut for extent in extents.values()),
            "adults": _plausible(bounds, list(extents.values())),
            "median": "",
            "strip": "",
        }
        if extents:
            typical = usual[label.structure]
            row["median"] = figure(typical.median_ml)
            row["strip"] = charts.volume_strip(
                scale,
                [extent.volume_ml for extent in extents.values() if not extent.cut],
                [extent.volume_ml for extent in extents.values() if extent.cut],
                _doubted(dataset, label, extents, typical),
                bounds,
                typical.median_ml,
            )
        rows.append(row)
    return rows


def _plausible(bounds: tuple[float, float] | None, extents: Sequence[Extent]) -> str:
    """Volumes that a whole structure may have; a cut one that is small is not judged."""
    if bounds is None:
        return "any"
    all_cut = extents and all(extent.cut for extent in extents)
    return "cut: not judged" if all_cut else span(*bounds)


def _doubted(
    dataset: Dataset, label: LabelFacts, extents: Mapping[str, Extent], typical: Usual
) -> dict[str, float]:
    """Volumes that got a warning, by case."""
    return {
        case: extent.volume_ml
        for case, extent in extents.items()
        if rate(dataset.facts, label, extent, typical)[0] == "warning"
    }


def preparation(dataset: Dataset) -> str:
    """How the dataset's images are prepared, in words."""
    facts = dataset.facts
    modalities = dict.fromkeys(case.modality for case in dataset.cases)
    windows = [
        f"{MODALITY_NAMES.get(name, name)} {window_text(facts.intensity[name])}"
        for name in modalities
        if name in facts.intensity
    ]
    grid = f"resampled to {facts.spacing_mm:g} mm" if facts.spacing_mm else ""
    return "; ".join(filter(None, [grid, *windows]))
