"""The body's box: stored alone, scored whole, found without the reference."""

import logging

import numpy as np
import pytest
from test_preprocess import SIZE, Dataset, scan

from hermes import evaluate
from hermes.files.masks import save_masks
from hermes.files.nifti import write_nifti
from hermes.files.store import open_case
from hermes.files.tables import read_tsv, write_tsv
from hermes.predict import to_native
from hermes.predict.crop import on_grid
from hermes.preprocess import case


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.setattr(case, "BODY_MARGIN_VOXELS", 1)
    monkeypatch.setattr(case, "LEAST_EDGE_VOXELS", 1)
    return Dataset(tmp_path)


@pytest.fixture
def both(toy, tmp_path):
    """A case without and with the box."""
    rows = [toy.run(tmp_path / name, body_crop=name == "box")[1] for name in ("whole", "box")]
    return rows, [open_case(tmp_path / name, "case_1") for name in ("whole", "box")]


def test_intensities_are_those_of_the_whole_scan(both):
    (_, row), (whole, box) = both
    assert row["box_size"] == " ".join(map(str, box.image.shape))
    assert row["grid_size"] == " ".join(map(str, whole.image.shape))
    assert np.prod(box.image.shape) < 0.7 * np.prod(whole.image.shape)
    assert np.array_equal(box.image[...], whole.image[box.box])
    assert box.meta["intensity"] == whole.meta["intensity"]


def test_the_label_is_whole_and_crops_of_both_agree(both):
    _, (whole, box) = both
    assert np.array_equal(box.label[...], whole.label[...])
    start, size = np.array([2, -3, 4]), np.array([9, 30, 12])
    image, label = box.crop(start, size)
    corner = [side.start for side in box.box]
    real_image, real_label = whole.crop(start + corner, size)
    inside = np.zeros(size, bool)
    inside[:, 3 : 3 + box.image.shape[1]] = True
    assert np.array_equal(label[inside], real_label[inside])
    assert np.array_equal(image[inside], real_image[inside])
    assert not image[~inside].any()
    assert not label[~inside].any()


def test_remembered_voxels_are_counted_from_the_box(both):
    _, (whole, box) = both
    corner = [side.start for side in box.box]
    for value, points in box.meta["foreground"].items():
        assert len(points) == min(64, np.count_nonzero(box.label[...] == int(value)))
        for z, y, x in points:
            assert box.label[z + corner[0], y + corner[1], x + corner[2]] == int(value)
        moved = (np.array(points) + corner).tolist()
        assert moved == whole.meta["foreground"][value]


def test_an_edge_is_as_long_as_the_papers_crop_where_the_scan_is(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(case, "LEAST_EDGE_VOXELS", 25)
    rows = toy.run(tmp_path / "out", body_crop=True)
    sizes = [[int(n) for n in row["box_size"].split()] for row in rows]
    assert all(size[0] == 21 and size[1] >= 25 and size[2] == 24 for size in sizes)


def test_predictions_land_on_the_scanners_voxels(both):
    _, (whole, box) = both
    grid = tuple(box.meta["grid_size"])
    found = on_grid(box.label[box.box], box.box, grid)
    expected = to_native(whole.label[...], whole.meta).array
    assert np.array_equal(to_native(found, box.meta).array, expected)


@pytest.fixture
def scored(toy, tmp_path, caplog):
    """A case with an organ outside the body, answered right inside the box and not outside."""
    image, label = scan(0)
    label[2:6, 37:39, 1:4] = 1  # on air: no box from the image can hold it
    toy.save("case_0", image, label)
    out = tmp_path / "box"
    with caplog.at_level(logging.WARNING):
        row = toy.run(out, body_crop=True)[0]
    stored = open_case(out, "case_0")
    answer = on_grid(stored.label[stored.box], stored.box, tuple(stored.meta["grid_size"]))
    save_masks(out / "case_0_grid.b2nd", np.stack([answer == k for k in (1, 2)]).astype(np.uint8))
    write_nifti(out / "case_0.nii.gz", to_native(answer, stored.meta))
    write_tsv(out / "predictions.tsv", ("case",), [{"case": "case_0"}])
    evaluate.run(
        dataset="toy",
        structures=["liver", "spleen"],
        predictions=out / "predictions.tsv",
        folder=out,
        canonical=toy.canonical,
        out=out / "scores.tsv",
        nsd_tolerance_mm=1.0,
        surface=True,
    )
    scores = {
        (r["structure"], r["metric"], r["grid"]): float(r["value"])
        for r in read_tsv(out / "scores.tsv")
    }
    return row, scores, stored, caplog.text


def test_what_the_box_misses_is_written_down(scored):
    row, _, stored, log = scored
    outside = stored.label[...].copy()
    outside[stored.box] = 0
    lost = np.count_nonzero(outside)
    assert lost > 0
    assert row["foreground_outside"] == f"{lost},0"
    assert int(row["foreground_voxels"].split(",")[0]) == np.count_nonzero(stored.label[...] == 1)
    assert f"case_0: {lost} of " in log
    assert "outside the body's box" in log


@pytest.mark.parametrize("grid", ["model", "native"])
def test_what_the_box_misses_counts_as_missed(scored, grid):
    row, scores, _, _ = scored
    lost = int(row["foreground_outside"].split(",")[0])
    total = int(row["foreground_voxels"].split(",")[0])
    if grid == "native":
        lost, total = 24, 204  # voxels written on air, and of the whole liver
    best = 2 * (total - lost) / (2 * total - lost)
    assert best < 0.97
    assert scores["liver", "dice", grid] <= best + 1e-6
    assert scores["liver", "nsd", grid] < 0.95
    if grid == "model":
        assert scores["liver", "dice", grid] == pytest.approx(best, abs=1e-6)
        assert scores["spleen", "dice", grid] == 1


def test_the_reference_moves_no_box(toy, tmp_path):
    toy.run(tmp_path / "with", body_crop=True)
    for path in toy.canonical.glob("*_label.nii.gz"):
        path.unlink()
    toy.run(tmp_path / "without", body_crop=True)
    for name in ("case_0", "case_4"):
        one, other = (open_case(tmp_path / folder, name) for folder in ("with", "without"))
        assert one.box == other.box
        assert np.array_equal(one.image[...], other.image[...])


def test_a_scan_without_air_is_kept_whole(toy, tmp_path):
    image = np.random.default_rng(0).normal(40, 30, SIZE).astype(np.int16)
    toy.save("case_0", image)
    row = toy.run(tmp_path / "out", body_crop=True)[0]
    assert row["box_size"] == row["grid_size"]
