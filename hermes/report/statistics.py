"""Dataset statistics of a study, beside what the paper's Table 5 says of each dataset."""

import csv
import logging
from collections import Counter
from pathlib import Path
from statistics import median

from hermes.files.atomic import writing
from hermes.files.tables import read_tsv
from hermes.provenance.sidecar import Chain, Made, write_sidecar

logger = logging.getLogger(__name__)

COLUMNS = (
    "dataset",
    "body_region",
    "modality",
    "clinical_target",
    "classes",
    "size",
    "role",
    "patients",
    "train",
    "val",
    "test",
    "within_patient",
    "rejected",
    "median_spacing_mm",
    "median_size",
    "paper_size",
)


def run(
    *,
    datasets: list[dict],
    cases: list[str],
    rejected: list[str],
    splits: list[str],
    study: dict,
    csv: str | Path,
    markdown: str | Path,
    sidecar: str | Path,
    names: list[str] | None = None,
    links: dict[str, str] | None = None,
    settings: dict | None = None,
) -> None:
    """Render the dataset table of a study.

    Args:
        datasets: per dataset the card's facts: title, region, modality, clinical_target, classes,
            role, paper_size, within_patient (parts of one scan on both sides of the split;
            absent: no).
        cases, rejected, splits: per dataset, the files of the convert and split stages.
        study: facts for the sidecar.
        csv, markdown, sidecar: files to write.
        names: of the datasets, for the sidecar's chain.
        links: kind -> path with {dataset}, of the files that the chain lists
            (`hermes.provenance.sidecar.Chain`).
        settings: what the workflow was told, kept in the sidecar.
    """
    rows = [
        dataset_row(facts, read_tsv(case), read_tsv(bad), read_tsv(split))
        for facts, case, bad, split in zip(datasets, cases, rejected, splits, strict=True)
    ]
    _write_csv(Path(csv), rows)
    with writing(markdown) as aside:
        aside.write_text(_markdown(rows, study), encoding="utf-8")
    made = Made(
        outputs=[csv, markdown],
        inputs=[*cases, *rejected, *splits],
        chain=Chain(links or {}, names or []),
        settings=settings or {},
    )
    write_sidecar(sidecar, study, made)
    logger.info("%d datasets, %d images", len(rows), sum(int(row["size"]) for row in rows))


def dataset_row(
    facts: dict, cases: list[dict], rejected: list[dict], split: list[dict]
) -> dict[str, str | int]:
    """One row: the card's facts, the images found, and how they are split.

    Raises:
        ValueError: the split does not hold exactly the cases.
    """
    if {row["case"] for row in cases} != {row["case"] for row in split}:
        raise ValueError(f"{facts['title']}: the split and the cases disagree; run the split again")
    parts = Counter(row["split"] for row in split)
    return {
        "dataset": facts["title"],
        "body_region": facts["region"],
        "modality": facts["modality"],
        "clinical_target": facts["clinical_target"],
        "classes": facts["classes"],
        "size": len(cases),
        "role": facts["role"],
        "patients": len({row["patient"] for row in cases}),
        "train": parts["train"],
        "val": parts["val"],
        "test": parts["test"],
        "within_patient": "yes" if facts.get("within_patient", False) else "no",
        "rejected": len(rejected),
        "median_spacing_mm": _medians(cases, "spacing_mm"),
        "median_size": _medians(cases, "size"),
        "paper_size": facts["paper_size"],
    }


def _medians(cases: list[dict], column: str) -> str:
    """Median per axis, as "z y x"."""
    axes = zip(*([float(value) for value in row[column].split()] for row in cases), strict=True)
    return " ".join(f"{median(values):.4g}" for values in axes)


def _write_csv(path: Path, rows: list[dict]) -> None:
    with writing(path) as aside, open(aside, "w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _markdown(rows: list[dict], study: dict) -> str:
    lines = ["| " + " | ".join(str(row[key]) for key in COLUMNS) + " |" for row in rows]
    head = "| " + " | ".join(key.replace("_", " ") for key in COLUMNS) + " |"
    rule = "|" + "---|" * len(COLUMNS)
    title = f"# Dataset statistics\n\n{study['title']}. **{study['label']}.**"
    return "\n".join([title, "", head, rule, *lines]) + "\n"
