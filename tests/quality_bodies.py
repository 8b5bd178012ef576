"""Small bodies with nine organs in their places, as convert would leave them; sound or spoilt."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hermes.config.registry import load_structures
from hermes.convert.case import COLUMNS
from hermes.files.nifti import write_nifti
from hermes.files.tables import write_tsv
from hermes.files.volume import Volume
from hermes.quality import measure
from hermes.quality.anatomy import load_relations
from hermes.quality.facts import DatasetFacts
from hermes.quality.judge import judge
from hermes.quality.measurements import read_measurements

CONFIG = Path(__file__).parents[1] / "config"
RELATIONS = load_relations(CONFIG / "anatomy.tsv")
SIZE = (40, 32, 48)  # z y x
SPACING_MM = 8.0

# centre z y x, half width z y x, CT number; x grows to the patient's left, y to the back
ORGANS = {
    "liver": ((24, 14, 14), (4, 5, 6), 110),
    "spleen": ((25, 22, 36), (2, 2, 3), 120),
    "stomach": ((24, 12, 31), (3, 3, 3), 40),
    "gallbladder": ((20, 9, 18), (1, 1, 1), 10),
    "left_kidney": ((17, 24, 33), (3, 2, 2), 180),
    "right_kidney": ((16, 24, 15), (3, 2, 2), 180),
    "aorta": ((21, 20, 26), (12, 1, 1), 220),
    "inferior_vena_cava": ((21, 18, 22), (12, 1, 1), 160),
    "bladder": ((4, 13, 24), (2, 2, 2), 5),
}
NAMES = tuple(ORGANS)


@dataclass(frozen=True)
class Body:
    """One case: image and reference [z, y, x] in LPS order, spacing z y x."""

    name: str
    image: np.ndarray
    label: np.ndarray
    spacing_mm: tuple[float, float, float] = (SPACING_MM,) * 3

    def both(self, change: Callable[[np.ndarray], np.ndarray]) -> "Body":
        """Image and reference changed alike."""
        return replace(self, image=change(self.image), label=change(self.label))

    def relabelled(self, change: Callable[[np.ndarray], np.ndarray]) -> "Body":
        """Only the reference changed."""
        return replace(self, label=change(self.label))


def body(number: int) -> Body:
    """A sound body; organs move by a voxel and grow by a few per cent from one to the next."""
    generator = np.random.default_rng(number)
    z, y, x = np.indices(SIZE)
    inside = ((y - 16) / 14) ** 2 + ((x - 24) / 22) ** 2 < 1
    image = np.where(inside, 30, -1000) + generator.normal(0, 5, SIZE)
    label = np.zeros(SIZE, np.uint8)
    for value, (centre, half, grey) in enumerate(ORGANS.values(), start=1):
        moved = np.array(centre) + generator.integers(-1, 2, 3) * (half[0] < 10)
        within = [abs(i - c) <= h for i, c, h in zip((z, y, x), moved, half, strict=True)]
        voxels = np.all(within, axis=0)
        label[voxels] = value
        image[voxels] = grey + generator.normal(0, 5, int(voxels.sum()))
    spacing = SPACING_MM * float(generator.uniform(0.95, 1.05))
    return Body(f"case_{number}", image.astype(np.int16), label, (spacing,) * 3)


def bodies(count: int = 10) -> dict[str, Body]:
    """Sound bodies by name."""
    return {each.name: each for each in map(body, range(count))}


def exchange(one: str, other: str) -> Callable[[np.ndarray], np.ndarray]:
    """A change of a label map in which two structures have changed names."""
    a, b = NAMES.index(one) + 1, NAMES.index(other) + 1
    table = np.arange(len(NAMES) + 1, dtype=np.uint8)
    table[[a, b]] = b, a
    return lambda label: table[label]


def write(folder: Path, cases: dict[str, Body], modality: str = "ct") -> Path:
    """Write a canonical dataset; returns its `cases.tsv`."""
    rows = []
    for each in cases.values():
        z, y, x = each.spacing_mm
        affine = np.diag([-x, -y, z, 1.0])
        write_nifti(folder / f"{each.name}.nii.gz", Volume(each.image, affine))
        write_nifti(folder / f"{each.name}_label.nii.gz", Volume(each.label, affine))
        present = [name for value, name in enumerate(NAMES, 1) if (each.label == value).any()]
        rows.append(
            dict.fromkeys(COLUMNS, "")
            | {
                "case": each.name,
                "patient": each.name,
                "modality": modality,
                "spacing_mm": f"{z:.8g} {y:.8g} {x:.8g}",
                "size": " ".join(map(str, each.image.shape)),
                "structures": ",".join(present),
                "image_sha256": hashlib.sha256(each.image.tobytes()).hexdigest(),
                "label_sha256": hashlib.sha256(each.label.tobytes()).hexdigest(),
            }
        )
    write_tsv(folder / "cases.tsv", COLUMNS, rows)
    write_tsv(folder / "rejected.tsv", ("case", "source", "reason"), [])
    return folder / "cases.tsv"


def facts(**changes) -> dict:
    """What the workflow says of a dataset of these bodies."""
    known = load_structures(CONFIG / "structures.tsv")
    keys = ("title", "kind", "colour", "volume_ml_low", "volume_ml_high")
    labels = [
        {"structure": name, "value": value} | {key: getattr(known[name], key) for key in keys}
        for value, name in enumerate(NAMES, start=1)
    ]
    plain = {
        "name": "bodies",
        "title": "Bodies",
        "labels": labels,
        "sides": {"liver": "right", "spleen": "left"},
        "intensity": {"ct": {"clip": [-991, 500]}},
        "spacing_mm": 8.0,
    }
    return plain | changes


def measured(folder, cases, modality="ct"):
    """Write a dataset, measure it, and read the measurements."""
    table = write(folder, cases, modality)
    tables = folder / "measured.tsv", folder / "structures.tsv"
    names = [label["structure"] for label in facts()["labels"]]
    measure.run(
        dataset="bodies",
        canonical=folder,
        structures=names,
        cases=table,
        measured=tables[0],
        measured_structures=tables[1],
    )
    return read_measurements(*tables)


def findings(folder, cases, rejected=(), modality="ct", source="copy", **changes):
    """Measure and judge a dataset."""
    known = DatasetFacts.model_validate(facts(**changes))
    return judge(known, measured(folder, cases, modality), list(rejected), RELATIONS, source)


def only(found, check):
    """Warnings and errors of one check."""
    return [f for f in found if f.check == check and f.severity > 1]
