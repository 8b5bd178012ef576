"""Under what terms a study's data may be used, whence they came, and what to cite.

    run(study=..., title=..., synthetic=..., datasets=[...], manifests={...}, out=...)

One Markdown file beside the study's tables, to be read before anything is passed on.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hermes.files.atomic import writing

PERMISSIONS = {True: "yes", False: "no", None: "not stated"}

CITE_FIRST = 3
"""Addresses that are spelled out; of many numbered files the rest is counted."""


def run(
    *,
    study: str,
    title: str,
    synthetic: bool,
    datasets: Sequence[Mapping[str, Any]],
    manifests: Mapping[str, str],
    out: str | Path,
) -> None:
    """Write the licences of a study's datasets.

    Args:
        study: its name.
        title: its title.
        synthetic: the data are made here; the datasets only lend their layouts.
        datasets: of each its name, title, licence (as in its card), consent (why its terms had
            to be accepted, or ""), citation, doi and page.
        manifests: dataset -> manifest of its raw folder; empty for synthetic data.
        out: Markdown file to write.
    """
    lines = [f"# Licences of the data: {title}", ""]
    if synthetic:
        lines += _synthetic(datasets)
    else:
        lines += [
            f"What the study `{study}` was built from. Networks, predictions and pictures made of "
            "a dataset may be bound by its terms too.",
        ]
        for facts in datasets:
            manifest = json.loads(Path(manifests[facts["name"]]).read_text("utf-8"))
            lines += ["", *_section(facts, manifest)]
    with writing(out) as aside:
        aside.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _synthetic(datasets: Sequence[Mapping[str, Any]]) -> list[str]:
    titles = ", ".join(facts["title"] for facts in datasets)
    return [
        "All data of this study are synthetic: made by this program, of no person, and under "
        f"this program's own licence. They follow the file layouts of {titles}, and hold nothing "
        "of them.",
    ]


def _section(facts: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[str]:
    licence = facts["licence"]
    name = f"[{licence['name']}]({licence['url']})" if licence["url"] else licence["name"]
    lines = [
        f"## {facts['title']} (`{facts['name']}`)",
        "",
        f"- Licence: {name}. Commercial use: {PERMISSIONS[licence['commercial']]}; passing copies "
        f"on: {PERMISSIONS[licence['redistribution']]}.",
    ]
    if licence["note"]:
        lines.append(f"- Note: {licence['note']}")
    if facts["consent"]:
        lines.append(
            f"- Used only by who accepts its terms: {facts['consent']}. They were accepted by name "
            "in the configuration."
        )
    lines.append(f"- Obtained: {_obtained(manifest)} Page: {facts['page']}")
    doi = f" doi:{facts['doi']}" if facts["doi"] else ""
    lines.append(f"- Cite: {facts['citation']}{doi}")
    return lines


def _obtained(manifest: Mapping[str, Any]) -> str:
    """Say how the files came, in a sentence or two."""
    count = len(manifest["files"])
    if manifest["source"] != "download":
        return f"own copy of who ran this, brought by hand; files: {count}."
    archives = manifest["archives"]
    named = [archive.get("url") or archive.get("package", "") for archive in archives]
    rest = f" and {len(named) - CITE_FIRST} more" if len(named) > CITE_FIRST else ""
    return f"fetched from {', '.join(map(_code, named[:CITE_FIRST]))}{rest}; files: {count}."


def _code(text: str) -> str:
    return f"`{text}`"
