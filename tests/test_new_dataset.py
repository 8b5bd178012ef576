"""A dataset that nobody has seen before, from a card and a folder of scans to a table: no code."""

import csv
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import fabricate
import numpy as np
import pytest
import yaml

from hermes.config.study import load_plan
from hermes.files.tables import read_tsv

ROOT = Path(__file__).parents[1]

CARD = """
name: two_blobs
title: Two blobs
description: A bright and a brighter blob in noise.
citation: none
licence: {name: CC0-1.0}
access: {kind: own, instructions: Put the scans into the raw folder.}
role: sample
region: Abdomen
clinical_target: Organs
modality_title: CT
modality: ct
images:
  - pattern: "scans/{patient}/ct_{visit}.nii.gz"
    case: "{patient}_{visit}"
    patient: "{patient}"
    label: {format: nifti, path: "masks/{patient}_{visit}.nii.gz"}
labels:
  - {value: 7, structure: liver}
  - {value: 3, structure: hepatic_widget, also: [4]}
ignored_values: [9]
sides: {liver: right}
split: {rule: fraction, train: 60, val: 20, test: 20}
"""

STUDY = """
name: mystudy
title: A study of one's own
kind: real
label: A test of the pipeline; its numbers mean nothing
seed: 3
datasets: [two_blobs]
preprocess:
  spacing_mm: {default: 2}
  intensity:
    ct: {clip: [-991, 500]}
train:
  base_channels: 8
  crop: [32, 32, 32]
  margin: 2
  batch: 1
  epochs: 1
  iterations: 2
evaluate: {nsd_tolerance_mm: 4.0}
"""

TABLE = """
mytable:
  study: mystudy
  title: Dice on blobs
  rows:
    - {model: ResUNet, run: "resunet-{dataset}"}
    - {model: Hermes-R, run: hermes-r}
  columns:
    - {key: both, title: Both, of: [two_blobs]}
    - {key: widget, title: Widget, of: [two_blobs/hepatic_widget]}
"""

VISITS = [("ann", 1), ("ann", 2), ("bob", 1), ("cem", 1), ("dua", 1), ("eva", 1)]


def scan(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image [24, 24, 24] in HU and its published values, in LPS order."""
    z, y, x = np.indices((24, 24, 24))
    rng = np.random.default_rng(seed)
    image = rng.normal(-200, 30, z.shape)
    image[:, :, :2] = -1000
    label = np.zeros(z.shape, np.uint8)
    label[(z - 12) ** 2 + (y - 12) ** 2 + (x - 8) ** 2 < 25] = 7
    label[(z - 12) ** 2 + (y - 12) ** 2 + (x - 17) ** 2 < 16] = 3
    label[(label == 3) & (z > 12)] = 4
    label[0, 0] = 9
    image += np.array([0, 0, 0, 350, 350, 0, 0, 250, 0, 0])[label]
    return image.astype(np.int16), label


def test_what_the_page_shows_is_a_study(tmp_path):
    page = (ROOT / "docs" / "add-a-dataset.md").read_text(encoding="utf-8")
    card, study, table = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    config = tmp_path / "config"
    shutil.copytree(ROOT / "config", config)
    (config / "datasets" / "my_spine.yaml").write_text(card)
    (config / "studies" / "mystudy.yaml").write_text(study)
    with open(config / "tables.yaml", "a") as handle:
        handle.write(table)
    plan = load_plan(config, "mystudy")
    assert plan.cards["my_spine"].tasks == ("my_spine/vertebral_body", "my_spine/vertebral_arch")
    assert plan.tables["mytable"].scored() == [
        ("resunet-my_spine", "my_spine"),
        ("hermes-r", "my_spine"),
    ]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The repository's code and configuration, and of the new dataset nothing but data."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("Snakefile", "workflow", "config", "hermes"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    config = folder / "config"
    (config / "datasets" / "two_blobs.yaml").write_text(CARD)
    (config / "studies" / "mystudy.yaml").write_text(STUDY)
    with open(config / "tables.yaml", "a") as handle:
        handle.write(TABLE)
    with open(config / "structures.tsv", "a") as handle:
        handle.write("hepatic_widget\tHepatic widget\tAbdomen\torgan\t#123456\n")
    raw = folder / "data" / "mystudy" / "raw" / "two_blobs"
    for seed, (patient, visit) in enumerate(VISITS):
        image, label = scan(seed)
        turned, affine = fabricate.in_orientation(image, ("RAS", "LPS", "PIR")[seed % 3])
        fabricate.save_nifti(raw / "scans" / patient / f"ct_{visit}.nii.gz", turned, affine)
        turned, affine = fabricate.in_orientation(label, ("RAS", "LPS", "PIR")[seed % 3])
        fabricate.save_nifti(raw / "masks" / f"{patient}_{visit}.nii.gz", turned, affine)
    return folder


def call(checkout: Path, module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=checkout,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(checkout)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_card_fits_its_scans(checkout):
    told = call(checkout, "hermes", "check", "two_blobs", "--study", "mystudy")
    assert told.splitlines()[-1] == "The card fits: 6 cases, 2 structures."
    assert "  split (fraction): 3 train, 1 val, 1 test (patients)" in told.splitlines()


@pytest.mark.slow
def test_a_card_and_a_folder_of_scans_become_a_table(checkout):
    target = "results/mystudy/mytable.csv"
    call(checkout, "snakemake", "--cores", "2", "--config", "study=mystudy", "--", target)

    with open(checkout / target, newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["model"] for row in rows] == ["ResUNet", "Hermes-R"]
    assert list(rows[0]) == ["model", "both", "widget"]
    values = [float(row[column]) for row in rows for column in ("both", "widget")]
    assert all(math.isfinite(value) and 0 <= value <= 100 for value in values)

    canonical = read_tsv(checkout / "data/mystudy/canonical/two_blobs/cases.tsv")
    assert {row["case"] for row in canonical} == {f"{p}_{visit}" for p, visit in VISITS}
    assert {row["structures"] for row in canonical} == {"liver,hepatic_widget"}
    assert not [row["warnings"] for row in canonical if row["warnings"]]

    split = read_tsv(checkout / "results/mystudy/splits/two_blobs.tsv")
    sides = {}
    for row in split:
        sides.setdefault(row["split"], set()).add(row["patient"])
    assert {side: len(patients) for side, patients in sides.items()} == {
        "train": 3,
        "val": 1,
        "test": 1,
    }
    assert set.union(*sides.values()) == {"ann", "bob", "cem", "dua", "eva"}

    card = yaml.safe_load(CARD)
    model = yaml.safe_load((checkout / "results/mystudy/models/hermes-r/model.json").read_text())
    tasks = [f"two_blobs/{label['structure']}" for label in card["labels"]]
    assert model["spec"]["datasets"] == {"two_blobs": tasks}
