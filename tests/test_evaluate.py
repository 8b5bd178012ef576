"""Evaluate: perfect, absent and unlabelled, on both grids."""

import numpy as np
import pytest

from hermes import evaluate
from hermes.files.masks import save_masks
from hermes.files.nifti import write_nifti
from hermes.files.store import save_case
from hermes.files.tables import read_tsv, write_tsv
from hermes.files.volume import Volume

SIZE = (6, 8, 10)
AFFINE = np.diag([-10.0, -10.0, 10.0, 1.0])  # LPS; a voxel is 1 ml
STRUCTURES = ["liver", "spleen"]


def reference(spleen=True):
    label = np.zeros(SIZE, np.uint8)
    label[1:4, 1:5, 1:4] = 1
    label[2:5, 4:7, 7:9] = 2 if spleen else 0
    return label


@pytest.fixture
def score(tmp_path):
    """Score predicted label maps; case -> (reference or None, prediction)."""

    def run(cases, workers=1):
        for case, (label, found) in cases.items():
            image = np.zeros(SIZE, np.float32)
            save_case(tmp_path, case, image, label, {"grid_spacing_mm": [10.0, 10.0, 10.0]})
            if label is not None:
                write_nifti(tmp_path / f"{case}_label.nii.gz", Volume(label, AFFINE))
            write_nifti(tmp_path / f"{case}.nii.gz", Volume(found, AFFINE))
            masks = np.stack([found == k for k in (1, 2)]).astype(np.uint8)
            save_masks(tmp_path / f"{case}_grid.b2nd", masks)
        manifest = tmp_path / "predictions.tsv"
        write_tsv(manifest, ("case",), [{"case": case} for case in cases])
        evaluate.run(
            dataset="toy",
            structures=STRUCTURES,
            predictions=manifest,
            folder=tmp_path,
            canonical=tmp_path,
            out=tmp_path / "scores.tsv",
            nsd_tolerance_mm=2.0,
            surface=True,
            workers=workers,
        )
        rows = read_tsv(tmp_path / "scores.tsv")
        keys = ("case", "structure", "metric", "grid")
        return {tuple(row[key] for key in keys): row["value"] for row in rows}

    return run


@pytest.mark.parametrize("grid", ["model", "native"])
def test_a_perfect_prediction(score, grid):
    scores = score({"a": (reference(), reference())})
    assert len(scores) == 2 * 4 * 2  # structures, metrics, grids
    for structure in STRUCTURES:
        values = {
            metric: float(scores["a", structure, metric, grid])
            for metric in ("dice", "nsd", "hd95", "false_positive_ml")
        }
        assert values == {"dice": 1, "nsd": 1, "hd95": 0, "false_positive_ml": 0}


@pytest.mark.parametrize("grid", ["model", "native"])
def test_a_class_that_the_reference_lacks(score, grid):
    scores = score({"a": (reference(spleen=False), reference())})
    assert scores["a", "spleen", "dice", grid] == ""
    assert float(scores["a", "spleen", "false_positive_ml", grid]) == 3 * 3 * 2
    assert float(scores["a", "liver", "dice", grid]) == 1


@pytest.mark.parametrize("grid", ["model", "native"])
def test_half_found(score, grid):
    found = reference()
    found[1:4, 1:3, 1:4] = 0  # half of the liver
    scores = score({"a": (reference(), found)})
    assert float(scores["a", "liver", "dice", grid]) == pytest.approx(2 / 3, abs=1e-6)


def test_a_case_without_a_reference_has_no_rows(score, caplog):
    caplog.set_level("INFO")
    scores = score({"a": (reference(), reference()), "bare": (None, reference())})
    assert {case for case, *_ in scores} == {"a"}
    assert "not scored: bare" in caplog.text
    assert "1 cases scored" in caplog.text
