"""There and back: any orientation becomes one prepared case, and answers fit the raw file."""

from types import SimpleNamespace

import fabricate
import numpy as np
import pytest
import torch
from torch import nn

from hermes.files.nifti import read_nifti
from hermes.files.store import open_case
from hermes.jobs.precision import choose_device
from hermes.models.build import ModelSpec
from hermes.predict import Windows, predict_case, to_native
from hermes.preprocess import Settings, preprocess_case

SPACING_MM = 2.0
TASKS = ("toy/liver", "toy/spleen")
SPEC = ModelSpec("traditional", "resunet", 4, TASKS, {"toy": TASKS}, ("ct", "unknown"))
ORIENTATIONS = ("lps", "ras", "pir", "oblique")
GREY = (0, 300, 600)  # of background, liver, spleen


def two_blobs():
    """Label [z, y, x] in LPS: a large blob on the patient's right (low x), a small one left."""
    z, y, x = np.indices((20, 22, 26))
    label = np.zeros(z.shape, np.uint8)
    label[((z - 9) / 6) ** 2 + ((y - 9) / 7) ** 2 + ((x - 7) / 6) ** 2 < 1] = 1
    label[((z - 12) / 5) ** 2 + ((y - 13) / 5) ** 2 + ((x - 20) / 5) ** 2 < 1] = 2
    return label


def raw_grids():
    """Name -> label as its raw file holds it, and the file's affine."""
    label, upright = two_blobs(), np.diag([-SPACING_MM, -SPACING_MM, SPACING_MM, 1.0])
    upright[:3, 3] = 31.0, -17.0, 40.0
    turn, (c, s) = np.eye(4), (np.cos(0.2), np.sin(0.2))
    turn[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    oblique = (turn @ upright).astype(np.float32).astype(float)  # as NIfTI keeps it
    turned = {
        axes: fabricate.in_orientation(label, axes.upper(), upright) for axes in ("ras", "pir")
    }
    return {"lps": (label, upright), **turned, "oblique": (label, oblique)}


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The canonical cases of the same anatomy in four orientations."""
    raw = tmp_path_factory.mktemp("toy") / "raw"
    pattern = "img/{case}.nii.gz"
    source = {"pattern": pattern, "label": {"format": "nifti", "path": "label/{case}.nii.gz"}}
    for name, (label, affine) in raw_grids().items():
        image = np.array(GREY, np.int16)[label]
        fabricate.save_nifti(raw / "img" / f"{name}.nii.gz", image, affine)
        fabricate.save_nifti(raw / "label" / f"{name}.nii.gz", fabricate.published(label), affine)
    return fabricate.convert(raw, fabricate.write_card(raw.parent / "toy.yaml", [source]))


def prepare(converted, folder, spacing_mm):
    """Preprocess every case; name -> stored case."""
    window = {"ct": {"clip": [-1000, 1000]}}
    settings = Settings("toy", 2, spacing_mm, False, window, seed=0)
    for row in converted.cases.values():
        preprocess_case(converted.out, folder, settings, row)
    return {name: open_case(folder, name) for name in converted.cases}


def centroid_mm(label, affine, value):
    """Where a class lies in the patient, RAS+ millimetres."""
    z, y, x = np.argwhere(label == value).mean(axis=0)
    return (affine @ (x, y, z, 1))[:3]


def test_prepared_alike_whatever_the_orientation(converted, tmp_path):
    stored = prepare(converted, tmp_path, SPACING_MM)
    assert set(stored) == set(ORIENTATIONS)
    first = stored["lps"]
    assert np.array_equal(first.label[...], two_blobs())
    for case in stored.values():
        assert np.array_equal(case.image[...], first.image[...])
        assert np.array_equal(case.label[...], first.label[...])


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_back_on_the_raw_grid_exactly(converted, tmp_path, name):
    stored = prepare(converted, tmp_path, SPACING_MM)[name]
    label, affine = raw_grids()[name]
    back = to_native(stored.label[...], stored.meta)
    assert np.array_equal(back.affine, affine)
    assert np.array_equal(back.array, label)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_another_spacing_keeps_places_and_sides(converted, tmp_path, name):
    stored = prepare(converted, tmp_path, 1.25 * SPACING_MM)[name]
    label, affine = raw_grids()[name]
    assert stored.label.shape != two_blobs().shape
    back = to_native(stored.label[...], stored.meta)
    assert back.array.shape == label.shape
    assert np.array_equal(back.affine, affine)
    for value in (1, 2):
        found, real = back.array == value, label == value
        assert 2 * (found & real).sum() / (found.sum() + real.sum()) > 0.9
        moved = centroid_mm(back.array, affine, value) - centroid_mm(label, affine, value)
        assert np.linalg.norm(moved) < SPACING_MM
    right, left = (centroid_mm(back.array, back.affine, value)[0] for value in (1, 2))
    assert right > left  # x of RAS+ grows to the patient's right


class Thresholds(nn.Module):
    """Finds a class by its grey: liver between the cuts, spleen above the second."""

    def __init__(self, low, high):
        super().__init__()
        self.cuts = nn.Parameter(torch.tensor([low, high]))

    def forward(self, image, tasks, dataset, modality):
        low, high = self.cuts
        liver = torch.minimum(image - low, high - image)
        return SimpleNamespace(logits=50 * torch.cat([liver, image - high], dim=1))


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_a_prediction_is_written_on_the_raw_grid(converted, tmp_path, name):
    meta = prepare(converted, tmp_path, SPACING_MM)[name].meta
    mean, std = meta["intensity"]["mean"], meta["intensity"]["std"]
    network = Thresholds(*((grey - mean) / std for grey in (150.0, 450.0)))
    windows = Windows((16, 16, 16), (8, 8, 8), batch=2, threshold=0.5, precision="float32")
    predict_case(network, SPEC, "toy", tmp_path, name, tmp_path, windows)
    label, affine = raw_grids()[name]
    written = read_nifti(tmp_path / f"{name}.nii.gz")
    assert np.array_equal(written.affine, affine)
    assert np.array_equal(written.array, label)


def test_unknown_device_is_named():
    with pytest.raises(ValueError, match="'gpu0': torch knows no such device"):
        choose_device("gpu0")
