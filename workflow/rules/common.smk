# What the rule files use, namely the plan of the configured study, paths, and how a stage is called.
# Functions live here, in common_data.smk and in common_report.smk, and rules elsewhere.

import json
import logging
import os
import re
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(workflow.basedir))

# a full disk takes no log either: no traceback for each line of it
logging.raiseExceptions = False

from hermes.config.job_resources import known as known_rule
from hermes.config.job_resources import load_asks
from hermes.config.registry import RegistryError, nearest, read_yaml
from hermes.config.study import READ_BY_CONVERT, load_plan, names_in
from hermes.jobs.gpus import usable as usable_gpus
from hermes.jobs.strict import environment as pinned_kernels
from hermes.sources import source_files

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
    ASKS_FILE = Path(workflow.basedir) / "config/resources.yaml"
    ASKS = load_asks(ASKS_FILE, config["study"])
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
LOGS = f"logs/{STUDY}"
WORKERS = PLAN.study.workers
ARCHIVES = "data/archives"  # fetched once for every study
LISTS = "data/reference/split_lists.json"  # the published ones, for every study


wildcard_constraints:
    dataset="|".join(PLAN.cards),
    run="|".join(PLAN.runs),
    table="|".join(PLAN.tables) or "none",


def environment(wildcards):
    """The conda environment of every rule, where Snakemake deploys them (`--sdm conda`).

    Else none: a rule that names one has Snakemake call conda, deployed or not.
    """
    if workflow.deployment_settings.deployment_method:
        return str(Path(workflow.basedir) / "environment.yml")
    return None


# `python` of a rule is this one, unless Snakemake deploys the rules' environment
if not workflow.deployment_settings.deployment_method:
    shell.prefix(f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; ")


def memory(rule, processes=lambda wildcards: 1):
    """Resource function: memory of a job in MB on a machine, more with every attempt."""
    known_rule(ASKS_FILE, ASKS, rule)
    return lambda wildcards, attempt: ASKS[rule].megabytes(attempt) * processes(
        wildcards
    )


def minutes(rule):
    """Run time that a job of a rule is given."""
    known_rule(ASKS_FILE, ASKS, rule)
    return ASKS[rule].minutes


def code(stage):
    """Source files of a stage: a changed algorithm reruns what depends on it, nothing else."""
    return source_files(f"hermes.{stage}", workflow.basedir)


def call(**values):
    """Arguments of a stage's `run`, as the JSON text that `stage.py` takes.

    A rule has two such parameters. Snakemake records and compares `values`, a function of the
    wildcards alone, so that an edit of the configuration reruns what it decides; not `paths`, a
    function of input, output and threads.
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


def prediction(run, dataset):
    """Values of the predict stage for a run on a dataset."""
    return {
        "name": run,
        "dataset": dataset,
        "prediction": PLAN.study.predict.model_dump(exclude={"shards"}),
        **test_crop(),
    }


def predicting(input, manifest):
    """Paths of the predict stage; threads are the study's, as in training."""
    return {
        "model": input.model,
        "folder": str(Path(input.cases).parent),
        "split": input.split,
        "out": manifest,
        "device": config["device"],
        "gpus": taken(GPU),
        "threads": PLAN.study.train.threads,
        "strict": STRICT,
    }


def parts_of(dataset, shares, name):
    """Tables of the jobs that share a dataset's cases; none where one job does them all."""
    count = shares.get(dataset, shares.get("default", 1))
    return [f"{name}_{i + 1}_of_{count}.tsv" for i in range(count) if count > 1]


def blocks_of(dataset):
    """Tables of the blocks in which a dataset is preprocessed."""
    folder = f"{DATA}/preprocessed/{dataset}"
    return parts_of(dataset, PLAN.study.preprocess.blocks, f"{folder}/block")


def shards_of(run, dataset):
    """Tables of the shards in which a run predicts a dataset."""
    folder = f"{RESULTS}/predictions/{run}/{dataset}"
    return parts_of(dataset, PLAN.study.predict.shards, f"{folder}/shard")


def per_dataset(pattern):
    """Input function: a path per dataset of a run, in the run's order."""
    return lambda wildcards: [
        pattern.format(dataset=dataset) for dataset in PLAN.runs[wildcards.run].datasets
    ]


# auto: one a job, as many jobs at a time as this machine has; a cluster is told, for the submitting machine may
# have none. Which one a job takes is settled when it starts (hermes/jobs/gpus.py), for other runs may be here too.
if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", str(config["device"])):
    raise WorkflowError(
        f"configuration: device: {config['device']!r}: say auto, cpu, cuda or cuda:<n>"
    )
if not re.fullmatch(r"auto|[0-9]+", str(config["gpus"])):
    raise WorkflowError(
        f"configuration: gpus: {config['gpus']!r}: say auto, or a number"
    )
# cuda:1 and the like: jobs share it, and take none themselves
NAMED = ":" in config["device"]
HERE = 0 if config["device"] == "cpu" else 1 if NAMED else len(usable_gpus())
GPUS = min(1, HERE) if config["gpus"] == "auto" else int(config["gpus"])
GPU = min(1, GPUS)  # whatever is not a training takes one at most
if config["gpus"] == "auto":
    workflow.global_resources.setdefault("gpu", HERE)


def taken(count):
    """GPUs that a job keeps for itself, of so many that it asks for."""
    return 0 if NAMED else count


def ranks_of(run):
    """Processes that share a training: what its settings say, else one for each GPU it asks for."""
    return PLAN.training(run)["ranks"] or max(1, GPUS)


NODES = int(config["nodes"])
for name in PLAN.runs if NODES > 1 else []:
    if ranks_of(name) % NODES:
        raise WorkflowError(
            f"nodes={NODES}: {ranks_of(name)} processes of {name} cannot be shared by them alike; "
            "say gpus=... in all, a multiple of nodes"
        )


def across_nodes():
    """Resources of a training on several machines of a cluster, a task on each; else none.

    `mpi`: the job starts its processes by `srun` itself. GPUs are asked for by machine, in place of
    a number in all that SLURM might share out unequally.
    """
    if NODES == 1:
        return {}
    return {
        "mpi": "srun",
        "nodes": NODES,
        "tasks": NODES,
        "tasks_per_gpu": 0,  # else the plugin multiplies tasks by GPUs
        "cpus_per_task": lambda w, threads: threads // NODES,
        **({"gres": lambda w: f"gpu:{ranks_of(w.run) // NODES}"} if GPU else {}),
    }


def switched_on(key):
    """Whether a switch of the configuration is on; the command line gives words."""
    word = str(config[key]).lower()
    if word not in ("true", "false"):
        raise WorkflowError(f"configuration: {key}: {config[key]!r}: say true or false")
    return word == "true"


def look_when_jobs_end():
    """Have Snakemake look for jobs to start when one has ended, and at no other time.

    Its limit of 100 starts a second, which only a cluster's thousands of short jobs could reach, has each look followed
    by one more a second later, and so for good: after some hundred jobs it looks all the time. A limit that the user
    set stays.
    """
    limit = workflow.scheduler.job_rate_limiter
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


STRICT = switched_on("strict")
if STRICT:  # for every stage; jobs inherit it, and on a cluster each sets it anew
    os.environ.update(pinned_kernels())
