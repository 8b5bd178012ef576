"""What of a test scan is predicted: all, the body's box, the reference's; background outside."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from hermes import predict
from hermes.files.masks import load_masks
from hermes.files.nifti import read_nifti
from hermes.files.records import RECORDS
from hermes.files.store import open_case, save_case
from hermes.files.tables import read_tsv, write_tsv
from hermes.models.build import ModelSpec, build_model, save_model
from hermes.origin import file_hash
from hermes.predict import Windows, predict_case, segment
from hermes.predict.crop import Crop, Part, foreground_box, predicted_part

SIZE = (30, 40, 36)
BODY = (slice(4, 26), slice(8, 32), slice(6, 30))
ORGAN = (slice(10, 14), slice(12, 18), slice(20, 25))
TASKS = ("toy/liver", "toy/spleen")
SPEC = ModelSpec("traditional", "resunet", 4, TASKS, {"toy": TASKS}, ("ct", "unknown"))
WINDOWS = Windows((16, 16, 16), (8, 8, 8), batch=2, threshold=0.5, precision="float32")
MARGIN = 3


class Blurred(nn.Module):
    """Two classes by the mean grey of a voxel's surroundings: what is beside a box matters."""

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.tensor(0.2))

    def forward(self, image, tasks, dataset, modality):
        grey = nn.functional.avg_pool3d(image, 5, stride=1, padding=2)
        return SimpleNamespace(logits=torch.cat([grey - self.level, self.level / 2 - grey], dim=1))


def meta(case):
    affine = np.diag([-2.0, -2.0, 2.0, 1.0])
    flat = [float(x) for x in affine.ravel()]
    return {
        "case": case,
        "modality": "ct",
        "canonical_affine": flat,
        "canonical_size": list(SIZE),
        "native_axes": "L,P,S",
        "native_affine": flat,
        "native_size": list(SIZE[::-1]),
        "grid_affine": flat,
        "grid_size": list(SIZE),
        "grid_spacing_mm": [2.0, 2.0, 2.0],
    }


def save(folder, case, organ=ORGAN, box=None):
    """A body in air, noise on both; `box`: the part of the grid that is kept of the image."""
    generator = np.random.default_rng(7)
    image = (generator.standard_normal(SIZE) * 0.1 - 1).astype(np.float32)
    image[BODY] += 2
    label = np.zeros(SIZE, np.uint8)
    if organ:
        label[organ] = 1
    kept = meta(case)
    if box:
        kept |= {"box_start": [s.start for s in box]}
        image = np.ascontiguousarray(image[box])
    save_case(folder, case, image, label if organ is not None else None, kept)
    return open_case(folder, case)


def around(box, margin):
    ends = zip(box, SIZE, strict=True)
    return tuple(slice(max(0, s.start - margin), min(n, s.stop + margin)) for s, n in ends)


@pytest.mark.parametrize("mode", ["none", "image", "reference"])
def test_background_outside_the_box_and_the_windows_answer_inside(tmp_path, mode):
    stored = save(tmp_path, "a")
    crop = Crop(mode, MARGIN)
    told, box = predict_case(Blurred(), SPEC, "toy", tmp_path, "a", tmp_path, WINDOWS, crop)
    image = torch.from_numpy(stored.image[box].astype(np.float32))
    masks, label = segment(Blurred(), SPEC, image, TASKS, "toy", "ct", WINDOWS)
    found = load_masks(tmp_path / "a_grid.b2nd")
    native = read_nifti(tmp_path / "a.nii.gz").array
    assert found.shape == (2, *SIZE) and native.shape == SIZE
    assert np.array_equal(found[(slice(None), *box)], masks) and masks[0].any()
    assert np.array_equal(native[box], label)
    outside = np.ones(SIZE, bool)
    outside[box] = False
    assert told == mode
    assert outside.any() == (mode != "none")
    assert not found[:, outside].any() and not native[outside].any()


def test_the_image_crop_keeps_the_body_and_looks_at_no_reference(tmp_path):
    mode, box = predicted_part(save(tmp_path, "a"), Crop("image", MARGIN))
    assert mode == "image"
    for kept, body, length in zip(box, BODY, SIZE, strict=True):
        assert kept.start <= body.start - MARGIN or kept.start == 0
        assert kept.stop >= body.stop + MARGIN or kept.stop == length
    assert np.prod([s.stop - s.start for s in box]) < np.prod(SIZE)
    other = save(tmp_path, "b", organ=None)
    assert predicted_part(other, Crop("image", MARGIN)).box == box


def test_the_reference_crop_is_the_foregrounds_box_with_its_margin(tmp_path):
    for case, margin in (("a", MARGIN), ("b", 100)):
        found = predicted_part(save(tmp_path, case), Crop("reference", margin))
        assert found == Part("reference", around(ORGAN, margin))
    assert foreground_box(np.zeros((2, 3, 4), np.uint8), 1) is None


@pytest.mark.parametrize("organ", [(), None], ids=["empty", "without"])
def test_a_case_without_foreground_is_predicted_whole_and_said(tmp_path, caplog, organ):
    found = predicted_part(save(tmp_path, "a", organ), Crop("reference", MARGIN))
    assert found == Part("none", tuple(slice(0, n) for n in SIZE))
    assert "a: no foreground in the reference, not cropped" in caplog.text


def test_a_stored_box_is_not_left(tmp_path):
    kept = (slice(8, 20), slice(10, 34), slice(4, 28))
    stored = save(tmp_path, "a", box=kept)
    for mode in ("none", "image"):  # whatever is asked for, the body's box is all there is
        assert predicted_part(stored, Crop(mode, 4)) == Part("image", kept)
    cropped = predicted_part(stored, Crop("reference", 4))
    assert cropped == Part("reference", (slice(8, 18), slice(10, 22), slice(16, 28)))
    _, box = predict_case(Blurred(), SPEC, "toy", tmp_path, "a", tmp_path, WINDOWS, Crop())
    native = read_nifti(tmp_path / "a.nii.gz").array
    assert box == kept and native.shape == SIZE
    assert native[kept].any() and native.any(axis=(1, 2)).sum() <= 12


def manifest(tmp_path, **crop):
    """Predict the test cases b and, of which only a box is stored, e; the manifest's rows."""
    for case in ("a", "b", "c", "d"):
        save(tmp_path, case)
    save(tmp_path, "e", box=(slice(8, 20), slice(10, 34), slice(4, 28)))
    sides = {"a": "train", "b": "test", "c": "unused", "d": "val", "e": "test"}
    split = [{"case": case, "split": side} for case, side in sides.items()]
    write_tsv(tmp_path / "split.tsv", ("case", "split"), split)
    told = {"training": {"crop": [32, 32, 32], "precision": "float32"}}
    torch.manual_seed(0)
    save_model(tmp_path / "model", build_model(SPEC), SPEC, told)
    predict.run(
        name="toy-run",
        model=tmp_path / "model" / "model.safetensors",
        dataset="toy",
        folder=tmp_path,
        split=tmp_path / "split.tsv",
        out=tmp_path / "out" / "cases.tsv",
        prediction={"stride": 1.0, "batch": 1, "threshold": 0.5},
        device="cpu",
        **crop,
    )
    return read_tsv(tmp_path / "out" / "cases.tsv")


def test_the_manifest_says_what_was_predicted_of_the_test_cases_alone(tmp_path):
    row, other = manifest(tmp_path, test_crop="reference", test_crop_margin=MARGIN)
    assert (other["crop"], other["box"]) == ("reference", "8:17 10:21 17:28")
    assert row == {
        "case": "b",
        "native": "b.nii.gz",
        "grid": "b_grid.b2nd",
        "crop": "reference",
        "box": "7:17 9:21 17:28",
        "native_sha256": file_hash(tmp_path / "out" / "b.nii.gz"),
        "grid_sha256": file_hash(tmp_path / "out" / "b_grid.b2nd"),
        "model_sha256": file_hash(tmp_path / "model" / "model.safetensors"),
    }
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {
        "cases.tsv",
        RECORDS,
        *(f"{c}{end}" for c in "be" for end in (".nii.gz", "_grid.b2nd")),
    }


def test_the_manifest_says_that_no_more_than_a_stored_box_was_predicted(tmp_path):
    whole, boxed = manifest(tmp_path, test_crop="none")
    assert (whole["crop"], whole["box"]) == ("none", "0:30 0:40 0:36")
    assert (boxed["crop"], boxed["box"]) == ("image", "8:20 10:34 4:28")


def test_shards_gather_to_the_manifest_of_one_job(tmp_path):
    whole = manifest(tmp_path)
    shards = []
    for i in (0, 1):
        assert len(manifest(tmp_path, shard=(i, 2))) == 1
        shards.append((tmp_path / "out" / "cases.tsv").rename(tmp_path / f"shard_{i}.tsv"))
    assert manifest(tmp_path, shards=shards) == whole
    with pytest.raises(predict.PredictError, match=r"cases\.tsv: .*alone: b"):
        manifest(tmp_path, shards=shards[1:])
