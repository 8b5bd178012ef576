"""Draft a card for a folder of NIfTI images and references: patterns, label values, modality.

Only what files say is filled in. What a person must say stays open, and the schema refuses the card
until the structures have names.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path, PurePosixPath

from hermes.card_check import TODO
from hermes.card_check.labels import MANY_VALUES, tabulate
from hermes.card_check.layout import lay_out
from hermes.card_check.listing import read_folder
from hermes.card_check.nearest import NIFTI, looks_like_reference, pairs, pairs_of
from hermes.card_check.scan import Scan, scan_all
from hermes.config.registry import RegistryError
from hermes.config.schema import Card
from hermes.convert.plausible import AIR_HU
from hermes.files.atomic import writing
from hermes.words import counted, some

TRIED = 40
"""References that the first images are paired with to find the patterns."""

CARD = """# A draft: {cases} found in {folder}.
name: {name}
title: {name}
description: not described yet
citation: none
licence: {{name: not stated}} # under which terms the scans may be used
access: {{kind: own, instructions: Put the scans into the raw folder.}}
role: sample # of your own; upstream and downstream are the paper's sets
region: not stated
clinical_target: not stated
modality_title: not stated
modality: {modality} # {why}
images:
  - pattern: {image}
    case: {case}
    patient: {patient} # what images of one patient share
    label: {{format: nifti, path: {reference}}}
labels: # names of config/structures.tsv; cases that have the value, and its median volume
{labels}sides: {{}} # such as {{liver: right, spleen: left}}: a check of the orientation
split: {{rule: fraction, train: 75, val: 5, test: 20}}
"""


def draft(name: str, folder: Path, out: Path, *, cases: int | None = None, workers: int = 1) -> str:
    """Write a card that a person completes, and say in a line what was found.

    Args:
        name: of the dataset, which is the card's name.
        folder: the scans.
        out: the card to write; one that is there already is left as it is.
        cases: read the first so many only for their values; None: all.
        workers: processes that read cases.

    Raises:
        RegistryError: a card of this name is there, or no images with references are found.
    """
    if out.exists():
        raise RegistryError(f"{out}: there is a card already; remove it, or take another name")
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise RegistryError(f"{name!r}: a name has letters, digits and _ only: it is part of paths")
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give the one that holds the scans")
    raw = read_folder(folder)
    nifti = [path for path in raw.files if path.endswith(NIFTI)]
    if not nifti:
        raise RegistryError(
            f"{folder}: no .nii or .nii.gz file in it; write the card by hand "
            "(docs/add-a-dataset.md says how, for DICOM series too)"
        )
    image, reference = _patterns(folder, nifti)
    card = _preliminary(name, image, reference)
    layout = lay_out(card, raw)
    jobs = [job for job in layout.jobs if job.sources]
    scans = scan_all(card, jobs[:cases], workers)
    modality, why = _modality(scans)
    case, patient = _names(image)
    text = CARD.format(
        name=name,
        folder=folder,
        cases=counted(len(jobs), "case"),
        modality=modality,
        why=why,
        image=json.dumps(image),
        case=json.dumps(case),
        patient=json.dumps(patient),
        reference=json.dumps(reference),
        labels="".join(_labels(folder, card, scans)),
    )
    with writing(out) as aside:
        aside.write_text(text, encoding="utf-8")
    return f"{out}: {counted(len(jobs), 'case')}, {image} with {reference}"


def _patterns(folder: Path, nifti: Sequence[str]) -> tuple[str, str]:
    """The patterns that pair most images with a reference of their own."""
    references = [path for path in nifti if looks_like_reference(path)]
    images = [path for path in nifti if not looks_like_reference(path)]
    found: Counter[tuple[str, str]] = Counter()
    known = set(nifti)
    for image in images[:3]:
        for reference in references[:TRIED]:
            for patterns in pairs(image, reference):
                if patterns not in found:
                    found[patterns] = len(_sound(patterns, known))
    best = max(found, key=found.__getitem__, default=None)
    if best is None or not found[best]:
        raise RegistryError(
            f"{folder}: {counted(len(images), 'image')} ({some(images)}) and "
            f"{counted(len(references), 'reference')} ({some(references)}), told apart by words "
            "such as seg, label, mask in their paths, do not pair up by name; put them into "
            "folders images/ and labels/ with the same names (links will do), or write the card "
            "by hand"
        )
    return _with_patients(best, known)


def _with_patients(patterns: tuple[str, str], known: set[str]) -> tuple[str, str]:
    """Give patients a placeholder where cases lie in a folder of theirs, or in one of many."""
    image, reference = patterns
    for folder in PurePosixPath(image).parts[:-1]:
        if "{" in folder or folder not in PurePosixPath(reference).parts:
            continue
        before = image.index(folder) < image.index("{case}")
        wider = _wider(image, folder, before), _wider(reference, folder, before)
        if len(_sound(wider, known)) > len(_sound(patterns, known)):
            return wider
    return patterns


def _wider(pattern: str, folder: str, before: bool) -> str:
    """The pattern with a placeholder for a folder, whose cases' own comes before or behind it."""
    if before:
        return pattern.replace("{case}", "{scan}").replace(folder, "{patient}")
    return pattern.replace("{case}", "{patient}").replace(folder, "{scan}")


def _names(image: str) -> tuple[str, str]:
    """A card's `case` and `patient`, of the placeholders that its pattern has."""
    return ("{patient}_{scan}", "{patient}") if "{scan}" in image else ("{case}", "{case}")


def _sound(patterns: tuple[str, str], known: set[str]) -> list[tuple[str, str]]:
    return [
        (image, reference)
        for image, reference in pairs_of(patterns, known)
        if looks_like_reference(reference) and not looks_like_reference(image)
    ]


def _preliminary(name: str, image: str, reference: str) -> Card:
    """A card that takes every value, to read the files with."""
    label = {"format": "nifti", "path": reference}
    source = {"pattern": image, "case": _names(image)[0], "patient": "-", "label": label}
    unsaid = dict.fromkeys(
        ("title", "description", "citation", "region", "clinical_target", "modality_title"), "-"
    )
    return Card.model_validate(
        {
            **unsaid,
            "name": name,
            "licence": {"name": "-"},
            "access": {"kind": "own", "instructions": "-"},
            "role": "sample",
            "modality": "unknown",
            "images": [source],
            "labels": [{"value": 1, "structure": TODO}],
            "unlisted_values": "background",
            "split": {"rule": "all_test"},
        }
    )


def _modality(scans: Sequence[Scan]) -> tuple[str, str]:
    lows = [entry.image.low for entry in scans if entry.image]
    if lows and sum(low < AIR_HU for low in lows) * 2 > len(lows):
        return "ct", f"values down to {min(lows):g}, as Hounsfield units of air"
    return "unknown", "ct, pet, t1, t2 or cine, if it is one of these"


def _labels(folder: Path, card: Card, scans: Sequence[Scan]) -> Iterator[str]:
    """A line per value found, open for its structure."""
    found = [entry for entry in tabulate(card, scans).values() if entry.cases]
    if not found or len(found) > MANY_VALUES:
        raise RegistryError(
            f"{folder}: {counted(len(found), 'value')} in the references of "
            f"{counted(len(scans), 'case')}: not label volumes; "
            + next((entry.reason for entry in scans if entry.reason), "look at the files")
        )
    for entry in sorted(found, key=attrgetter("value")):
        named = f"{{value: {entry.value}, structure: {TODO}_{entry.value}}}"
        yield f"  - {named} # {counted(len(entry.cases), 'case')}, {entry.median_ml:.1f} ml\n"
