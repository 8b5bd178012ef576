# What every rule file uses: the plan of the configured study, paths, and how a stage is called.
# Functions live here and rules elsewhere.

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
from hermes.study import load_plan


def names(value):
    """A list of the configuration; on the command line also words parted by commas or spaces."""
    return (
        value.replace(",", " ").split() if isinstance(value, str) else list(value or ())
    )


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
        without=names(config["without"]),
        protocol=config["protocol"] or {},
    )
    ACCEPT = names(config["accept"])
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


def tables():
    """The tables of a study; the paper's also under the name that the configured study has."""
    own = [f"{RESULTS}/{name}.csv" for name in PLAN.tables]
    return (
        [*own, *(f"results/table{n}.csv" for n in (1, 2, 3, 5))]
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
    return [
        *tables(),
        *pictures,
        f"{RESULTS}/quality.html",
        f"{RESULTS}/LICENSES.md",
    ]


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
    cards = [PLAN.cards[dataset] for dataset in table.datasets()]
    return {
        "title": table.title,
        "columns": [asdict(column) for column in table.columns],
        "rows": [row.model_dump() for row in table.rows],
        "average": table.average,
        "reference": table.reference,
        "left_out": list(table.left_out),
        "within_patient": [c.title for c in cards if c.split.within_patient],
    }


def compared():
    """Networks that table 2 compares: a row each, a traditional one by the network of one dataset."""
    rows = PLAN.tables["table2"].rows if "table2" in PLAN.tables else ()
    runs = {row.model: PLAN.runs[next(iter(row.runs.values()))] for row in rows}
    return [
        {
            "model": model,
            "method": run.method,
            "backbone": run.backbone,
            "options": run.options,
            "each": len(run.datasets) == 1,
        }
        for model, run in runs.items()
    ]


def split_files(table):
    """Dataset -> split file, for the datasets of a table."""
    names = PLAN.tables[table].datasets()
    return {name: f"{RESULTS}/splits/{name}.tsv" for name in names}


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
        "preprocess": PLAN.study.preprocess.model_dump(
            mode="json", exclude={"blocks"}, exclude_none=True
        ),
        "seed": PLAN.study.seed,
        "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def expected(name):
    """How many patients, images and empty images a dataset should hold, and what is unsure of it."""
    known = PLAN.cards[name].published
    if PLAN.study.kind == "phantom":
        counts, unsure = {"patients": PLAN.study.phantom.patients[name]}, []
    else:
        keys = ("patients", "images", "empty")
        values = {key: getattr(known, key, None) for key in keys}
        counts = {key: n for key, n in values.items() if n is not None}
        unsure = known.unsure if known else []
    return {"expected": counts, "unsure": unsure}


def split_lists(name):
    """The published split lists, where a dataset's split follows them; empty elsewhere."""
    follows = PLAN.study.protocol.split == "reference"
    return LISTS if follows and PLAN.cards[name].split.reference else ""


def splitting(name):
    """How the split of a dataset is made."""
    return {
        "protocol": PLAN.study.protocol.split,
        "rule": PLAN.cards[name].split.model_dump(exclude={"fractions", "draws"}),
        "seed": PLAN.study.seed,
    }


def fraction_split(name, percent, draw):
    """The split of which only a part of the training patients is left; draws count from 1."""
    return f"{RESULTS}/splits/{name}_{percent:g}pct_{draw}.tsv"


def all_splits():
    """The split file of every dataset, and those of its fractions."""
    fractions = [
        fraction_split(name, percent, draw)
        for name, card in PLAN.cards.items()
        for percent in card.split.fractions
        for draw in range(1, 1 + (card.split.draws if percent < 100 else 1))
    ]
    return [*(f"{RESULTS}/splits/{name}.tsv" for name in PLAN.cards), *fractions]


def test_crop():
    """What is predicted of a test scan; the margin matters where it is cropped."""
    protocol = PLAN.study.protocol
    margin = 0 if protocol.test_crop == "none" else protocol.test_crop_margin
    return {"test_crop": protocol.test_crop, "test_crop_margin": margin}


def quality_facts(name):
    """What the quality report holds a dataset against.

    ASSUME: published spacings and volumes say nothing of the phantom, whose small structures are
    up to eight times larger than life (docs/phantom.md); its limits are widened by that.
    """
    card, phantom = PLAN.cards[name], PLAN.study.kind == "phantom"
    varying = card.published.varying_spacing if card.published else False
    return {
        "name": name,
        "title": card.title,
        "description": (
            "Synthetic patients, in the raw layout of this dataset."
            if phantom
            else card.description
        ),
        "labels": [
            {
                "structure": label.structure,
                "value": label.value,
                "median_ml": None if phantom else label.median_ml,
                **{
                    key: getattr(PLAN.structures[label.structure], key)
                    for key in (
                        "title",
                        "kind",
                        "colour",
                        "volume_ml_low",
                        "volume_ml_high",
                    )
                },
            }
            for label in card.labels
        ],
        "sides": card.sides,
        **expected(name),
        "varying_spacing": varying and not phantom,
        "volume_slack": 8 if phantom else 1,
        "intensity": PLAN.intensity(name),
        "spacing_mm": PLAN.spacing_mm(name),
    }


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


def licence_facts(name):
    """What the file of licences says of a card."""
    card = PLAN.cards[name]
    return {
        "name": name,
        "title": card.title,
        "licence": card.licence.model_dump(),
        "consent": card.consent,
        "citation": card.citation,
        "doi": card.doi,
        "page": card.access.url,
    }


def manifests():
    """Manifests of the raw folders of real scans; the phantom's say nothing of licences."""
    real = PLAN.study.kind == "real"
    return [f"{DATA}/raw/{name}.json" for name in PLAN.cards] if real else []


def scored():
    """(run, dataset) pairs that any table of the study scores."""
    return [pair for table in PLAN.tables.values() for pair in table.scored()]


def runs_on(dataset):
    """Runs that a table of the study scores on a dataset."""
    return list(dict.fromkeys(run for run, name in scored() if name == dataset))


def columns_of(dataset):
    """Table -> titles of its columns that are made of a dataset."""
    found = {}
    for table in PLAN.tables.values():
        for column in table.columns:
            if dataset in [part.dataset for part in column.parts]:
                found.setdefault(table.name, []).append(column.title)
    return found


def standings():
    """How the datasets of a study of real scans stand, seen from the disk alone."""
    from hermes.download.mirror import read_mirror
    from hermes.download.survey import survey

    columns = {name: columns_of(name) for name in PLAN.cards}
    mirror = read_mirror(config["mirror"] or "")
    return survey(PLAN.cards, Path(DATA), Path(ARCHIVES), mirror, ACCEPT, columns)


def tell_standings():
    """Print what of the data is not in place, once, where a person sees it: also with -n."""
    if workflow.is_main_process and PLAN.study.kind == "real":
        from hermes.download.sizes import free_bytes
        from hermes.download.survey import report

        text = report(STUDY, standings(), free_bytes(Path(DATA)), ACCEPT)
        if text:
            print(text, file=sys.stderr)


def refuse_unaccepted():
    """Stop a run on data in place whose terms are not accepted; others stop at their download."""
    if PLAN.study.kind == "real":
        needs = [
            need for found in standings() if found.in_place for need in found.needs
        ]
        if needs:
            raise WorkflowError("\n".join(need.text for need in needs))


def refuse_without_room():
    """Stop a run whose datasets to fetch do not fit together, before the first of them is begun.

    By onstart the jobs are known, so that datasets which this run leaves alone are not counted.
    """
    jobs = [job for job in workflow.dag.needrun_jobs() if job.rule.name == "download"]
    if jobs:
        from hermes.download.files import DownloadError
        from hermes.download.survey import check_total

        fetched = {job.wildcards.dataset for job in jobs}
        try:
            check_total(
                [s for s in standings() if s.name in fetched],
                Path(ARCHIVES),
                Path(DATA),
            )
        except DownloadError as error:
            raise WorkflowError(str(error)) from None
