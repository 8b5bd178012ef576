"""DVC stages of the runs: train, predict, evaluate.

A stage is written once for all runs on the same datasets, and once for all that have one each.
"""

import json
from dataclasses import dataclass

from keys import unique
from pipeline import KEY, Pipeline, Stage, kept, padded, slots

MADE = ("model.safetensors", "model.json", "metrics.tsv", "origin.json")
"""What a training writes; a prediction reads the first two."""


@dataclass(frozen=True)
class Group:
    """Runs that one stage can be written for.

    Attributes:
        ending: of the stages' names: `train`, `train-each`, `train-2`.
        runs: names.
        datasets: trained on, in the run's order; with `each` one, `${item.dataset}`.
        scored: datasets that tables score the runs on.
    """

    ending: str
    runs: list[str]
    datasets: list[str]
    scored: list[str]


def run_stages(pipe: Pipeline) -> dict[str, Stage]:
    """The stages of all runs that some table scores."""
    stages: dict[str, Stage] = {}
    for group in groups(pipe):
        stages[f"train{group.ending}"] = _train(pipe, group)
        stages[f"predict{group.ending}"] = _predict(pipe, group)
        stages[f"evaluate{group.ending}"] = _evaluate(pipe, group)
    return stages


def scored_on(pipe: Pipeline, run: str) -> list[str]:
    """Datasets that the tables score a run on, each once."""
    pairs = [pair for table in pipe.plan.tables.values() for pair in table.scored()]
    return unique(dataset for name, dataset in pairs if name == run)


def groups(pipe: Pipeline) -> list[Group]:
    """The scored runs, put together."""
    alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for run in pipe.plan.scored_runs():
        datasets, scored = tuple(pipe.plan.runs[run].datasets), tuple(scored_on(pipe, run))
        each = len(datasets) == 1 and scored == datasets
        alike.setdefault(((), ()) if each else (datasets, scored), []).append(run)
    one = ["${item.dataset}"]
    found = [Group("-each", alike.pop(((), ())), one, one)] if ((), ()) in alike else []
    for number, ((datasets, scored), runs) in enumerate(alike.items(), start=1):
        ending = f"-{number}" if number > 1 else ""
        found.append(Group(ending, runs, list(datasets), list(scored)))
    return found


def _train(pipe: Pipeline, group: Group) -> Stage:
    prepared = [f"{pipe.data}/preprocessed/{name}" for name in group.datasets]
    splits = [f"{pipe.results}/splits/{name}.tsv" for name in group.datasets]
    model = f"{pipe.results}/models/{KEY}"
    own = padded({run: pipe.keys.train_own(run) for run in group.runs})
    items = {run: {**_facts(pipe, run), "study": own[run]} for run in group.runs}
    if group.ending == "-each":
        names = {run: pipe.plan.runs[run].datasets[0] for run in group.runs}
        card = padded({run: pipe.keys.train_card(name) for run, name in names.items()})
        items = {r: {"dataset": names[r], **item, "card": card[r]} for r, item in items.items()}
        cards = [{"config/datasets/${item.dataset}.yaml": slots("card", card)}]
    else:
        cards = [
            {f"config/datasets/{name}.yaml": pipe.keys.train_card(name)} for name in group.datasets
        ]
    return {
        "foreach": items,
        "do": {
            "desc": "A network",
            "cmd": pipe.command("train", f"{model}/model.safetensors", note="${item.network}"),
            "deps": [*prepared, *splits, *pipe.code("train")],
            "params": [
                {pipe.settings: [*pipe.keys.train(), *slots("study", own)]},
                *cards,
                pipe.protocol,
            ],
            # one by one: origin.json tells of the machine and decides nothing
            "outs": [f"{model}/{name}" for name in MADE],
        },
    }


def _facts(pipe: Pipeline, run: str) -> dict[str, str]:
    """What config/runs.yaml, a list, says of a run; it stands in the stage's command."""
    known = pipe.plan.runs[run]
    options = json.dumps(known.options) if known.options else ""
    return {"network": " ".join(filter(None, (known.method, known.backbone, options)))}


def _items(pipe: Pipeline, group: Group) -> dict[str, dict[str, str]] | dict[str, str]:
    if group.ending != "-each":
        return dict.fromkeys(group.runs, "")
    return {run: {"dataset": pipe.plan.runs[run].datasets[0]} for run in group.runs}


def _predict(pipe: Pipeline, group: Group) -> Stage:
    out = f"{pipe.results}/predictions/{KEY}"
    prepared = [f"{pipe.data}/preprocessed/{name}" for name in group.scored]
    splits = [f"{pipe.results}/splits/{name}.tsv" for name in group.scored]
    targets = [f"{out}/{name}/cases.tsv" for name in group.scored]
    model = [f"{pipe.results}/models/{KEY}/{name}" for name in MADE[:2]]
    keys, rules = pipe.keys.predict(), "predict predict_shard"
    return {
        "foreach": _items(pipe, group),
        "do": {
            "desc": "Segmentations on the scans' own grids",
            # as with prepared cases: none is lost by an interruption
            "cmd": pipe.command(rules, *targets, force=rules),
            "deps": [*model, *prepared, *splits, *pipe.code("predict")],
            "params": [*([{pipe.settings: keys}] if keys else []), pipe.protocol],
            "outs": kept(out),
        },
    }


def _evaluate(pipe: Pipeline, group: Group) -> Stage:
    out = f"{pipe.results}/scores/{KEY}"
    predicted = f"{pipe.results}/predictions/{KEY}"
    prepared = [f"{pipe.data}/preprocessed/{name}" for name in group.scored]
    references = [f"{pipe.data}/canonical/{name}" for name in group.scored]
    targets = [f"{out}/{name}.tsv" for name in group.scored]
    keys = pipe.keys.study("evaluate")
    cards = [{path: ["labels"]} for path in pipe.cards(group.scored)]
    return {
        "foreach": _items(pipe, group),
        "do": {
            "desc": "Dice, NSD and HD95",
            "cmd": pipe.command("evaluate", *targets),
            "deps": [predicted, *prepared, *references, *pipe.code("evaluate")],
            "params": [*([{pipe.settings: keys}] if keys else []), *cards],
            "outs": [out],
        },
    }
