"""The command `hermes`: look at the registry, and use a trained model on scans of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from hermes.registry import (
    MODALITIES,
    RegistryError,
    class_count,
    load_cards,
    load_structures,
    tasks_of,
)

app = typer.Typer(
    help="Context-prior learning for universal 3D medical image segmentation.",
    no_args_is_help=True,
    add_completion=False,
)

Config = Annotated[Path, typer.Option(help="The folder config/ of a Hermes checkout.")]


@app.command()
def datasets(config: Config = Path("config")) -> None:
    """List the dataset cards: images, classes, modality, licence, how to get a copy."""
    try:
        structures = load_structures(config / "structures.tsv")
        names = sorted(path.stem for path in (config / "datasets").glob("*.yaml"))
        cards = load_cards(config / "datasets", names, structures)
    except (RegistryError, OSError) as error:
        typer.echo(
            f"hermes datasets: {error}; run it in a Hermes checkout, or give --config", err=True
        )
        raise typer.Exit(1) from error
    for card in cards.values():
        images = card.published.images if card.published else "-"
        typer.echo(
            f"{card.name:20} {card.role:10} {images!s:>5} images {len(card.labels):3} classes  "
            f"{card.modality:8} {card.licence.name:18} {card.access.kind}"
        )
    upstream = [card for card in cards.values() if card.role == "upstream"]
    counts = f"{class_count(upstream)} classes and {len(tasks_of(upstream))} tasks"
    typer.echo(f"\n{counts}, trained on together (upstream)")


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
        typer.echo(f"hermes predict: {error}", err=True)
        raise typer.Exit(1) from error
    voxel_ml = float(abs(_determinant(answer.label.affine))) / 1000
    for value, name in answer.names.items():
        count = int((answer.label.array == value).sum())
        typer.echo(f"{value:3} {name:32} {count * voxel_ml:10.1f} ml")


def _determinant(affine) -> float:
    import numpy as np

    return np.linalg.det(np.asarray(affine)[:3, :3])


if __name__ == "__main__":
    app()
