"""Judge a dataset: what was measured against anatomy, itself and what is published; and pictures.

The pictures are of the cases that tell most: those with the gravest findings, the most unusual by
volume, and a typical one.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hermes.files.atomic import writing
from hermes.files.nifti import read_nifti
from hermes.files.tables import read_tsv
from hermes.quality import flags
from hermes.quality.anatomy import Relation, load_relations, side_relations
from hermes.quality.facts import DatasetFacts
from hermes.quality.finding import Finding, gravest_first, write_findings
from hermes.quality.measurements import CaseMeasured, read_measurements
from hermes.quality.pairing import check_pairs
from hermes.quality.pictures import draw, shown_values
from hermes.quality.places import check_places
from hermes.quality.volumes import check_volumes, oddness, usual_volumes
from hermes.words import counted

logger = logging.getLogger(__name__)

PICTURES = 3
"""Cases shown per dataset."""


def run(
    *,
    facts: dict,
    canonical: str | Path,
    measured: str | Path,
    measured_structures: str | Path,
    rejected: str | Path,
    manifest: str | Path,
    anatomy: str | Path,
    findings: str | Path,
    pictures: str | Path,
) -> None:
    """Judge one dataset and draw some of its cases.

    Args:
        facts: what cards and study say, `DatasetFacts`.
        canonical: folder of the convert stage.
        measured, measured_structures: tables of the measuring stage.
        rejected: convert's table of the cases left out.
        manifest: of the raw files; it says whether they were downloaded or are a person's own.
        anatomy: `config/anatomy.tsv`.
        findings: table to write, columns of `hermes.quality.finding`.
        pictures: JSON to write: a list of case, level and caption (what is in doubt), alt, image
            (a data address) and legend (title and colour of the structures that it shows).
    """
    known = DatasetFacts.model_validate(facts)
    cases = read_measurements(measured, measured_structures)
    source = json.loads(Path(manifest).read_text("utf-8"))["source"]
    found = judge(known, cases, read_tsv(rejected), load_relations(anatomy), source)
    write_findings(findings, found)
    shown = [
        _picture(known, Path(canonical), case) | {"level": level, "caption": caption}
        for case, level, caption in telling_cases(cases, found)
    ]
    with writing(pictures) as aside:
        aside.write_text(json.dumps(shown), encoding="utf-8")
    grave = [finding for finding in found if finding.severity > 1]
    for finding in grave:
        logger.warning("%s %s: %s", known.name, finding.case, finding.message)
    logger.info("%s: %s", known.name, counted(len(grave), "finding"))


def judge(
    facts: DatasetFacts,
    cases: Sequence[CaseMeasured],
    rejected: Sequence[dict[str, str]],
    relations: Sequence[Relation],
    source: str,
) -> list[Finding]:
    """All findings on one dataset, the gravest first, with a line `ok` for every sound check.

    `source` of the raw files is "copy" where a person brought them, which may be another edition.
    """
    number = counted(len(cases), "image")
    checks = {
        "counts": (flags.check_counts(facts, cases, rejected, source), f"{number}, as expected"),
        "rejected": (flags.check_rejected(facts, cases, rejected), "no case was left out"),
        "references": (
            flags.check_references(facts, cases),
            "every structure occurs, and no reference is empty",
        ),
        "pairing": (check_pairs(facts, cases), ""),
        "position": (check_places(facts, cases, relations), ""),
        "volumes": (
            check_volumes(facts, cases, [*relations, *side_relations(facts.sides)]),
            "no volume far from the dataset's own or adults'",
        ),
        "spacing": (flags.check_spacing(facts, cases), "no spacing or field of view stands out"),
        "grey values": (
            flags.check_grey_values(facts, cases),
            "units and values under the reference are plausible",
        ),
        "conversion": (flags.check_remarks(facts, cases), "the conversion had nothing to remark"),
    }
    found = []
    for name, (findings, sound) in checks.items():
        if not findings and sound:
            findings = [Finding(facts.name, "", "ok", name, sound)]
        found += findings
    return gravest_first(found)


def telling_cases(
    cases: Sequence[CaseMeasured], findings: Sequence[Finding]
) -> list[tuple[CaseMeasured, str, str]]:
    """Cases to show, level and caption: in doubt first, then the unusual, a typical one last."""
    usual = usual_volumes(cases)
    odd = {case.name: oddness(case, usual) for case in cases}
    doubt: dict[str, Finding] = {}
    for finding in findings:  # the gravest come first
        if finding.case and finding.severity > 1:
            doubt.setdefault(finding.case, finding)
    richness = max((len(case.structures) for case in cases), default=0)
    rich = [case for case in cases if len(case.structures) >= 0.8 * richness]
    typical = min(rich, key=lambda case: (odd[case.name], case.name), default=None)
    order = list(doubt)
    rest = [case for case in cases if case is not typical or case.name in doubt]
    rest.sort(
        key=lambda case: (
            order.index(case.name) if case.name in doubt else len(order),
            typical is not None and case.patient == typical.patient,
            -odd[case.name],
            case.name,
        )
    )
    words = "furthest from the usual volumes" if len(cases) > PICTURES else ""
    shown = [
        (case, doubt[case.name].level, doubt[case.name].message)
        if case.name in doubt
        else (case, "ok", words)
        for case in _other_patients(rest)[: PICTURES - 1]
    ]
    if typical is not None and typical not in [case for case, _, _ in shown]:
        shown.append((typical, "ok", "nearest to the usual volumes" if words else ""))
    return shown


def _other_patients(cases: Sequence[CaseMeasured]) -> list[CaseMeasured]:
    """The first case of each patient, then the others."""
    firsts: dict[str, CaseMeasured] = {}
    for case in cases:
        firsts.setdefault(case.patient, case)
    leading = list(firsts.values())
    return leading + [case for case in cases if case is not firsts[case.patient]]


def _picture(facts: DatasetFacts, canonical: Path, case: CaseMeasured) -> dict[str, Any]:
    scan = read_nifti(canonical / f"{case.name}.nii.gz")
    path = canonical / f"{case.name}_label.nii.gz"
    label = read_nifti(path, dtype=np.uint8).array if case.has_reference else None
    colours = [each.colour for each in facts.labels]
    drawn = "with the reference" if label is not None else "without a reference"
    return {
        "case": case.name,
        "alt": f"Axial, coronal and sagittal slice of {facts.title} {case.name}, {drawn}",
        "image": draw(scan, label, case, colours),
        "legend": [
            [facts.labels[value - 1].title, facts.labels[value - 1].colour]
            for value in shown_values(label, case)
        ],
    }
