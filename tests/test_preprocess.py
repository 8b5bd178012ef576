"""Preprocess as a stage: resumed by case, failures apart, the same bytes by any sharing-out."""

import os
import signal

import numpy as np
import pytest

from hermes import preprocess
from hermes.files.nifti import write_nifti
from hermes.files.store import open_case
from hermes.files.tables import read_tsv, write_tsv
from hermes.files.volume import Volume
from hermes.preprocess import PreprocessError, case, run

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])  # LPS, spacing 2, 1, 1 mm
SIZE = (16, 40, 36)
NAMES = [f"case_{i}" for i in range(5)]


def scan(seed):
    """Air, a body off the centre, two organs in it; image and label [z, y, x]."""
    rng = np.random.default_rng(seed)
    _, y, x = np.indices(SIZE)
    label = np.zeros(SIZE, np.uint8)
    label[4:9, 12:18, 10:16] = 1
    label[3:12, 13:17, 20 : 22 + seed] = 2
    body = (y - 16) ** 2 + (x - 18) ** 2 < 11**2
    image = np.where(body, 40, -1000) + 100 * (label == 1) + rng.normal(0, 15, SIZE)
    return image.astype(np.int16), label


class Dataset:
    """Canonical cases in a temporary folder, and the stage on them."""

    def __init__(self, root):
        self.canonical, self.rows = root / "canonical", []
        for seed, name in enumerate(NAMES):
            self.save(name, *scan(seed))
            self.rows.append({
                "case": name, "patient": name, "modality": "ct", "image_sha256": f"i{seed}",
                "label_sha256": f"l{seed}", "native_axes": "L,P,S",
                "native_affine": " ".join(map(str, AFFINE.ravel())),
                "native_size": " ".join(map(str, SIZE[::-1])),
            })  # fmt: skip
        self.table()

    def save(self, name, image, label=None):
        write_nifti(self.canonical / f"{name}.nii.gz", Volume(image, AFFINE))
        if label is not None:
            write_nifti(self.canonical / f"{name}_label.nii.gz", Volume(label, AFFINE))

    def table(self):
        write_tsv(self.canonical / "cases.tsv", tuple(self.rows[0]), self.rows)

    def run(self, folder, out="cases.tsv", **changes):
        values = {
            "dataset": "toy", "canonical": self.canonical, "cases": self.canonical / "cases.tsv",
            "folder": folder, "out": folder / out, "classes": 2, "spacing_mm": 1.5,
            "keep_native_z": False, "intensity": {"ct": {"clip": [-991, 500]}}, "seed": 3,
        }  # fmt: skip
        run(**values | changes)
        return read_tsv(folder / out)


@pytest.fixture
def toy(tmp_path):
    return Dataset(tmp_path)


class Watch:
    """Which cases a run has written anew."""

    def __init__(self, folder):
        self.folder, self.seen = folder, {}

    def worked(self):
        found = {}
        for path in sorted(self.folder.glob("*_image.b2nd")):
            found[path.name.removesuffix("_image.b2nd")] = (
                path.stat().st_ino,
                path.stat().st_mtime_ns,
            )
        names = [name for name, mark in found.items() if self.seen.get(name) != mark]
        self.seen = found
        return names


@pytest.fixture
def watch(tmp_path):
    return Watch(tmp_path / "out")


def files(folder):
    """Name -> bytes of everything a folder holds, records apart."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


@pytest.mark.parametrize("body_crop", [False, True])
def test_the_same_bytes_whatever_the_number_of_blocks_and_workers(toy, tmp_path, body_crop):
    toy.run(tmp_path / "one", body_crop=body_crop)
    toy.run(tmp_path / "many", body_crop=body_crop, workers=3)
    blocks = tmp_path / "blocks"
    for i in (1, 0, 2):
        rows = toy.run(blocks, f"block_{i}.tsv", body_crop=body_crop, block=[i, 3], workers=2)
        assert [row["case"] for row in rows] == NAMES[i::3]
        (blocks / f"block_{i}.tsv").unlink()
    toy.run(blocks, body_crop=body_crop)
    expected = files(tmp_path / "one")
    assert len(expected) == 11
    assert files(tmp_path / "many") == expected
    assert files(blocks) == expected


def test_more_blocks_than_cases_leave_empty_ones(toy, tmp_path):
    assert toy.run(tmp_path / "out", "block.tsv", block=[6, 7]) == []


def test_what_is_done_is_not_done_again(toy, tmp_path, watch):
    first = toy.run(tmp_path / "out", block=[1, 2])
    assert watch.worked() == NAMES[1::2]
    rows = toy.run(tmp_path / "out")
    assert watch.worked() == NAMES[::2]
    assert [row for row in rows if row["case"] in NAMES[1::2]] == first
    before = files(tmp_path / "out")
    assert toy.run(tmp_path / "out") == rows
    assert watch.worked() == []
    assert files(tmp_path / "out") == before


@pytest.mark.parametrize(
    "change",
    [{"spacing_mm": 2.0}, {"seed": 4}, {"body_crop": True}, {"classes": 1},
     {"intensity": {"ct": {"clip": [-500, 500]}}}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_changed_setting_does_every_case_again(toy, tmp_path, watch, change):
    toy.run(tmp_path / "out")
    watch.worked()
    toy.run(tmp_path / "out", **change)
    assert watch.worked() == NAMES


def test_a_window_of_another_modality_changes_nothing(toy, tmp_path, watch):
    toy.run(tmp_path / "out")
    watch.worked()
    toy.run(tmp_path / "out", intensity={"ct": {"clip": [-991, 500]}, "pet": {"clip": [0, 9]}})
    assert watch.worked() == []


def test_what_a_case_is_made_of_and_whether_it_is_whole_is_seen(toy, tmp_path, watch):
    toy.run(tmp_path / "out")
    watch.worked()
    toy.rows[0]["image_sha256"] = "another"
    toy.rows[1]["patient"] = "renamed"  # handed on, decides nothing
    (toy.canonical / "case_2_label.nii.gz").unlink()
    (tmp_path / "out" / "case_4_label.b2nd").unlink()
    toy.table()
    rows = toy.run(tmp_path / "out")
    assert watch.worked() == ["case_0", "case_2", "case_4"]
    assert rows[1]["patient"] == "renamed"
    assert rows[2]["foreground_voxels"] == ""
    (tmp_path / "out" / "case_3_image.b2nd").write_bytes(b"half")
    toy.run(tmp_path / "out")
    assert open_case(tmp_path / "out", "case_3").image.shape == (21, 27, 24)


def test_changed_code_does_every_case_again(toy, tmp_path, watch, monkeypatch):
    toy.run(tmp_path / "out")
    watch.worked()
    monkeypatch.setattr(preprocess, "_code", lambda: ["another"])
    toy.run(tmp_path / "out")
    assert watch.worked() == NAMES


def test_cases_that_are_gone_are_tidied_away_but_not_by_a_block(toy, tmp_path):
    out = tmp_path / "out"
    toy.run(out)
    (out / ".123.case_0_image.b2nd").write_bytes(b"left by a killed run")
    del toy.rows[0]
    toy.table()
    toy.run(out, "block.tsv", block=[0, 2])
    assert (out / "case_0_image.b2nd").exists()
    toy.run(out)
    assert not [path for path in out.rglob("*") if "case_0" in path.name]
    assert (out / "case_1_image.b2nd").exists()


def test_cases_that_fail_take_no_other_with_them(toy, tmp_path):
    (toy.canonical / "case_1.nii.gz").write_bytes(b"not a scan")
    toy.rows[3]["modality"] = "pet"
    toy.table()
    with pytest.raises(PreprocessError) as error:
        toy.run(tmp_path / "out", workers=2)
    text = str(error.value)
    assert "toy: 2 of 5 cases failed" in text
    assert "case_1.nii.gz: not a NIfTI file" in text
    assert "case_3.nii.gz: the study has no window for modality 'pet'" in text
    assert not (tmp_path / "out" / "cases.tsv").exists()
    for name in ("case_0", "case_2", "case_4"):
        assert open_case(tmp_path / "out", name).label is not None
    toy.save("case_1", *scan(1))
    toy.rows[3]["modality"] = "ct"
    toy.table()
    assert len(toy.run(tmp_path / "out")) == 5


def test_memory_that_is_not_to_be_had_fails_one_case(toy, tmp_path, monkeypatch):
    original = case.resample_image

    def greedy(array, *rest, **more):
        if array[0, 0, 0] == 1234:
            raise MemoryError("Unable to allocate 7 TiB")
        return original(array, *rest, **more)

    monkeypatch.setattr(case, "resample_image", greedy)
    image, label = scan(2)
    image[0, 0, 0] = 1234
    toy.save("case_2", image, label)
    with pytest.raises(PreprocessError, match=r"1 of 5 .*\n.*case_2: unexpected MemoryError: Una"):
        toy.run(tmp_path / "out")


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_process_that_is_killed_fails_one_case(toy, tmp_path, monkeypatch, workers):
    original = preprocess.preprocess_case

    def killed(canonical, folder, settings, row):
        if row["case"] == "case_1":
            os.kill(os.getpid(), signal.SIGKILL)
        return original(canonical, folder, settings, row)

    monkeypatch.setattr(preprocess, "preprocess_case", killed)
    with pytest.raises(PreprocessError, match=r"1 of 5 .*\n  case_1: its process was killed"):
        toy.run(tmp_path / "out", workers=workers)
    monkeypatch.undo()
    assert len(toy.run(tmp_path / "out", workers=workers)) == 5


@pytest.mark.parametrize("window", [{"clip": [-991, 500]}, {"percentiles": [2, 98]}])
def test_an_image_too_large_to_hold_comes_out_alike(toy, tmp_path, monkeypatch, window):
    image = np.random.default_rng(0).normal(0, 300, (70, 30, 20)).astype(np.float32)
    toy.save("case_0", image, (image > 100).astype(np.uint8))
    toy.rows = toy.rows[:1]
    toy.rows[0]["native_size"] = "20 30 70"
    toy.table()
    toy.run(tmp_path / "held", intensity={"ct": window})
    monkeypatch.setattr(case, "HELD_VOXELS", 1000)
    toy.run(tmp_path / "by_planes", intensity={"ct": window})
    held, planes = (open_case(tmp_path / name, "case_0") for name in ("held", "by_planes"))
    assert held.image.shape == (93, 20, 13)
    assert np.abs(held.image[...] - planes.image[...]).max() <= 2**-8  # a step, where one flips
    assert np.mean(held.image[...] == planes.image[...]) > 0.999
    assert np.array_equal(held.label[...], planes.label[...])
    assert planes.meta["intensity"] == pytest.approx(held.meta["intensity"], rel=1e-6)
