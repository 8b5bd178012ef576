"""What commands share: the registry read, and an end with one line on what is wrong."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from hermes.config.registry import RegistryError, Structure, load_cards, load_structures
from hermes.config.schema import Card

Config = Annotated[Path, typer.Option(help="The folder config/ of a Hermes checkout.")]


def cards_of(command: str, config: Path) -> dict[str, Card]:
    """Every dataset's card, by name."""
    structures = structures_of(command, config)
    names = sorted(path.stem for path in (config / "datasets").glob("*.yaml"))
    try:
        return load_cards(config / "datasets", names, structures)
    except (RegistryError, OSError) as error:
        fail(command, error)


def structures_of(command: str, config: Path) -> dict[str, Structure]:
    """Read `structures.tsv`; where it is not there, this is no checkout."""
    path = config / "structures.tsv"
    if not path.is_file():
        fail(command, f"{path}: no such file; run it in a Hermes checkout, or give --config")
    try:
        return load_structures(path)
    except RegistryError as error:
        fail(command, error)


def fail(command: str, error: Exception | str) -> NoReturn:
    """End with one line on what is wrong."""
    typer.echo(f"hermes {command}: {error}", err=True)
    raise typer.Exit(1)
