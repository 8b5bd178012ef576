"""What is measured of a case and of each structure in it, and the two tables that hold it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hermes.files.tables import read_tsv, write_tsv

PERCENTILES = (0, 0.1, 0.5, *range(1, 100), 99.5, 99.9, 100)
"""Per cent at which the distribution of an image's grey values is kept."""

STRUCTURE_COLUMNS = (
    "case",
    "structure",
    "voxels",
    "volume_ml",
    "left_mm",
    "posterior_mm",
    "superior_mm",
    "touches",
    "mean_intensity",
    "misfits",
)
"""One row per case and structure present; the centroid in patient coordinates, L P S positive;
misfits of `hermes.quality.fit`."""

CASE_COLUMNS = ("body_left_mm", "body_posterior_mm", "body_superior_mm", "slices", "quantiles")
"""Added to the columns of convert's `cases.tsv`; slices z y x, quantiles at `PERCENTILES`."""


@dataclass(frozen=True)
class Extent:
    """One structure in one case.

    Attributes:
        volume_ml: of its voxels.
        centroid_mm: to the patient's left, posterior, superior.
        touches: sides of the field of view it reaches, of the letters R L A P I S.
        mean_intensity: of the image under it, in the image's own unit.
        voxels: their number.
        misfits: for each of `hermes.quality.fit.TURNS`; () where they could not be taken.
    """

    volume_ml: float
    centroid_mm: tuple[float, float, float]
    touches: str
    mean_intensity: float
    voxels: int = 0
    misfits: tuple[float, ...] = ()

    @property
    def cut(self) -> bool:
        """Whether the field of view may end inside of it."""
        return bool(self.touches)


@dataclass(frozen=True)
class CaseMeasured:
    """One case: what convert says of it, and what was measured in its volumes.

    Attributes:
        row: its row of convert's `cases.tsv`, as text.
        body_mm: centre of the voxels brighter than the mean, to the left, posterior, superior.
        slices: per axis z y x, the plane that shows most of the reference.
        quantiles: grey values at `PERCENTILES`.
        structures: by name; those present.
    """

    row: Mapping[str, str]
    body_mm: tuple[float, float, float]
    slices: tuple[int, int, int]
    quantiles: tuple[float, ...]
    structures: Mapping[str, Extent]

    @property
    def name(self) -> str:
        return self.row["case"]

    @property
    def patient(self) -> str:
        return self.row["patient"]

    @property
    def modality(self) -> str:
        return self.row["modality"]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Along z y x."""
        z, y, x = (float(value) for value in self.row["spacing_mm"].split())
        return z, y, x

    @property
    def size(self) -> tuple[int, int, int]:
        """Voxels along z y x."""
        z, y, x = (int(value) for value in self.row["size"].split())
        return z, y, x

    @property
    def has_reference(self) -> bool:
        return bool(self.row["label_sha256"])


def write_measurements(
    cases: str | Path, structures: str | Path, measured: Sequence[CaseMeasured]
) -> None:
    """Write the table of cases and the table of structures."""
    write_tsv(structures, STRUCTURE_COLUMNS, (r for case in measured for r in _extents(case)))
    columns = (*measured[0].row, *CASE_COLUMNS) if measured else ("case", *CASE_COLUMNS)
    write_tsv(cases, columns, map(_case_row, measured))


def _case_row(case: CaseMeasured) -> dict[str, object]:
    values = (*(f"{mm:.2f}" for mm in case.body_mm), _joined(case.slices), _joined(case.quantiles))
    return {**case.row, **dict(zip(CASE_COLUMNS, values, strict=True))}


def _joined(values: Iterable[float | int]) -> str:
    return " ".join(f"{value:.6g}" for value in values)


def _extents(case: CaseMeasured) -> Iterable[dict[str, object]]:
    for name, extent in case.structures.items():
        values = (
            case.name,
            name,
            extent.voxels,
            f"{extent.volume_ml:.6g}",
            *(f"{mm:.2f}" for mm in extent.centroid_mm),
            extent.touches,
            f"{extent.mean_intensity:.6g}",
            " ".join(f"{misfit:.3g}" for misfit in extent.misfits),
        )
        yield dict(zip(STRUCTURE_COLUMNS, values, strict=True))


def read_measurements(cases: str | Path, structures: str | Path) -> list[CaseMeasured]:
    """Read what `write_measurements` wrote, in the order of the cases."""
    extents: dict[str, dict[str, Extent]] = {}
    for row in read_tsv(structures):
        left, posterior, superior = (float(row[name]) for name in STRUCTURE_COLUMNS[4:7])
        extents.setdefault(row["case"], {})[row["structure"]] = Extent(
            volume_ml=float(row["volume_ml"]),
            centroid_mm=(left, posterior, superior),
            touches=row["touches"],
            mean_intensity=float(row["mean_intensity"]),
            voxels=int(row["voxels"]),
            misfits=tuple(map(float, row["misfits"].split())),
        )
    return [_case(row, extents.get(row["case"], {})) for row in read_tsv(cases)]


def _case(row: dict[str, str], structures: dict[str, Extent]) -> CaseMeasured:
    left, posterior, superior = (float(row[name]) for name in CASE_COLUMNS[:3])
    z, y, x = (int(index) for index in row["slices"].split())
    return CaseMeasured(
        row={name: value for name, value in row.items() if name not in CASE_COLUMNS},
        body_mm=(left, posterior, superior),
        slices=(z, y, x),
        quantiles=tuple(float(value) for value in row["quantiles"].split()),
        structures=structures,
    )


def histogram(quantiles: Sequence[float] | np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of an image's voxels between successive edges, from its quantiles.

    Between two quantiles the voxels are taken to be spread evenly.

    Args:
        quantiles: grey values at `PERCENTILES`.
        edges: ascending bounds of n bins, n + 1 values.

    Returns:
        n shares that sum to at most 1; float64.
    """
    values = np.asarray(quantiles)
    levels = np.asarray(PERCENTILES, dtype=float) / 100
    # where values repeat, the share jumps: below the value it is the first level, at it the last
    known, first = np.unique(values, return_index=True)
    last = len(values) - 1 - np.unique(values[::-1], return_index=True)[1]
    grey = np.repeat(known, 2)
    share = np.stack([levels[first], levels[last]], axis=1).ravel()
    return np.diff(np.interp(edges, grey, share, left=0.0, right=1.0))
