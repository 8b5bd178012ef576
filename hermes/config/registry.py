"""Load cards and structures; derive task ids and class counts. Needs no torch."""

import csv
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hermes.config.schema import Card

MODALITIES = ("ct", "pet", "t1", "t2", "cine", "unknown")
"""Modality names in the order of their ids; `unknown` is last and has no modality loss."""

WORDS = ("name", "title", "region", "kind", "colour")
VOLUMES = ("volume_ml_low", "volume_ml_high")
"""Columns of the table of structures; a table may have none of the latter."""

Model = TypeVar("Model", bound=BaseModel)


class RegistryError(ValueError):
    """A configuration file says something that cannot be right; the message names the file."""


@dataclass(frozen=True)
class Structure:
    """A canonical anatomical structure. `colour` is "#rrggbb"; volumes are of a whole adult one."""

    name: str
    title: str
    region: str
    kind: str  # organ | lesion | tissue
    colour: str
    volume_ml_low: float | None = None  # practically none is smaller; None: any size
    volume_ml_high: float | None = None


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" for the nearest known name, or the list of what is known."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(known))}"


def read_yaml(path: Path) -> Any:
    """Read one YAML file; errors name the file."""
    if not path.is_file():
        siblings = [p.stem for p in path.parent.glob("*.yaml")]
        raise RegistryError(f"{path}: no such file{nearest(path.stem, siblings)}")
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RegistryError(f"{path}: not valid YAML: {error}") from error


def validate(model: type[Model], values: Any, path: Path | str) -> Model:
    """Check values against a closed schema; a mistyped key is answered with the nearest one."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_explain(model, problem) for problem in error.errors()]
        raise RegistryError(f"{path}: " + "\n  ".join(lines)) from error


def _explain(model: type[BaseModel], problem: ErrorDetails) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "top level"
    if problem["type"] == "extra_forbidden":
        owner = _owner(model, problem["loc"][:-1])
        return f"{where}: unknown key{nearest(str(problem['loc'][-1]), owner.model_fields)}"
    if problem["type"] == "literal_error":
        return f"{where}: {problem['input']!r} is not one of {problem['ctx']['expected']}"
    return f"{where}: {problem['msg']}"


def _owner(model: type[BaseModel], location: Sequence[Any]) -> type[BaseModel]:
    """Follow a location of an error to the model whose key is wrong."""
    for part in location:
        if isinstance(part, int) or part not in model.model_fields:
            continue
        found = _inner_model(model.model_fields[part].annotation)
        model = found or model
    return model


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner_model(argument)
        if found:
            return found
    return None


def load_structures(path: str | Path) -> dict[str, Structure]:
    """Read `config/structures.tsv` (name, title, region, kind, colour, volume_ml_low and _high).

    Raises:
        RegistryError: other columns, a structure listed twice, or a range of volumes that cannot
            be.
    """
    with open(path, encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle, delimiter="\t")
        rows = list(reader)
    columns = set(reader.fieldnames or ())
    if not set(WORDS) <= columns <= {*WORDS, *VOLUMES}:
        raise RegistryError(f"{path}: columns must be {', '.join(WORDS)} and {', '.join(VOLUMES)}")
    names = [row["name"] for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RegistryError(f"{path}: structures listed twice: {', '.join(twice)}")
    return {row["name"]: _structure(row, path) for row in rows}


def _structure(row: dict[str, str], path: str | Path) -> Structure:
    name, title, region, kind, colour = (row[key] for key in WORDS)
    bounds = [row.get(key) or "" for key in VOLUMES]
    if not any(bounds):
        return Structure(name, title, region, kind, colour)
    try:
        low, high = (float(bound or "nan") for bound in bounds)
    except ValueError as error:
        raise RegistryError(f"{path}: {name}: volume in ml: {error}") from error
    if not 0 < low < high:
        raise RegistryError(f"{path}: {name}: volumes from {low:g} to {high:g} ml cannot be")
    return Structure(name, title, region, kind, colour, low, high)


def load_card(path: str | Path, structures: dict[str, Structure] | None = None) -> Card:
    """Read and check one dataset card.

    Args:
        path: `config/datasets/<name>.yaml`.
        structures: when given, every label must be one of them.
    """
    path = Path(path)
    card = validate(Card, read_yaml(path), path)
    if card.name != path.stem:
        raise RegistryError(f"{path}: name is {card.name!r}, but the file is called {path.stem!r}")
    if structures is not None:
        for name in card.structures:
            if name not in structures:
                raise RegistryError(
                    f"{path}: unknown structure {name!r}{nearest(name, structures)}"
                )
    return card


def load_cards(
    folder: str | Path, names: Sequence[str], structures: dict[str, Structure] | None = None
) -> dict[str, Card]:
    """Read the cards of the named datasets, in the order given."""
    return {name: load_card(Path(folder) / f"{name}.yaml", structures) for name in names}


def tasks_of(cards: Iterable[Card]) -> tuple[str, ...]:
    """Ordered unique task names over some datasets; a task's id is its index here."""
    return tuple(dict.fromkeys(task for card in cards for task in card.tasks))


def class_count(cards: Iterable[Card]) -> int:
    """Number of (dataset, class) pairs."""
    return sum(len(card.labels) for card in cards)


def modality_id(name: str) -> int:
    """Index of a modality's prior; -1 for `unknown`, which takes part in no modality loss."""
    if name not in MODALITIES:
        raise RegistryError(f"unknown modality {name!r}{nearest(name, MODALITIES)}")
    return -1 if name == "unknown" else MODALITIES.index(name)
