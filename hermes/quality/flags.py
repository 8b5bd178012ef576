"""Checks of a dataset as a whole: numbers, references, spacing, grey values, convert's remarks.

Every function takes facts and measurements and returns what it found; nothing is read or written.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from hermes.convert.plausible import implausible, one_spacing
from hermes.quality.facts import DatasetFacts
from hermes.quality.finding import Finding
from hermes.quality.measurements import CaseMeasured
from hermes.quality.volumes import ENOUGH, MAD_TO_SIGMA
from hermes.split.counts import differences
from hermes.words import counted, parted, some

MANY_REJECTED = 0.1
"""ASSUME: share of cases left out from which on something is wrong with the whole copy."""

ISOLATED = 1.5
"""ASSUME: ratio of a spacing to the nearest other one in the dataset that makes it stand alone."""

VARIED = 1.3
"""ASSUME: ratio of the upper to the lower quartile of a spacing from which on one alone is nothing
to wonder at."""

EXTENT_MM = (30.0, 2300.0)
"""ASSUME: field of view, from a vertebra to a tall person; a stack of slices may be thin."""

HU_FLOOR = 15.0
"""ASSUME: least spread of an organ's mean CT number between people, in HU."""

HU_FAR = 5.0
"""ASSUME: robust z of an organ's mean CT number that makes it odd; contrast agent varies."""


def check_counts(
    facts: DatasetFacts,
    cases: Sequence[CaseMeasured],
    rejected: Sequence[Mapping[str, str]],
    source: str,
) -> list[Finding]:
    """Numbers of images, patients and empty images against what should be there."""
    rows = [case.row for case in cases]
    findings = []
    for each in differences(rows, facts.expected, source=source, unsure=facts.unsure):
        level, why = "warning", ""
        if each.unsure:
            level, why = "note", "; sources disagree on this number"
        elif rejected and each.found < each.expected:
            why = f"; {counted(len(rejected), 'case')} could not be used, see below"
        if each.grave:
            level, why = "error", f"{why}; the split is refused, and so is training"
        findings.append(Finding(facts.name, "", level, "counts", each.text + why))
    return findings


def check_rejected(
    facts: DatasetFacts, cases: Sequence[CaseMeasured], rejected: Sequence[Mapping[str, str]]
) -> list[Finding]:
    """Cases that convert left out, each with its reason; many are a finding of their own."""
    findings = [
        Finding(facts.name, row["case"], "warning", "rejected", f"left out: {row['reason']}")
        for row in rejected
    ]
    share = len(rejected) / max(1, len(cases) + len(rejected))
    if share > MANY_REJECTED:
        text = f"{len(rejected)} of {len(cases) + len(rejected)} cases could not be used"
        findings.insert(0, Finding(facts.name, "", "error", "rejected", text))
    return findings


def check_references(facts: DatasetFacts, cases: Sequence[CaseMeasured]) -> list[Finding]:
    """Structures that no case has, references without any voxel, cases without a reference."""
    referenced = [case for case in cases if case.has_reference]
    findings = []
    for label in facts.labels:
        if referenced and not any(label.structure in case.structures for case in referenced):
            text = f"{label.name} (value {label.value}) is in no case: a wrong label value?"
            findings.append(Finding(facts.name, "", "error", "references", text))
    if not referenced:
        text = "no case has a reference"
        return [*findings, Finding(facts.name, "", "warning", "references", text)]
    if without := [case.name for case in cases if not case.has_reference]:
        text = f"{counted(len(without), 'case')} without a reference: {some(without)}"
        findings.append(Finding(facts.name, "", "note", "references", text))
    empty = [case.name for case in referenced if not case.structures]
    if not empty:
        return findings
    if all(label.kind == "lesion" for label in facts.labels):
        text = f"{len(empty)} of {len(referenced)} references are empty: scans without a lesion"
        return [*findings, Finding(facts.name, "", "note", "references", text)]
    text = "the reference holds no annotated voxel"
    return findings + [Finding(facts.name, name, "warning", "references", text) for name in empty]


def check_spacing(facts: DatasetFacts, cases: Sequence[CaseMeasured]) -> list[Finding]:
    """Spacings that stand alone, fields of view that no scanner has, and resampled copies."""
    findings = []
    values = np.array([case.spacing_mm for case in cases])  # [case, z y x]
    if facts.varying_spacing and (text := one_spacing([case.spacing_mm for case in cases])):
        findings.append(Finding(facts.name, "", "error", "spacing", text))
    for axis, letter in enumerate("zyx"):
        low, high = np.percentile(values[:, axis], (25, 75))
        level = "note" if high > VARIED * low else "warning"
        for index in _isolated(values[:, axis]):
            text = (
                f"spacing along {letter} {values[index, axis]:.4g} mm; no other scan is within a "
                f"factor of {ISOLATED:g} (median {np.median(values[:, axis]):.4g} mm)"
            )
            findings.append(Finding(facts.name, cases[index].name, level, "spacing", text))
    for case in cases:
        extent = np.multiply(case.spacing_mm, case.size)
        if np.median(extent) < EXTENT_MM[0] or extent.max() > EXTENT_MM[1]:
            text = f"field of view {_axes(extent)} mm (z y x): the spacing can hardly be right"
            findings.append(Finding(facts.name, case.name, "warning", "spacing", text))
    return findings


def _axes(values: Iterable[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


def _isolated(values: np.ndarray) -> list[int]:
    """Indices of values without another one near; none where there are few."""
    if len(values) < 5:
        return []
    logs = np.log(values)
    distance = np.abs(logs[:, None] - logs[None, :])
    np.fill_diagonal(distance, np.inf)
    return np.flatnonzero(distance.min(axis=1) > math.log(ISOLATED)).tolist()


def check_grey_values(facts: DatasetFacts, cases: Sequence[CaseMeasured]) -> list[Finding]:
    """Grey values that are not in the unit they should be in, or that do not fit the reference."""
    findings = []
    for case in cases:
        low, high = case.quantiles[0], case.quantiles[-1]
        if oddity := implausible(case.modality, low, high):
            text = f"{low:.4g} to {high:.4g}: {oddity.what}"
            findings.append(Finding(facts.name, case.name, "warning", "grey values", text))
    return findings + _misplaced_references(facts, cases)


def _misplaced_references(facts: DatasetFacts, cases: Sequence[CaseMeasured]) -> list[Finding]:
    """CT in which half of the organs have an odd mean: is the reference another scan's?"""
    scans = [case for case in cases if case.modality == "ct"]
    odd: Counter[str] = Counter()
    judged: Counter[str] = Counter()
    for label in facts.labels:
        holders = [case for case in scans if label.structure in case.structures]
        if label.kind == "lesion" or len(holders) < ENOUGH:
            continue
        means = np.array([case.structures[label.structure].mean_intensity for case in holders])
        distance = np.abs(means - np.median(means))
        sigma = max(MAD_TO_SIGMA * float(np.median(distance)), HU_FLOOR)
        judged.update(case.name for case in holders)
        odd.update(c.name for c, d in zip(holders, distance, strict=True) if d > HU_FAR * sigma)
    return [
        Finding(
            facts.name,
            name,
            "warning",
            "grey values",
            f"mean CT number unusual under {number} of {judged[name]} structures: does the "
            "reference belong to this scan?",
        )
        for name, number in odd.items()
        if number >= max(2, judged[name] / 2)
    ]


def check_remarks(facts: DatasetFacts, cases: Sequence[CaseMeasured]) -> list[Finding]:
    """What convert remarked; a remark on many cases is said once."""
    remarks: dict[str, list[str]] = {}
    for case in cases:
        for remark in parted(case.row["warnings"]):
            remarks.setdefault(_kind(remark), []).append(f"{case.name}: {remark}")
    return [
        _remark(facts, kind, texts) for kind, texts in sorted(remarks.items(), key=lambda r: r[0])
    ]


def _kind(remark: str) -> str:
    """A remark with # for its numbers: the same for the same trouble."""
    return " ".join("#" if word[:1].isdigit() else word for word in remark.split())


def _remark(facts: DatasetFacts, kind: str, texts: Sequence[str]) -> Finding:
    if len(texts) == 1:
        case, _, remark = texts[0].partition(": ")
        return Finding(facts.name, case, "note", "conversion", remark)
    text = f"{counted(len(texts), 'case')}: {kind} (first {texts[0]})"
    return Finding(facts.name, "", "note", "conversion", text)
