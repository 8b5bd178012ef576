"""A table's chain as text: from the raw files' hashes to the table, and how to make it again."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from hermes.provenance.record import Record, short
from hermes.provenance.remake import commands, dvc
from hermes.provenance.sidecar import joint_hash

MEGABYTE = 1e6
NUMBER = re.compile(r"[0-9,]+(\.[0-9]+)?")
CHANGED = 8
"""Files with uncommitted changes that are named."""


def told(record: Record) -> str:
    """The whole chain, as a person reads it."""
    parts = [head(record)]
    if record.chain.datasets:
        parts += [raw_files(record), cases(record)]
    if record.facts.get("models"):
        parts += [networks(record), scores(record)]
    if "measurement" in record.facts:
        parts.append(_block("Measured", _pairs(record.facts["measurement"])))
    parts += [results(record), again(record)]
    return "\n\n".join(parts)


def head(record: Record) -> str:
    """What the table is, and where it was made."""
    facts, machine = record.facts, record.facts["machine"]
    title = facts.get("table", {}).get("title", "")
    versions, lock = facts["versions"], short(facts["requirements_lock_sha256"])
    rows = [
        ["study", f"{facts['study']}: {facts['label']}"],
        ["made", f"{facts['date'].replace('T', ' ')}, from commit {facts['commit']}"],
        *([["", changed(facts["changes"])]] if facts["changes"] else []),
        ["machine", f"{machine['cpu']}, {machine['architecture']}, {machine['instructions']}"],
        ["packages", f"Python {versions['python']}, torch {versions['torch']}, lock {lock}"],
        ["settings", f"sha256 {short(facts['config_sha256'])}, seed {facts['seed']}"],
    ]
    return "\n".join([f"{record.table}{': ' * bool(title)}{title}", *columns(rows)])


def changed(files: Sequence[str]) -> str:
    """Files that were not as the commit has them."""
    rest = f" and {len(files) - CHANGED} more" if len(files) > CHANGED else ""
    return f"with uncommitted changes in {', '.join(files[:CHANGED])}{rest}"


def raw_files(record: Record) -> str:
    """A line per dataset: where its files came from, and one hash over all of theirs."""
    rows = [["", "source", "files", "MB", "all files", "manifest"]]
    for name, facts in record.facts["datasets"].items():
        raw = facts["raw"]
        size = f"{raw['bytes'] / MEGABYTE:,.1f}"
        manifest = record.hash_of("raw", dataset=name)
        rows.append([name, _source(record, name), str(raw["files"]), size])
        rows[-1] += [short(raw["files_sha256"]), manifest]
    archives = [
        f"  {name}: {_archive(archive)}"
        for name, facts in record.facts["datasets"].items()
        for archive in facts["raw"].get("archives", ())
    ]
    return "\n".join([_block("Raw files", rows), *(["archives", *archives] if archives else [])])


def _source(record: Record, dataset: str) -> str:
    raw = record.facts["datasets"][dataset]["raw"]
    phantom = record.facts["configuration"].get("study", {}).get("phantom")
    if raw["source"] != "phantom" or not phantom:
        return raw["source"]
    scale = phantom["voxel_scale"].get(dataset, phantom["voxel_scale"].get("default"))
    return f"phantom, seed {record.facts['seed']}, voxels x{scale:g}"


def _archive(archive: dict[str, Any]) -> str:
    name = archive.get("filename") or archive.get("package") or archive.get("url", "")
    sums = [f"{kind} {archive[kind]}" for kind in ("sha256", "md5") if archive.get(kind)]
    return f"{name}, {', '.join(sums) or 'without a published checksum'}"


def cases(record: Record) -> str:
    """A line per dataset: how many, how split, and hashes of the case tables."""
    rows = [["", "images", "patients", "train", "val", "test"]]
    rows[0] += ["canonical", "preprocessed", "split"]
    for name, facts in record.facts["datasets"].items():
        counts = [str(facts[key]) for key in ("images", "patients", "train", "val", "test")]
        kinds = ("canonical", "preprocessed", "split")
        rows.append([name, *counts, *(record.hash_of(kind, dataset=name) for kind in kinds)])
    return _block("Cases", rows)


def networks(record: Record) -> str:
    """A line per run: the weights, what they were made by, and how its settings differ."""
    rows = [["", "steps", "precision", "ranks", "strict", "weights", "code", "differs by"]]
    for run, facts in record.facts["models"].items():
        rows.append(
            [
                run,
                *(str(facts.get(key, "-")) for key in ("steps", "precision", "ranks")),
                "yes" if facts.get("strict") else "no",
                short(facts.get("weights_sha256", "")),
                short(facts.get("code_sha256", "")),
                ", ".join(f"{k} {v}" for k, v in facts.get("settings", {}).items()) or "nothing",
            ]
        )
    devices = sorted({facts.get("device", "unknown") for facts in record.facts["models"].values()})
    text = _block(f"Networks, trained on {', '.join(devices)}", rows)
    return "\n".join([text, *_other_commits(record)])


def _other_commits(record: Record) -> list[str]:
    """Runs whose training ended at another commit than the table was made from."""
    at: dict[str, list[str]] = {}
    for run, facts in record.facts["models"].items():
        at.setdefault(facts.get("commit", ""), []).append(run)
    here = ("", record.facts["commit"])
    return [f"  from commit {c}: {', '.join(runs)}" for c, runs in at.items() if c not in here]


def scores(record: Record) -> str:
    """A line per run: of its predictions and scores, one hash each over all datasets."""
    chain, hashes = record.chain, record.facts["inputs_sha256"]
    rows = [["", "datasets", "predictions", "scores"]]
    for run in chain.runs:
        names = [dataset for each, dataset in chain.pairs if each == run]
        rows.append([run, names[0] if len(names) == 1 else str(len(names))])
        for kind in ("predictions", "scores"):
            paths = [chain.path(kind, run, name) for name in names]
            listed = [(path, hashes[path]) for path in paths]
            rows[-1].append(short(listed[0][1] if len(listed) == 1 else joint_hash(listed)))
    return _block("Predictions and scores", rows)


def results(record: Record) -> str:
    """The rendered files."""
    rows = [[name, short(sha256)] for name, sha256 in record.facts["outputs_sha256"].items()]
    return _block("Table", rows)


def again(record: Record) -> str:
    """How the table is made again."""
    lines = [f"  {line}" for line in commands(record)]
    other = dvc(record)
    note = [f"By DVC, instead of snakemake: {other}"] if other else []
    if record.facts["changes"]:
        note.append("The uncommitted changes named above are not in the commit: bring them along.")
    hashes = (
        "Hashes are the first digits of sha256; one of several files is that of their list. "
        f"All of it: {record.sidecar}"
    )
    return "\n".join(["To make it again", *lines, *note, "", hashes])


def _pairs(values: dict[str, Any]) -> list[list[str]]:
    return [[key, str(value)] for key, value in values.items()]


def _block(title: str, rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([title, *columns(rows)])


def columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines with aligned columns; numbers to the right."""
    listed = [list(row) for row in rows]
    count = max(len(row) for row in listed)
    padded = [row + [""] * (count - len(row)) for row in listed]
    widths = [max(len(row[i]) for row in padded) for i in range(count)]
    return ["  " + "  ".join(map(_aligned, row, widths)).rstrip() for row in padded]


def _aligned(text: str, width: int) -> str:
    return text.rjust(width) if NUMBER.fullmatch(text) else text.ljust(width)
