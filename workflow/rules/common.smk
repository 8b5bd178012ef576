# What every rule file uses: the plan of the configured study, paths, and how a stage is called.
# Functions live here and rules elsewhere.

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(workflow.basedir))

from hermes.registry import RegistryError
from hermes.sources import source_files
from hermes.study import load_plan



def names(value):
    """A list of the configuration; on the command line also words parted by commas or spaces."""
    return value.replace(",", " ").split() if isinstance(value, str) else list(value)


try:
    PLAN = load_plan(
        Path(workflow.basedir) / "config",
        config["study"],
        without=names(config["without"]),
        protocol=config["protocol"],
    )
except RegistryError as error:
    raise WorkflowError(str(error)) from None

STUDY = PLAN.study.name
DATA = f"data/{STUDY}"
RESULTS = f"results/{STUDY}"
STAGE = f"{sys.executable} workflow/scripts/stage.py"
WORKERS = PLAN.study.workers


wildcard_constraints:
    dataset="|".join(PLAN.cards),
    run="|".join(PLAN.runs),
    table="|".join(PLAN.tables) or "none",


def code(stage):
    """Source files of a stage: a changed algorithm reruns what depends on it, nothing else."""
    return source_files(f"hermes.{stage}", workflow.basedir)


def call(**values):
    """Arguments of a stage's `run`, as the JSON text that `stage.py` takes.

    Every rule gives two: `values`, a function of the wildcards alone, which Snakemake records and
    compares, so that an edit of the configuration reruns what it decides; and `paths`, a function of
    input, output and threads, which it does not.
    """
    return json.dumps(values, default=str)


def per_dataset(pattern):
    """Input function: a path per dataset of a run, in the run's order."""
    return lambda wildcards: [
        pattern.format(dataset=dataset) for dataset in PLAN.runs[wildcards.run].datasets
    ]


def gpus():
    """Number of GPUs here, without importing torch."""
    if config["device"] == "cpu" or not shutil.which("nvidia-smi"):
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


# auto: as many as this machine has; a cluster is told, for the submitting machine may have none
GPU = min(1, gpus()) if config["gpus"] == "auto" else int(config["gpus"])
if config["gpus"] == "auto":
    workflow.global_resources.setdefault("gpu", gpus())


def tables():
    """The tables of a study; the paper's also under the name that the configured study has."""
    own = [f"{RESULTS}/{name}.csv" for name in PLAN.tables]
    return (
        [*own, "results/table2.csv", "results/table5.csv"]
        if "table2" in PLAN.tables
        else own
    )


def everything():
    """What a study builds when no target is named."""
    if not PLAN.tables:
        raise WorkflowError(
            f"study {STUDY}: no table in config/tables.yaml scores it, so nothing would be trained; "
            f"add one with `study: {STUDY}`, or name a target"
        )
    pictures = [
        f"{RESULTS}/figures/overlay_{name}.png" for name in trained() if runs_on(name)
    ]
    return [*tables(), *pictures]


def trained():
    """Datasets of the study that some run trains on."""
    return [name for name, card in PLAN.cards.items() if card.role != "downstream"]


def scores(table):
    """Score files that a table is made of."""
    return [
        f"{RESULTS}/scores/{run}/{dataset}.tsv"
        for run, dataset in PLAN.tables[table].scored()
    ]


def models(table):
    """Descriptions of the models that a table compares."""
    runs = dict.fromkeys(run for run, _ in PLAN.tables[table].scored())
    return [f"{RESULTS}/models/{run}/model.json" for run in runs]


def table_layout(name):
    """A table as plain data: columns, and rows with the run of every dataset."""
    table = PLAN.tables[name]
    return {
        "title": table.title,
        "columns": [
            column.model_dump()
            | {"within_patient": PLAN.cards[column.dataset].split.within_patient}
            for column in table.columns
        ],
        "rows": [row.model_dump() for row in table.rows],
        "average": table.average,
        "left_out": list(table.left_out),
    }


def score_files(table):
    """Run -> dataset -> score file."""
    files = {}
    for run, dataset in PLAN.tables[table].scored():
        files.setdefault(run, {})[dataset] = f"{RESULTS}/scores/{run}/{dataset}.tsv"
    return files


def published(table):
    """The paper's numbers for a table; empty where it has none."""
    name = PLAN.tables[table].published
    return f"config/published/{name}" if name else ""


def study_facts():
    """What a sidecar says of the study."""
    settings = PLAN.study.model_dump(mode="json")
    text = json.dumps(
        [settings, {n: c.model_dump(mode="json") for n, c in PLAN.cards.items()}]
    )
    return {
        "study": STUDY,
        "title": PLAN.study.title,
        "label": PLAN.study.label,
        "protocol": PLAN.study.protocol.model_dump(),
        "seed": PLAN.study.seed,
        "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def expected(name):
    """How many patients and images a dataset should hold, and whether that is certain."""
    card = PLAN.cards[name]
    if PLAN.study.kind == "phantom":
        return {
            "expected": {"patients": PLAN.study.phantom.patients[name]},
            "exact": True,
        }
    counts = (
        card.published.model_dump(include={"patients", "images"})
        if card.published
        else {}
    )
    return {"expected": counts, "exact": card.role == "sample"}


def dataset_facts(name):
    """What the dataset table says of a card."""
    card = PLAN.cards[name]
    return {
        "title": card.title,
        "region": card.region,
        "modality": card.modality_title,
        "clinical_target": card.clinical_target,
        "classes": len(card.labels),
        "role": card.role,
        "within_patient": card.split.within_patient,
        "paper_size": card.published.size if card.published else "",
    }


def scored():
    """(run, dataset) pairs that any table of the study scores."""
    return [pair for table in PLAN.tables.values() for pair in table.scored()]


def runs_on(dataset):
    """Runs that a table of the study scores on a dataset."""
    return list(dict.fromkeys(run for run, name in scored() if name == dataset))
