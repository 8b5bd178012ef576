"""What a study still needs of a person: consent, tokens, copies, room on the disk."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from hermes.config.registry import RegistryError, read_yaml
from hermes.config.study import Plan, load_plan, names_in
from hermes.download.mirror import read_mirror
from hermes.download.needs import check_accept
from hermes.download.sizes import free_bytes
from hermes.download.survey import report, survey

DATA = Path("data")
"""Where the workflow keeps its data; archives, which studies share, lie in `archives` below it."""

WIDTH = 100


def tell_needs(
    config: Path,
    study: str,
    accept: Iterable[str] = (),
    without: Sequence[str] | None = None,
    protocol: Mapping[str, Any] | None = None,
) -> str:
    """Say how the datasets of a study stand, and of each that needs something what to do.

    Args:
        config: the folder `config/` of a checkout.
        study: a study of real scans.
        accept: datasets whose terms are accepted, beside those in `config.yaml`.
        without: datasets that are left out, instead of those in `config.yaml`.
        protocol: switches of the protocol that differ, beside those in `config.yaml`.

    Raises:
        RegistryError: a name that is not known, or a study that needs nothing of anyone.
    """
    settings = read_yaml(config / "config.yaml")
    plan = load_plan(
        config,
        study,
        without=names_in(settings["without"]) if without is None else without,
        protocol={**(settings["protocol"] or {}), **(protocol or {})},
    )
    if plan.study.kind == "phantom":
        raise RegistryError(f"study {study} makes its scans itself: it needs nothing")
    accepted = [*names_in(settings["accept"]), *accept]
    check_accept(accepted, [path.stem for path in (config / "datasets").glob("*.yaml")])
    standings = survey(
        plan.cards,
        DATA / study,
        DATA / "archives",
        read_mirror(settings["mirror"] or ""),
        accepted,
        {name: _columns(plan, name) for name in plan.cards},
    )
    text = report(study, standings, free_bytes(DATA), accepted)
    told = [need.text for standing in standings for need in standing.needs]
    text = text or f"Datasets of the study {study}: all are in place."
    return "\n\n".join([text, *map(_paragraph, told)])


def read_switches(texts: Iterable[str]) -> dict[str, Any]:
    """Return switches of the protocol that were given as SWITCH=VALUE, the value as in YAML.

    Raises:
        RegistryError: no `=`, or no value that YAML knows.
    """
    switches = {}
    for text in texts:
        key, given, value = text.partition("=")
        try:
            switches[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            given = ""
        if not given:
            raise RegistryError(f"protocol: {text!r}: give SWITCH=VALUE, such as split=reference")
    return switches


def _paragraph(text: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent="- ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _columns(plan: Plan, dataset: str) -> dict[str, Sequence[str]]:
    """Table -> titles of its columns that are made of a dataset."""
    found: dict[str, list[str]] = {}
    for table in plan.tables.values():
        for column in table.columns:
            if dataset in [part.dataset for part in column.parts]:
                found.setdefault(table.name, []).append(column.title)
    return dict(found)
