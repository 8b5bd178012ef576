"""The command `hermes`: check a card, look at the registry, use a model, trace a number back."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hermes.cli.parts import Config, cards_of, fail, structures_of
from hermes.config.registry import MODALITIES, RegistryError, class_count, tasks_of

if TYPE_CHECKING:
    import numpy as np
app = typer.Typer(
    help="Context-prior learning for universal 3D medical image segmentation.\n\n"
    "Studies are built by snakemake, as README.md shows. This command is for what lies before and "
    "after: cards of datasets, scans of your own, trained networks. Run it in a Hermes checkout.",
    no_args_is_help=True,
    add_completion=False,
)

Cases = Annotated[
    int | None, typer.Option(min=1, help="Read the first so many cases only; default: all.")
]
WORKERS = min(8, os.cpu_count() or 1)
Workers = Annotated[int, typer.Option(min=1, help="Cases read at the same time.")]


@app.command()
def datasets(config: Config = Path("config")) -> None:
    """List the dataset cards: images, classes, modality, licence, how to get a copy."""
    cards = cards_of("datasets", config)
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
    from hermes.cli.models import list_models

    cards = cards_of("models", config)
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
    from hermes.weights import import_weights as write_model

    structures_of("import-weights", config)
    try:
        spec = write_model(source, out, config)
    except (RegistryError, ValueError, OSError) as error:
        fail("import-weights", error)
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
    from hermes.cli.needs import read_switches, tell_needs

    structures_of("needs", config)
    try:
        switches = read_switches(protocol or ())
        typer.echo(tell_needs(config, study, accept or (), without or None, switches))
    except (RegistryError, OSError) as error:
        fail("needs", error)


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
        fail("check", "give the folder of the scans, or --study")
    raw = folder or Path("data") / study / "raw" / path.stem
    structures = structures_of("check", config)
    try:
        report = check_card(path, raw, structures, cases=cases, workers=workers)
    except (RegistryError, OSError) as error:
        fail("check", error)
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
    from hermes.cli.new_card import draft

    structures_of("new-card", config)
    path = config / "datasets" / f"{name}.yaml"
    try:
        typer.echo(draft(name, folder, path, cases=cases, workers=workers))
    except (RegistryError, OSError) as error:
        fail("new-card", error)
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
    from hermes.cli.apply import segment_file  # torch is only loaded where it is needed

    try:
        answer = segment_file(
            model, image, out, dataset=dataset, modality=modality, tasks=task, device=device
        )
    except (ValueError, OSError) as error:
        fail("predict", error)
    voxel_ml = float(abs(_determinant(answer.label.affine))) / 1000
    for value, name in answer.names.items():
        count = int((answer.label.array == value).sum())
        typer.echo(f"{value:3} {name:32} {count * voxel_ml:10.1f} ml")
    typer.echo(f"written: {out}")


@app.command()
def provenance(
    table: Annotated[Path, typer.Argument(help="A table, such as results/table2.csv.")],
    cell: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="MODEL COLUMN", help="Tell of one number, such as: Hermes-R bcv."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the files that are here now.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="With --check: read every raw file, too.")
    ] = False,
) -> None:
    """Print what a table is made of, from raw files' hashes to the numbers, and how to remake it.

    With --check exit status 1 means that a link of the chain is another one now; it is named.
    """
    from hermes.provenance.cell import cell_text
    from hermes.provenance.check import check_text, compare
    from hermes.provenance.record import ProvenanceError, read
    from hermes.provenance.text import told

    if cell and (check or raw):
        fail("provenance", "give either --cell or --check")
    if raw and not check:
        fail("provenance", "--raw goes with --check")
    try:
        record = read(table)
        found = compare(record, raw) if check or raw else []
        text = check_text(record, found, raw) if check or raw else told(record)
        typer.echo(cell_text(record, *cell) if cell else text)
    except (ProvenanceError, ValueError, OSError) as error:
        fail("provenance", error)
    raise typer.Exit(1 if found else 0)


def _determinant(affine: "np.ndarray") -> float:
    import numpy as np

    return float(np.linalg.det(np.asarray(affine)[:3, :3]))


if __name__ == "__main__":
    app()
