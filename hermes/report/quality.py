"""The quality page of a study: every dataset with a mark, what was found, and how it looks.

One file without anything from elsewhere: pictures and charts stand in the page.
"""

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import jinja2

from hermes.files.atomic import writing
from hermes.files.tables import read_tsv
from hermes.origin import commit
from hermes.quality.duplicates import CHECK, find_duplicates
from hermes.quality.facts import DatasetFacts
from hermes.quality.finding import Finding, read_findings, worst, write_findings
from hermes.quality.measurements import read_measurements
from hermes.report.protocol import points
from hermes.report.quality_sections import MARKS, WITHIN_PATIENT, Dataset, section
from hermes.split.rule import SplitError
from hermes.split.stage import assign_cases
from hermes.words import counted, some

logger = logging.getLogger(__name__)

TEMPLATE = "quality.html.j2"

SPLIT_LEVELS = {
    "protocol": "ok",
    "count": "note",
    "mended": "note",
    "missing": "warning",
    "unused": "warning",
}
"""Of the topics of a split's notes."""

DRAWN = ("fraction", "official_test")
"""Rules of a split that draw patients."""


def run(
    *,
    facts: list[dict],
    study: dict,
    protocol: dict,
    preprocess: dict,
    measured: list[str],
    measured_structures: list[str],
    rejected: list[str],
    findings: list[str],
    pictures: list[str],
    splits: list[dict],
    lists: list[str],
    trained: list[str],
    html: str | Path,
    tsv: str | Path,
) -> None:
    """Write the page and the table of findings of a study.

    Args:
        facts: per dataset, `DatasetFacts`.
        study: `study`, `title`, `label`, `config_sha256`.
        protocol, preprocess: of `hermes.report.protocol.points`.
        measured, measured_structures, rejected, findings, pictures: per dataset, the files of the
            earlier stages.
        splits: per dataset `protocol`, `rule` and `seed` of its split. It is made anew here, for
            the split stage refuses a dataset whose counts are wrong, and the page shows it.
        lists: per dataset the file of published lists that its split follows; "": none.
        trained: datasets that networks are trained on whatever they are tested on.
        html: page to write.
        tsv: table to write, columns of `hermes.quality.finding`.
    """
    datasets = [
        Dataset(
            DatasetFacts.model_validate(facts[index]),
            read_measurements(measured[index], measured_structures[index]),
            read_tsv(rejected[index]),
            json.loads(Path(pictures[index]).read_text(encoding="utf-8")),
            findings=read_findings(findings[index]),
        )
        for index in range(len(facts))
    ]
    for each, how, published in zip(datasets, splits, lists, strict=True):
        add_split(each, how, published)
    add_duplicates(datasets, trained)
    everything = [finding for each in datasets for finding in each.gravest_first()]
    write_findings(tsv, everything)
    drawn = [
        each.name
        for each, how in zip(datasets, splits, strict=True)
        if how["rule"]["rule"] in DRAWN
    ]
    with writing(html) as aside:
        page = render(datasets, study, protocol, preprocess, drawn)
        aside.write_text(page, encoding="utf-8")
    marks = Counter(MARKS[worst(each.findings)][1].lower() for each in datasets)
    logger.info("%s: %s", study["study"], ", ".join(f"{n} {word}" for word, n in marks.items()))


def add_split(dataset: Dataset, how: Mapping, lists: str) -> None:
    """Add to a dataset its split and what that has to say; numbers are checked elsewhere."""
    rows = [case.row for case in dataset.cases]
    try:
        table, notes = assign_cases(dataset.name, rows, **how, lists=lists)
    except SplitError as error:
        text = str(error).removeprefix(f"{dataset.name}: ")
        dataset.findings.append(Finding(dataset.name, "", "error", "split", text))
        return
    dataset.split = {row["case"]: row["split"] for row in table}
    for note in notes:
        text = f"{note.note}: {some(note.patients)}" if note.patients else note.note
        level = SPLIT_LEVELS[note.topic]
        dataset.findings.append(Finding(dataset.name, "", level, "split", text))
    dataset.findings += _within_patient(dataset)


def _within_patient(dataset: Dataset) -> list[Finding]:
    """Patients of whom one part is trained on and another tested on."""
    sides = defaultdict(set)
    for case in dataset.cases:
        sides[case.patient].add(dataset.split[case.name])
    shared = [patient for patient, held in sides.items() if held >= {"train", "test"}]
    if not shared:
        return []
    text = (
        f"{WITHIN_PATIENT} ({counted(len(shared), 'patient')}: {some(shared)}): scores do not say "
        "how well a new patient is segmented"
    )
    return [Finding(dataset.name, "", "note", "split", text)]


def add_duplicates(datasets: Sequence[Dataset], trained: Collection[str]) -> None:
    """Add to each dataset what it has twice, or in common with another."""
    found = find_duplicates(
        {each.name: each.cases for each in datasets},
        {each.name: each.split for each in datasets},
        trained,
    )
    for each in datasets:
        own = [finding for finding in found if finding.dataset == each.name]
        text = "no scan and no reference occurs twice, here or in another dataset of the study"
        each.findings += own or [Finding(each.name, "", "ok", CHECK, text)]


def render(
    datasets: Sequence[Dataset],
    study: Mapping,
    protocol: Mapping,
    preprocess: Mapping,
    drawn: Sequence[str],
) -> str:
    """The page as HTML; `drawn` are the datasets of which the split draws patients."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = [each.name for each in datasets]
    modalities = dict.fromkeys(case.modality for each in datasets for case in each.cases)
    return environment.get_template(TEMPLATE).render(
        study=study,
        commit=commit(),
        datasets=[section(each) for each in datasets],
        protocol=points(protocol, preprocess, names, list(modalities), drawn),
        shared=list(
            {
                f.message: f
                for each in datasets
                for f in each.findings
                if f.check == CHECK and f.severity
            }.values()
        ),
    )
