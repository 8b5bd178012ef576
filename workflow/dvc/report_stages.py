"""DVC stages of the reports: tables, pictures, licences; and what DVC plots.

They are quick, and what they print tells of the whole study: so they depend on its file and on
whole cards.
"""

from typing import Any

from keys import unique
from pipeline import KEY, Pipeline, Stage
from run_stages import scored_on

ENDINGS = ("csv", "md", "json")
FIGURES = ("training", "dice")


def report_stages(pipe: Pipeline, at_root: bool) -> dict[str, Stage]:
    """The stages of the reports; those of `results/table2.csv` at the root alone."""
    found = {**_tables(pipe), **_charts(pipe), **_overlays(pipe), "licences": _licences(pipe)}
    if "table1" in pipe.plan.reported():
        found["table1"] = _computation(pipe)
    if "table5" in pipe.plan.reported():
        found["table5"] = _statistics(pipe)
    if at_root and pipe.plan.configured():
        found["configured"] = _configured(pipe)
    return found


def shown(pipe: Pipeline, up: str) -> dict[str, Any]:
    """Top-level entries: what `dvc metrics` and `dvc plots` show; `up` leads to the root."""
    results, runs = f"{up}{pipe.results}", pipe.plan.scored_runs()
    if not runs:
        return {}
    curves = {f"{results}/models/{run}/metrics.tsv": "loss" for run in runs}
    dice = {f"{results}/dice.tsv": "dice"}
    drawn = {"x": "column", "y": dice, "template": "dice", "title": "Dice in per cent"}
    return {
        "metrics": [f"{results}/metrics.json"],
        "plots": [
            {"training": {"x": "epoch", "y": curves, "title": "Training loss"}},
            {"dice": drawn},
            *(f"{results}/figures/{name}.png" for name in FIGURES),
        ],
    }


def _written(pipe: Pipeline, name: str, *others: str) -> list[str]:
    return [f"{pipe.results}/{name}.{ending}" for ending in ENDINGS] + list(others)


def _tables(pipe: Pipeline) -> dict[str, Stage]:
    """Tables of Dice: a stage for all that score the same runs on the same datasets."""
    alike: dict[tuple[tuple[tuple[str, str], ...], bool], list[str]] = {}
    for name, table in pipe.plan.tables.items():
        alike.setdefault((tuple(sorted(table.scored())), bool(table.published)), []).append(name)
    return {
        "table" + f"-{number}" * (number > 1): _table(pipe, names)
        for number, names in enumerate(alike.values(), start=1)
    }


def _table(pipe: Pipeline, names: list[str]) -> Stage:
    table = pipe.plan.tables[names[0]]
    runs = unique(run for run, _ in table.scored())
    of_runs = ("scores/{}", "predictions/{}", "models/{}/model.json", "models/{}/origin.json")
    read = [f"{pipe.results}/{path.format(run)}" for path in of_runs for run in runs]
    # also what the runs were trained on: the sidecar holds the whole chain
    trained = (name for run in runs for name in pipe.plan.runs[run].datasets)
    datasets = unique((*table.datasets(), *trained))
    read += [f"{pipe.results}/splits/{name}.tsv" for name in datasets]
    of_data = ("raw/{}.json", "canonical/{}/cases.tsv", "preprocessed/{}/cases.tsv")
    read += [f"{pipe.data}/{path.format(name)}" for path in of_data for name in datasets]
    published = ["config/published/${item.published}"] if table.published else []
    return {
        "foreach": {name: {"published": pipe.plan.tables[name].published} for name in names},
        "do": {
            "desc": "A table of Dice",
            "cmd": pipe.command("table", f"{pipe.results}/{KEY}.csv"),
            "deps": [*read, *published, pipe.settings, *pipe.cards(), *pipe.code("report.tables")],
            "params": [{"config/tables.yaml": [KEY]}, pipe.protocol],
            "outs": _written(pipe, KEY, f"{pipe.results}/{KEY}_intervals.csv"),
        },
    }


def _charts(pipe: Pipeline) -> dict[str, Stage]:
    """The numbers of all tables, for programs, and the figures of trainings and Dice."""
    if not pipe.plan.tables:
        return {}
    tables = [f"{pipe.results}/{name}_intervals.csv" for name in pipe.plan.tables]
    curves = [f"{pipe.results}/models/{run}/metrics.tsv" for run in pipe.plan.scored_runs()]
    numbers = [f"{pipe.results}/{name}" for name in ("metrics.json", "dice.tsv")]
    drawn = [f"{pipe.results}/figures/{n}.{ending}" for n in FIGURES for ending in ("svg", "png")]
    code = pipe.code("report.training_curves", "report.dice_chart")
    metrics = {
        "desc": "The numbers of all tables, for programs",
        "cmd": pipe.command("metrics", numbers[0]),
        "deps": [*tables, *pipe.code("report.metrics")],
        "outs": numbers,
    }
    figures = {
        "desc": "Trainings and Dice, drawn",
        "cmd": pipe.command("training_curves dice_chart", *drawn),
        "deps": [*curves, tables[0], "config/tables.yaml", *code],
        "params": [{pipe.settings: ["label"]}],
        "outs": drawn,
    }
    return {"metrics": metrics, "figures": figures, "page": _page(pipe)}


def _page(pipe: Pipeline) -> Stage:
    """All tables on one page."""
    made = f"{pipe.results}/tables.html"
    return {
        "desc": "All tables on one page",
        "cmd": pipe.command("tables_page", made),
        "deps": [
            *(f"{pipe.results}/{n}.md" for n in pipe.plan.reported()),
            *pipe.code("report.tables_page"),
        ],
        "params": [{pipe.settings: ["title", "label"]}],
        "outs": [made],
    }


def _computation(pipe: Pipeline) -> Stage:
    named = ["config/runs.yaml", "config/published/table1.csv"]
    return {
        "desc": "What each network costs, measured on this machine",
        "cmd": pipe.command("computation", f"{pipe.results}/table1.csv"),
        "deps": [*named, pipe.settings, *pipe.cards(), *pipe.code("report.computation")],
        "params": [{"config/tables.yaml": ["table2"]}, pipe.protocol],
        "outs": _written(pipe, "table1"),
    }


def _statistics(pipe: Pipeline) -> Stage:
    names = pipe.plan.cards
    read = [f"{pipe.data}/canonical/{n}/{t}.tsv" for n in names for t in ("cases", "rejected")]
    read += [f"{pipe.results}/splits/{name}.tsv" for name in names]
    read += [f"{pipe.data}/raw/{name}.json" for name in names]
    return {
        "desc": "Statistics of the datasets",
        "cmd": pipe.command("statistics", f"{pipe.results}/table5.csv"),
        "deps": [*read, pipe.settings, *pipe.cards(), *pipe.code("report.statistics")],
        "params": [pipe.protocol],
        "outs": _written(pipe, "table5"),
    }


def _configured(pipe: Pipeline) -> Stage:
    return {
        "foreach": pipe.plan.configured(),
        "do": {
            "desc": "The table under the name that the configured study has",
            "cmd": pipe.command("configured_study", "results/${item}.csv"),
            "deps": _written(pipe, "${item}", *pipe.code("report.configured")),
            "outs": [f"results/${{item}}.{ending}" for ending in ENDINGS],
        },
    }


def _licences(pipe: Pipeline) -> Stage:
    real = pipe.plan.study.kind == "real"
    manifests = [f"{pipe.data}/raw/{name}.json" for name in pipe.plan.cards if real]
    made = f"{pipe.results}/LICENSES.md"
    return {
        "desc": "Licences of the data",
        "cmd": pipe.command("licences", made),
        "deps": [*manifests, *pipe.cards(), *pipe.code("report.licences")],
        "params": [{pipe.settings: ["name", "title", "kind"]}],
        "outs": [made],
    }


def _overlays(pipe: Pipeline) -> dict[str, Stage]:
    """Pictures of every dataset that some run is scored on."""
    runs = pipe.plan.scored_runs()
    datasets = unique(dataset for run in runs for dataset in scored_on(pipe, run))
    if not datasets:
        return {}
    made = [f"{pipe.results}/figures/overlay_{name}.png" for name in datasets]
    read = [f"{pipe.results}/predictions/{run}" for run in runs]
    read += [f"{pipe.data}/canonical/{name}" for name in datasets]
    files = ["config/structures.tsv", *pipe.cards(datasets)]
    stage = {
        "desc": "Reference and prediction over the scans",
        "cmd": pipe.command("overlay", *made),
        "deps": [*read, *files, *pipe.code("report.overlays")],
        "params": [{pipe.settings: ["label"]}],
        "outs": made,
    }
    return {"overlays": stage}
