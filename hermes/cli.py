"""The command `hermes`: check a dataset's card, look at the registry, use a trained model."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from hermes.registry import (
    MODALITIES,
    RegistryError,
    Structure,
    class_count,
    load_cards,
    load_structures,
    tasks_of,
)
from hermes.schema import Card

if TYPE_CHECKING:
    import numpy as np
app = typer.Typer(
    help="Context-prior learning for universal 3D medical image segmentation.\n\n"
    "Studies are built by snakemake, as README.md shows. This command is for what lies before and "
    "after: cards of datasets, scans of your own, trained networks. Run it in a Hermes checkout.",
    no_args_is_help=True,
    add_completion=False,
)

Config = Annotated[Path, typer.Option(help="The folder config/ of a Hermes checkout.")]
Cases = Annotated[
    int | None, typer.Option(min=1, help="Read the first so many cases only; default: all.")
]
WORKERS = min(8, os.cpu_count() or 1)
Workers = Annotated[int, typer.Option(min=1, help="Cases read at the same time.")]


@app.command()
def datasets(config: Config = Path("config")) -> None:
    """List the dataset cards: images, classes, modality, licence, how to get a copy."""
    cards = _cards("datasets", config)
    for card in cards.values():
        images = card.published.images if card.published else "-"
        typer.echo(
            f"{card.name:20} {card.role:10} {images!s:>5} images {len(card.labels):3} classes  "
            f"{card.modality:8} {card.licence.name:23} {card.access.kind}"
        )
    upstream = [card for card in cards.values() if card.role == "upstream"]
    counts = f"{class_count(upstream)} classes and {len(tasks_of(upstream))} tasks"
    typer.echo(f"\n{counts}, trained on together (upstream)")


@app.command()
def models(config: Config = Path("config")) -> None:
    """List the methods and their backbones: parameters, multiply-accumulates, source."""
    from hermes.models.listing import list_models

    cards = _cards("models", config)
    upstream = {card.name: card.tasks for card in cards.values() if card.role == "upstream"}
    typer.echo(f"{'method':14} {'backbone':10} {'parameters':>12} {'GMAC':>8}  paper")
    for entry in list_models(upstream, MODALITIES, "amos_ct"):
        typer.echo(
            f"{entry.method:14} {entry.backbone:10} {entry.parameters:12,} {entry.gmac:8.1f}  "
            f"{entry.paper}"
        )
    tasks = {task for each in upstream.values() for task in each}
    typer.echo(
        f"\n32 base channels, {len(tasks)} tasks of {len(upstream)} datasets; a traditional "
        "network is trained per dataset and has only its outputs. GMAC: 1x1x128x128x128, asked for "
        "the classes of AMOS CT."
    )


@app.command()
def import_weights(
    source: Annotated[Path, typer.Argument(help="A published checkpoint, .pth or .safetensors.")],
    out: Annotated[Path, typer.Argument(help="Folder of the model to write.")],
    config: Config = Path("config"),
) -> None:
    """Make a published Hermes checkpoint a model that `hermes predict` takes; no code is run."""
    from hermes.import_weights import import_weights as write_model

    _structures("import-weights", config)
    try:
        spec = write_model(source, out, config)
    except (RegistryError, ValueError, OSError) as error:
        _fail("import-weights", error)
    typer.echo(f"{out}: Hermes on {spec.backbone}, {spec.rows} tasks; ask it with hermes predict")


@app.command()
def needs(
    study: Annotated[str, typer.Option(help="A study of real scans, in config/studies/.")],
    accept: Annotated[
        list[str] | None, typer.Option(help="A dataset whose terms you accept; repeatable.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="A dataset left out; repeatable. Default: those in config.yaml."),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(metavar="SWITCH=VALUE", help="A switch of the protocol; repeatable."),
    ] = None,
    config: Config = Path("config"),
) -> None:
    """Say which datasets of a study are not in place yet, and what you have to do for each."""
    from hermes.needs import read_switches, tell_needs

    _structures("needs", config)
    try:
        switches = read_switches(protocol or ())
        typer.echo(tell_needs(config, study, accept or (), without or None, switches))
    except (RegistryError, OSError) as error:
        _fail("needs", error)


@app.command()
def check(
    card: Annotated[str, typer.Argument(help="A card: its file, or its name in config/datasets/.")],
    folder: Annotated[
        Path | None,
        typer.Argument(help="The folder of scans; default: data/STUDY/raw/NAME with --study."),
    ] = None,
    study: Annotated[str, typer.Option(help="The study whose raw folder is checked.")] = "",
    cases: Cases = None,
    workers: Workers = WORKERS,
    config: Config = Path("config"),
) -> None:
    """Check a dataset's card against a folder of scans; nothing is written.

    Says what does not fit and what to change, then what was found. Exit status 0: the card fits.
    """
    from hermes.card_check import check as check_card
    from hermes.card_check.text import render

    path = Path(card) if card.endswith((".yaml", ".yml")) else config / "datasets" / f"{card}.yaml"
    if folder is None and not study:
        _fail("check", "give the folder of the scans, or --study")
    raw = folder or Path("data") / study / "raw" / path.stem
    structures = _structures("check", config)
    try:
        report = check_card(path, raw, structures, cases=cases, workers=workers)
    except (RegistryError, OSError) as error:
        _fail("check", error)
    typer.echo(f"{path} against {raw}\n\n{render(report)}")
    raise typer.Exit(0 if report.fits else 1)


@app.command()
def new_card(
    name: Annotated[str, typer.Argument(help="The new dataset's name.")],
    folder: Annotated[Path, typer.Argument(help="The folder of NIfTI images and references.")],
    cases: Cases = None,
    workers: Workers = WORKERS,
    config: Config = Path("config"),
) -> None:
    """Draft a card for a folder of scans: patterns and label values; you name the structures."""
    from hermes.new_card import draft

    _structures("new-card", config)
    path = config / "datasets" / f"{name}.yaml"
    try:
        typer.echo(draft(name, folder, path, cases=cases, workers=workers))
    except (RegistryError, OSError) as error:
        _fail("new-card", error)
    typer.echo(f"Now name its structures, then: hermes check {name} {folder}")


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    image: Annotated[Path, typer.Argument(help="Scan, .nii or .nii.gz, in any orientation.")],
    out: Annotated[
        Path,
        typer.Argument(help="Label map to write, on the scan's own grid; its values are printed."),
    ],
    dataset: Annotated[
        str,
        typer.Option(
            help="Whose spacing, window and classes to follow; default: the model's first."
        ),
    ] = "",
    modality: Annotated[
        str, typer.Option(help=f"One of: {', '.join(MODALITIES)}; default: the dataset's.")
    ] = "",
    task: Annotated[
        list[str] | None,
        typer.Option(help="Such as bcv/liver; repeatable; default: the dataset's."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Segment a scan with a trained model."""
    from hermes.apply import segment_file  # torch is only loaded where it is needed

    try:
        answer = segment_file(
            model, image, out, dataset=dataset, modality=modality, tasks=task, device=device
        )
    except (ValueError, OSError) as error:
        _fail("predict", error)
    voxel_ml = float(abs(_determinant(answer.label.affine))) / 1000
    for value, name in answer.names.items():
        count = int((answer.label.array == value).sum())
        typer.echo(f"{value:3} {name:32} {count * voxel_ml:10.1f} ml")


def _cards(command: str, config: Path) -> dict[str, Card]:
    """Every dataset's card, by name."""
    structures = _structures(command, config)
    names = sorted(path.stem for path in (config / "datasets").glob("*.yaml"))
    try:
        return load_cards(config / "datasets", names, structures)
    except (RegistryError, OSError) as error:
        _fail(command, error)


def _structures(command: str, config: Path) -> dict[str, Structure]:
    """Read `structures.tsv`; where it is not there, this is no checkout."""
    path = config / "structures.tsv"
    if not path.is_file():
        _fail(command, f"{path}: no such file; run it in a Hermes checkout, or give --config")
    try:
        return load_structures(path)
    except RegistryError as error:
        _fail(command, error)


def _fail(command: str, error: Exception | str) -> NoReturn:
    """End with one line on what is wrong."""
    typer.echo(f"hermes {command}: {error}", err=True)
    raise typer.Exit(1)


def _determinant(affine: "np.ndarray") -> float:
    import numpy as np

    return float(np.linalg.det(np.asarray(affine)[:3, :3]))


if __name__ == "__main__":
    app()
