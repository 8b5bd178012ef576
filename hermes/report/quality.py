"""The quality page of a study: every dataset with a mark, what was found, and how it looks.

One file without anything from elsewhere: pictures and charts stand in the page.
"""

import json
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
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
from hermes.split.rule import SplitError
from hermes.split.stage import assign_cases
from hermes.tables import read_tsv
from hermes.words import some

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
    with writing(html) as aside:
        aside.write_text(render(datasets, study, protocol, preprocess), encoding="utf-8")
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
