# What every rule file uses: the plan of the configured study, paths, and how a stage is called.
# Functions live here, in common_data.smk and in common_report.smk, and rules elsewhere.

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(workflow.basedir))

from hermes.registry import RegistryError, nearest, read_yaml
from hermes.sources import source_files
from hermes.study import load_plan, names_in

for key in config:
    known = read_yaml(Path(workflow.basedir) / "config/config.yaml")
    if key not in known:
        raise WorkflowError(f"--config {key}: no such setting{nearest(key, known)}")

if not isinstance(config["protocol"] or {}, dict):
    raise WorkflowError(
        f"--config protocol={config['protocol']}: give switches and their values, such as "
        "'protocol={split: reference}'"
    )

CARDS = Path(workflow.basedir) / "config/datasets"

try:
    PLAN = load_plan(
        Path(workflow.basedir) / "config",
        config["study"],
        without=names_in(config["without"]),
        protocol=config["protocol"] or {},
    )
    ACCEPT = names_in(config["accept"])
    if PLAN.study.kind == "real":
        from hermes.download.needs import check_accept

        check_accept(ACCEPT, [path.stem for path in CARDS.glob("*.yaml")])
except RegistryError as error:
    raise WorkflowError(str(error)) from None

if PLAN.study.kind == "phantom" and PLAN.study.protocol.split == "reference":
    raise WorkflowError(
        f"study {PLAN.study.name}: protocol split: reference follows lists of real patients, and the "
        "phantom has none of them; take split: paper, or a study of the real datasets"
    )

STUDY = PLAN.study.name
DATA = f"data/{STUDY}"
RESULTS = f"results/{STUDY}"
STAGE = f"{sys.executable} workflow/scripts/stage.py"
WORKERS = PLAN.study.workers
CASE_MB = 4000  # memory that preparing the largest scans takes: benchmarks/memory.py
ARCHIVES = "data/archives"  # fetched once for every study
LISTS = "data/reference/split_lists.json"  # the published ones, for every study


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


def preprocessing(dataset):
    """Values of the preprocess stage for a dataset."""
    return {
        "dataset": dataset,
        "canonical": f"{DATA}/canonical/{dataset}",
        "folder": f"{DATA}/preprocessed/{dataset}",
        "classes": len(PLAN.cards[dataset].labels),
        "spacing_mm": PLAN.spacing_mm(dataset),
        "keep_native_z": dataset in PLAN.study.preprocess.keep_native_z,
        "intensity": PLAN.intensity(dataset),
        "seed": PLAN.study.seed,
        "body_crop": dataset in PLAN.study.preprocess.body_crop,
    }


def blocks_of(dataset):
    """Tables of the blocks that share a dataset's cases; none where one job does them all."""
    shares = PLAN.study.preprocess.blocks
    count = shares.get(dataset, shares.get("default", 1))
    folder = f"{DATA}/preprocessed/{dataset}"
    return [f"{folder}/block_{i + 1}_of_{count}.tsv" for i in range(count) if count > 1]


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
GPUS = min(1, gpus()) if config["gpus"] == "auto" else int(config["gpus"])
GPU = min(1, GPUS)  # whatever is not a training takes one at most
if config["gpus"] == "auto":
    workflow.global_resources.setdefault("gpu", gpus())


def ranks_of(run):
    """Processes that share a training: what its settings say, else one for each GPU it asks for."""
    return PLAN.training(run)["ranks"] or max(1, GPUS)


def switched_on(key):
    """Whether a switch of the configuration is on; the command line gives words."""
    word = str(config[key]).lower()
    if word not in ("true", "false"):
        raise WorkflowError(f"configuration: {key}: {config[key]!r}: say true or false")
    return word == "true"


STRICT = switched_on("strict")
