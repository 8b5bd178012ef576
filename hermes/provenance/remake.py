"""The commands that make a table again."""

import json
import shlex
from typing import Any

from hermes.provenance.record import Record

DVC_STUDY = "phantom"
"""The study of the root's dvc.yaml; others have theirs in dvc/<study>/."""


def commands(record: Record) -> list[str]:
    """Lines to type, from the checkout's commit to the comparison."""
    facts = record.facts
    return [
        f"git checkout {facts['commit'].removesuffix('+changes')}",
        "make .venv/ready && source .venv/bin/activate",
        snakemake(record),
        f"hermes provenance --check {record.table}",
    ]


def snakemake(record: Record) -> str:
    """The invocation that makes the table; several machines are a cluster's."""
    where = (
        "--profile workflow/profiles/slurm" if _nodes(record.facts["settings"]) else "--cores all"
    )
    chosen = [shlex.quote(f"study={record.facts['study']}"), *_settings(record.facts["settings"])]
    return f"snakemake {where} --config {' '.join(chosen)} -- {record.table}"


def dvc(record: Record) -> str:
    """The same by DVC, which goes by config/config.yaml alone; empty where that is not enough."""
    study = record.facts["study"]
    where = "dvc.yaml" if study == DVC_STUDY else f"dvc/{study}/dvc.yaml"
    if _settings(record.facts["settings"]) or not (record.root / where).is_file():
        return ""
    return "dvc repro" if study == DVC_STUDY else f"dvc repro {where}"


def _settings(settings: dict[str, Any]) -> list[str]:
    """What `--config` is told beside the study, quoted for a shell."""
    found = [f"{key}={','.join(settings[key])}" for key in ("without", "accept") if settings[key]]
    if settings["protocol"]:
        found.append(f"protocol={json.dumps(settings['protocol'])}")  # YAML's flow style too
    found += [f"{key}={settings[key]}" for key in ("device", "gpus") if settings[key] != "auto"]
    found += _nodes(settings)
    if settings["strict"]:
        found.append("strict=true")
    return [shlex.quote(text) for text in found]


def _nodes(settings: dict[str, Any]) -> list[str]:
    """Machines that shared the trainings, where they were several; older sidecars do not say."""
    nodes = int(settings.get("nodes", 1))
    return [f"nodes={nodes}"] if nodes > 1 else []
