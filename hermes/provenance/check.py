"""Whether the files that a table hangs on are still those it was made of."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermes.config.registry import RegistryError
from hermes.config.snapshot import configuration
from hermes.config.study import load_plan
from hermes.files.tables import read_tsv
from hermes.origin import code_hash, environment, file_hash
from hermes.provenance.record import Record

KINDS = {
    "raw": "the raw files were listed anew",
    "canonical": "converted again, with another result",
    "preprocessed": "preprocessed again, with another result",
    "split": "split in another way",
    "model": "trained again",
    "origin": "trained again, by other code, packages or machine",
    "predictions": "predicted again, with another result",
    "scores": "other scores",
}
"""Kind of link -> what it means that its file is another one."""

MOST = 40
"""Differences that are listed."""


@dataclass(frozen=True)
class Difference:
    """A link of the chain that is not as recorded.

    Attributes:
        link: table, settings, or a kind of link.
        text: which file, and what is wrong.
    """

    link: str
    text: str


def compare(record: Record, raw: bool = False) -> list[Difference]:
    """All links that differ from the record, from the raw files to the table.

    Args:
        record: of the table.
        raw: read the raw files themselves too, not their manifests alone.
    """
    found = [*_settings(record), *(_raw(record) if raw else ()), *_inputs(record)]
    return [*found, *_weights(record), *_made_by(record), *_predictions(record), *_outputs(record)]


def notes(record: Record) -> list[str]:
    """What is otherwise here than where the table was made; may, but need not, change numbers."""
    here, facts = environment(), record.facts
    found = []
    if here["commit"] != facts["commit"]:
        found.append(f"commit {here['commit']} here, {facts['commit']} there")
    for name, version in facts["versions"].items():
        if (other := here["versions"].get(name)) != version:
            found.append(f"{name} {other} here, {version} there")
    if here["machine"] != facts["machine"]:
        found.append(f"{_machine(here)} here, {_machine(facts)} there")
    codes = {one["code_sha256"] for one in facts.get("models", {}).values() if "code_sha256" in one}
    if codes - {code_hash("hermes.train")}:
        found.append("the code of training is another one: Snakemake and DVC would train again")
    return found


def _machine(facts: dict[str, Any]) -> str:
    return f"{facts['machine']['cpu']} ({facts['machine']['instructions']})"


def _outputs(record: Record) -> Iterator[Difference]:
    """The rendered files; intervals lie in the study's folder alone."""
    folder = record.sidecar.parent
    for name, sha256 in record.facts["outputs_sha256"].items():
        if name.endswith("_intervals.csv") and not (folder / name).is_file():
            continue
        yield from _file("table", folder / name, sha256, "edited since it was made")


def _inputs(record: Record) -> Iterator[Difference]:
    kinds: dict[str, str] = {}
    for dataset in record.chain.datasets:
        kinds |= {path: kind for kind, path in _of(record, dataset=dataset)}
    for run in record.chain.runs:
        kinds |= {path: kind for kind, path in _of(record, run=run)}
    for run, dataset in record.chain.pairs:
        kinds |= {path: kind for kind, path in _of(record, run=run, dataset=dataset)}
    for path, sha256 in record.facts["inputs_sha256"].items():
        kind = kinds.get(path, "input")
        meaning = KINDS.get(kind, "not the one it was made of")
        yield from _file(kind, record.root / path, sha256, meaning, shown=path)


def _of(record: Record, run: str = "", dataset: str = "") -> list[tuple[str, str]]:
    """Links that have exactly these names in their path."""
    wanted = {"{run}": bool(run), "{dataset}": bool(dataset)}
    return [
        (kind, record.chain.path(kind, run, dataset))
        for kind, pattern in record.chain.files.items()
        if all((mark in pattern) == there for mark, there in wanted.items())
    ]


def _weights(record: Record) -> Iterator[Difference]:
    for run, facts in record.facts.get("models", {}).items():
        if "weights_sha256" in facts:
            path = Path(record.chain.path("model", run)).with_suffix(".safetensors")
            meaning = "other weights than those of the table; trained again since?"
            there = record.root / path
            yield from _file("weights", there, facts["weights_sha256"], meaning, shown=str(path))


def _made_by(record: Record) -> Iterator[Difference]:
    """Models of other cases or splits than the table's own, by what they recorded when made."""
    hashes = record.facts["inputs_sha256"]
    for run, facts in record.facts.get("models", {}).items():
        for dataset, data in facts.get("data", {}).items():
            for kind, key in (("preprocessed", "cases"), ("split", "split")):
                path = record.chain.path(kind, dataset=dataset)
                if hashes.get(path, data[key]) != data[key]:
                    yield Difference("model", f"{run}: was trained on another {path}")


def _predictions(record: Record) -> Iterator[Difference]:
    """Predicted files against their manifest, and by whose weights they are."""
    if "predictions" not in record.chain.files:
        return
    for run, dataset in record.chain.pairs:
        manifest = record.root / record.chain.path("predictions", run, dataset)
        if not manifest.is_file():
            continue  # said already
        weights = record.facts["models"][run].get("weights_sha256")
        rows = read_tsv(manifest)
        others = [row["case"] for row in rows if row["model_sha256"] != weights]
        if weights and others:
            text = f"{run} on {dataset}: by other weights than {run} has: {', '.join(others[:5])}"
            yield Difference("predictions", text + " ..." * (len(others) > 5))
        for row in rows:
            for kind in ("native", "grid"):
                path = manifest.parent / row[kind]
                shown = str(path.relative_to(record.root))
                meaning = "not what its manifest lists"
                yield from _file("predictions", path, row[f"{kind}_sha256"], meaning, shown)


def _raw(record: Record) -> Iterator[Difference]:
    for dataset in record.chain.datasets:
        manifest = record.root / record.chain.path("raw", dataset=dataset)
        if not manifest.is_file():
            continue  # said of the manifest
        for entry in json.loads(manifest.read_text(encoding="utf-8"))["files"]:
            path = manifest.with_suffix("") / entry["path"]
            shown = str(path.relative_to(record.root))
            yield from _file("raw", path, entry["sha256"], "not what the manifest lists", shown)


def _settings(record: Record) -> Iterator[Difference]:
    """The configuration that is here now, against the recorded one."""
    facts, config = record.facts, record.root / "config"
    then = facts["configuration"]
    if not then or not config.is_dir():
        return
    chosen = facts["settings"]
    try:
        plan = load_plan(config, facts["study"], chosen["without"], chosen["protocol"])
        now = configuration(plan, [run for run in then["runs"] if run in plan.runs])
    except RegistryError as error:
        yield Difference("settings", str(error))
        return
    for part, values in then.items():
        for key in {**values, **now[part]}:
            if values.get(key) != now[part].get(key):
                names = {"study": f"study {facts['study']}", "cards": "card", "runs": "run"}
                yield Difference("settings", f"{names[part]}: {key} is another one")


def _file(
    link: str, path: Path, sha256: str, meaning: str, shown: str = ""
) -> Iterator[Difference]:
    if not path.is_file():
        yield Difference(link, f"{shown or path}: not there")
    elif file_hash(path) != sha256:
        yield Difference(link, f"{shown or path}: {meaning}")


def check_text(record: Record, found: list[Difference], raw: bool) -> str:
    """What `--check` says."""
    said = [f"  {note}" for note in notes(record)]
    here = ["Otherwise here, which changes no file by itself:", *said] if said else []
    if found:
        width = max(len(one.link) for one in found)
        lines = [f"  {one.link:{width}}  {one.text}" for one in found[:MOST]]
        if len(found) > MOST:
            lines.append(f"  and {len(found) - MOST} more")
        todo = "To have one made anew: docs/provenance.md, 'When a file is not what it was'"
        head = f"{record.table} is not of what is here now:"
        return "\n".join([head, *lines, todo, *here])
    rest = "" if raw or not record.chain.datasets else "; raw files by their manifests (--raw: all)"
    return "\n".join([f"{record.table}: every link is as recorded{rest}", *here])
