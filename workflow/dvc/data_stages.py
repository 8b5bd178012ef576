"""DVC stages of the data: convert, preprocess, split, measure, quality.

Raw files are no output: DVC would delete a person's own copy of a dataset before it is converted
again. What is converted and preprocessed stays until its rule has run again: the rule is made to
run, and passes over the cases that still hold, so that neither an interruption nor an edit that
concerns few cases costs the others.
"""

from pipeline import KEY, Pipeline, Stage, kept, padded, slots

LISTS = "data/reference/split_lists.json"


def data_stages(pipe: Pipeline) -> dict[str, Stage]:
    """The stages up to the quality page, in the order in which data flow."""
    return {
        **_lists(pipe),
        "convert": _convert(pipe),
        "preprocess": _preprocess(pipe),
        "split": _split(pipe),
        **_fractions(pipe),
        "measure": _measure(pipe),
        "quality": _quality(pipe),
    }


def _follows_lists(pipe: Pipeline) -> list[str]:
    follows = pipe.plan.study.protocol.split == "reference"
    return [name for name, card in pipe.plan.cards.items() if follows and card.split.reference]


def _lists(pipe: Pipeline) -> dict[str, Stage]:
    """The published split lists, where the study follows them."""
    if not _follows_lists(pipe):
        return {}
    source = "config/published/split_lists.yaml"
    stage = {
        "desc": "The published split lists",
        "cmd": pipe.command("reference_lists", LISTS),
        "deps": [source, *pipe.code("split.lists")],
        "outs": [LISTS],
    }
    return {"lists": stage}


def _convert(pipe: Pipeline) -> Stage:
    making = "phantom" if pipe.plan.study.kind == "phantom" else "download"
    manifest, cases = f"{pipe.data}/raw/{KEY}.json", f"{pipe.data}/canonical/{KEY}"
    card = padded({name: pipe.keys.raw_card(name) for name in pipe.plan.cards})
    study = padded({name: pipe.keys.raw(name) for name in pipe.plan.cards})
    targets = (manifest, f"{cases}/cases.tsv")
    return {
        "foreach": {name: {"study": study[name], "card": card[name]} for name in pipe.plan.cards},
        "do": {
            "desc": "Raw files (made, downloaded or brought) to one form and one label numbering",
            "cmd": pipe.command(f"{making} convert", *targets, force="convert"),
            "deps": pipe.code(making, "convert"),
            "params": [
                {pipe.settings: slots("study", study)},
                {f"config/datasets/{KEY}.yaml": slots("card", card)},
            ],
            "outs": [manifest, *kept(cases)],
        },
    }


def _preprocess(pipe: Pipeline) -> Stage:
    cases = f"{pipe.data}/preprocessed/{KEY}"
    rules = "preprocess preprocess_block"
    study = padded({name: pipe.keys.preprocess(name) for name in pipe.plan.cards})
    card = padded({n: pipe.keys.card(n, "labels", "intensity") for n in pipe.plan.cards})
    return {
        "foreach": {name: {"study": study[name], "card": card[name]} for name in pipe.plan.cards},
        "do": {
            "desc": "Cases to the training grid",
            "cmd": pipe.command(rules, f"{cases}/cases.tsv", force=rules),
            "deps": [f"{pipe.data}/canonical/{KEY}", *pipe.code("preprocess")],
            "params": [
                {pipe.settings: slots("study", study)},
                {f"config/datasets/{KEY}.yaml": slots("card", card)},
                pipe.protocol,
            ],
            "outs": kept(cases),
        },
    }


def _split(pipe: Pipeline) -> Stage:
    made = [f"{pipe.results}/splits/{KEY}{ending}.tsv" for ending in ("", ".notes")]
    study = padded({name: pipe.keys.split(name) for name in pipe.plan.cards})
    card = padded({name: pipe.keys.split_card(name) for name in pipe.plan.cards})
    lists = [LISTS] if _follows_lists(pipe) else []
    read = [f"{pipe.data}/canonical/{KEY}/cases.tsv", f"{pipe.data}/raw/{KEY}.json", *lists]
    return {
        "foreach": {name: {"study": study[name], "card": card[name]} for name in pipe.plan.cards},
        "do": {
            "desc": "Patients into train, val and test",
            "cmd": pipe.command("split", *made),
            "deps": [*read, *pipe.code("split.stage")],
            "params": [
                {pipe.settings: slots("study", study)},
                {f"config/datasets/{KEY}.yaml": slots("card", card)},
                pipe.protocol,
            ],
            "outs": made,
        },
    }


def _fractions(pipe: Pipeline) -> dict[str, Stage]:
    """Parts of the training patients: a stage for all datasets that have the same ones."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, card in pipe.plan.cards.items():
        parts = [
            f"{percent:g}pct_{draw}"
            for percent in card.split.fractions
            for draw in range(1, 1 + (card.split.draws if percent < 100 else 1))
        ]
        if parts:
            groups.setdefault(tuple(parts), []).append(name)
    return {
        "fractions" + f"-{number}" * (number > 1): _fraction_stage(pipe, parts, datasets)
        for number, (parts, datasets) in enumerate(groups.items(), start=1)
    }


def _fraction_stage(pipe: Pipeline, parts: tuple[str, ...], datasets: list[str]) -> Stage:
    made = [f"{pipe.results}/splits/{KEY}_{part}.tsv" for part in parts]
    return {
        "foreach": dict.fromkeys(datasets, ""),
        "do": {
            "desc": "Parts of the training patients, for transfer",
            "cmd": pipe.command("split_fraction", *made),
            "deps": [f"{pipe.results}/splits/{KEY}.tsv", *pipe.code("split.fractions")],
            "params": [{pipe.settings: ["seed"]}],
            "outs": made,
        },
    }


def _measure(pipe: Pipeline) -> Stage:
    made = [f"{pipe.results}/quality/{KEY}{ending}.tsv" for ending in ("_cases", "")]
    return {
        "foreach": dict.fromkeys(pipe.plan.cards, ""),
        "do": {
            "desc": "Volumes, places and grey values",
            "cmd": pipe.command("measure", *made),
            "deps": [f"{pipe.data}/canonical/{KEY}", *pipe.code("quality.measure")],
            "params": [{f"config/datasets/{KEY}.yaml": ["labels"]}],
            "outs": made,
        },
    }


def _quality(pipe: Pipeline) -> Stage:
    folder, names = f"{pipe.results}/quality", list(pipe.plan.cards)
    made = [f"{pipe.results}/quality.{ending}" for ending in ("html", "tsv")]
    judged = [f"{folder}/{n}_{what}" for n in names for what in ("findings.tsv", "pictures.json")]
    measured = [f"{folder}/{n}{ending}.tsv" for n in names for ending in ("_cases", "")]
    read = [f"{pipe.data}/{path}" for n in names for path in (f"raw/{n}.json", f"canonical/{n}")]
    files = ["config/anatomy.tsv", "config/structures.tsv", "hermes/report/quality.html.j2"]
    lists = [LISTS] if _follows_lists(pipe) else []
    code = pipe.code("quality.judge", "report.quality")
    return {
        "desc": "Findings and pictures of the data, and a page on them",
        "cmd": pipe.command("judge quality", *made),
        "deps": [*measured, *read, *lists, pipe.settings, *pipe.cards(), *files, *code],
        "params": [pipe.protocol],
        "outs": [*judged, *made],
    }
