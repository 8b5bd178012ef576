"""The quality page of a study: every dataset with a mark, what was found, and how it looks.

One file without anything from elsewhere: pictures and charts stand in the page.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from hermes.atomic import writing
from hermes.quality.duplicates import CHECK, find_duplicates
from hermes.quality.facts import DatasetFacts
from hermes.quality.finding import Finding, read_findings, worst, write_findings
from hermes.quality.measurements import read_measurements
from hermes.report.protocol import points
from hermes.report.provenance import commit
from hermes.report.quality_sections import MARKS, Dataset, section
from hermes.tables import read_tsv
from hermes.words import some

logger = logging.getLogger(__name__)

TEMPLATE = "quality.html.j2"

SPLIT_LEVELS = {"protocol": "ok", "mended": "note", "missing": "warning", "unused": "warning"}
"""Of the topics of a split's notes."""


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
    splits: list[str],
    notes: list[str],
    html: str | Path,
    tsv: str | Path,
) -> None:
    """Write the page and the table of findings of a study.

    Args:
        facts: per dataset, `DatasetFacts`.
        study: `study`, `title`, `label`, `config_sha256`.
        protocol, preprocess: of `hermes.report.protocol.points`.
        measured, measured_structures, rejected, findings, pictures, splits, notes: per dataset,
            the files of the earlier stages.
        html: page to write.
        tsv: table to write, columns of `hermes.quality.finding`.
    """
    datasets = [
        Dataset(
            DatasetFacts.model_validate(facts[index]),
            read_measurements(measured[index], measured_structures[index]),
            read_tsv(rejected[index]),
            {row["case"]: row["split"] for row in read_tsv(splits[index])},
            json.loads(Path(pictures[index]).read_text(encoding="utf-8")),
            [*read_findings(findings[index]), *split_notes(facts[index]["name"], notes[index])],
        )
        for index in range(len(facts))
    ]
    add_duplicates(datasets)
    everything = [finding for each in datasets for finding in each.gravest_first()]
    write_findings(tsv, everything)
    with writing(html) as aside:
        aside.write_text(render(datasets, study, protocol, preprocess), encoding="utf-8")
    marks = Counter(MARKS[worst(each.findings)][1].lower() for each in datasets)
    logger.info("%s: %s", study["study"], ", ".join(f"{n} {word}" for word, n in marks.items()))


def split_notes(dataset: str, path: str | Path) -> list[Finding]:
    """What the split has to say; numbers are checked elsewhere."""
    found = []
    for row in read_tsv(path):
        names = row["patients"].split(",") if row["patients"] else []
        text = f"{row['note']}: {some(names)}" if names else row["note"]
        if row["topic"] != "count":
            level = SPLIT_LEVELS[row["topic"]]
            found.append(Finding(dataset, "", level, "split", text))
    return found


def add_duplicates(datasets: Sequence[Dataset]) -> None:
    """Add to each dataset what it has twice, or in common with another."""
    found = find_duplicates(
        {each.name: each.cases for each in datasets}, {each.name: each.split for each in datasets}
    )
    for each in datasets:
        own = [finding for finding in found if finding.dataset == each.name]
        text = "no scan and no reference occurs twice, here or in another dataset of the study"
        each.findings += own or [Finding(each.name, "", "ok", CHECK, text)]


def render(
    datasets: Sequence[Dataset], study: Mapping, protocol: Mapping, preprocess: Mapping
) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    modalities = dict.fromkeys(case.modality for each in datasets for case in each.cases)
    return environment.get_template(TEMPLATE).render(
        study=study,
        commit=commit(),
        datasets=[section(each) for each in datasets],
        protocol=points(protocol, preprocess, [each.name for each in datasets], list(modalities)),
        shared=list(
            {
                f.message: f
                for each in datasets
                for f in each.findings
                if f.check == CHECK and f.severity
            }.values()
        ),
    )
