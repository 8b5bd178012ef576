# What the rules of training and reporting use: tables, their scores and models, what a run builds.

MAIN_TABLE = next(iter(PLAN.tables), "none")  # the one that is drawn

from hermes.config.snapshot import config_hash, configuration
from hermes.provenance.sidecar import Chain


def tables():
    """The tables of a study; the paper's also under the name that the configured study has."""
    own = [f"{RESULTS}/{name}.csv" for name in PLAN.reported()]
    return [*own, *(f"results/{name}.csv" for name in PLAN.configured())]


def figures():
    """The pictures of a study: trainings, Dice, and a test scan of every dataset."""
    overlays = [
        f"{RESULTS}/figures/overlay_{name}.png" for name in trained() if runs_on(name)
    ]
    drawn = ("training.svg", "dice.svg") if PLAN.tables else ()
    return [*(f"{RESULTS}/figures/{name}" for name in drawn), *overlays]


def everything():
    """What a study builds when no target is named."""
    if not PLAN.tables:
        raise WorkflowError(
            f"study {STUDY}: no table in config/tables.yaml scores it, so nothing would be trained; "
            f"add one with `study: {STUDY}`, or name a target"
        )
    return [
        *prepared(),
        *tables(),
        *figures(),
        f"{RESULTS}/tables.html",
        f"{RESULTS}/metrics.json",
        f"{RESULTS}/quality.html",
        f"{RESULTS}/LICENSES.md",
    ]


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


def charted(name):
    """A table's title and its columns, key and title, the average last: what the chart shows."""
    table = table_layout(name)
    columns = [[column["key"], column["title"]] for column in table["columns"]]
    if table["average"]:
        columns.append([table["average"], "Average"])
    return {"title": table["title"], "columns": columns}


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


def study_facts(runs=()):
    """What a sidecar says of the study, and of the runs that its table is made of."""
    content = configuration(PLAN, runs)
    return {
        "study": STUDY,
        "title": PLAN.study.title,
        "label": PLAN.study.label,
        "protocol": PLAN.study.protocol.model_dump(),
        "preprocess": PLAN.study.preprocess.model_dump(
            mode="json", exclude={"blocks"}, exclude_none=True
        ),
        "seed": PLAN.study.seed,
        "config_sha256": config_hash(content),
        "configuration": content,
    }


LINKS = {
    "raw": f"{DATA}/raw/{{dataset}}.json",
    "canonical": f"{DATA}/canonical/{{dataset}}/cases.tsv",
    "preprocessed": f"{DATA}/preprocessed/{{dataset}}/cases.tsv",
    "split": f"{RESULTS}/splits/{{dataset}}.tsv",
    "model": f"{RESULTS}/models/{{run}}/model.json",
    "origin": f"{RESULTS}/models/{{run}}/origin.json",
    "predictions": f"{RESULTS}/predictions/{{run}}/{{dataset}}/cases.tsv",
    "scores": f"{RESULTS}/scores/{{run}}/{{dataset}}.tsv",
}


def used(table):
    """Datasets that a table scores, or that any of its networks is trained on."""
    runs = [PLAN.runs[run] for run, _ in PLAN.tables[table].scored()]
    trained_on = [name for run in runs for name in run.datasets]
    return list(dict.fromkeys([*PLAN.tables[table].datasets(), *trained_on]))


def links(table):
    """What a table of Dice hangs on beside scores, splits and models: all is in its sidecar."""
    files = {k: v for k, v in LINKS.items() if k not in ("model", "scores")}
    return Chain(files, used(table), PLAN.tables[table].scored()).paths()


def settings():
    """What the workflow was told: by it a table is made again. No value of a stage."""
    return {
        "without": names_in(config["without"]),
        "protocol": config["protocol"] or {},
        "accept": ACCEPT,
        "device": config["device"],
        "gpus": config["gpus"],
        "nodes": NODES,
        "strict": STRICT,
    }


def scored():
    """(run, dataset) pairs that any table of the study scores."""
    return [pair for table in PLAN.tables.values() for pair in table.scored()]


def runs_on(dataset):
    """Runs that a table of the study scores on a dataset."""
    return list(dict.fromkeys(run for run, name in scored() if name == dataset))
