"""Convert: every kind of bad input is named with its reason, and the good cases come through."""

import csv
import logging
import os
import re
import signal

import fabricate
import nibabel as nib
import numpy as np
import pytest

import hermes.convert
from hermes.convert import ConvertError

PNG_RANGES = {6: [55, 70], 1: [240, 255]}
IMAGES = [
    {
        "pattern": "img/{case}.nii.gz",
        "label": {"format": "nifti", "path": "label/{case}.nii.gz"},
    },
    {
        "pattern": "cine/{case}/{case}_sa.nii.gz",
        "frames": {"table": "frames.csv", "case_column": "Code", "columns": {"ED": "ED"}},
        "label": {"format": "nifti", "path": "cine/{case}/{case}_gt.nii.gz"},
    },
    {
        "pattern": "mr/{case}/DICOM_anon",
        "format": "dicom",
        "label": {"format": "png", "path": "mr/{case}/Ground", "ranges": PNG_RANGES},
    },
    {
        "pattern": "rt/{case}/images",
        "format": "dicom",
        "label": {"format": "rtstruct", "path": "rt/{case}/set_*.dcm", "contours": {6: "GTV"}},
    },
    {
        "pattern": "brain/{case}_img.nii.gz",
        "label": {"format": "probability", "maps": {6: "brain/{case}_liver.nii.gz"}},
    },
]

REASONS = {
    "truncated": r"truncated\.nii\.gz",
    "cut_header": r"cut_header\.nii\.gz",
    "not_nifti": r"not_nifti\.nii\.gz",
    "zero_bytes": r"zero_bytes\.nii\.gz: the file is empty \(0 bytes\)",
    "label_truncated": r"label_truncated\.nii\.gz",
    "label_shape": r"label_shape\.nii\.gz: size .* but its image has",
    "label_grid": r"label_grid\.nii\.gz: lies on another grid than its image",
    "label_unknown": r"unknown label value: .*neither lists nor ignores 77 \(3 voxels\)",
    "label_fraction": r"label_fraction\.nii\.gz: \d+ label values are not integers",
    "label_nan": r"label_nan\.nii\.gz: label values run from nan",
    "label_missing": r"reference segmentation: label/label_missing\.nii\.gz: no such file",
    "nan_affine": r"nan_affine\.nii\.gz.*(finite|NaN|nan)",
    "singular_affine": r"singular_affine\.nii\.gz.*singular",
    "nan_voxels": r"1 voxels of the image are not finite",
    "constant": r"constant image: every voxel is 7",
    "four_dimensions": r"four_dimensions\.nii\.gz: not 3D but",
    "frame_beyond_ED": r"frame_beyond_sa\.nii\.gz.*frame.* 3",
    "frame_blank_ED": r"frames\.csv: ED of 'frame_blank' is ''",
    "frame_unlisted_ED": r"frames\.csv: 0 rows for 'frame_unlisted'",
    "slice_missing": r"gap of 6 mm between .* where slices are 3 mm apart",
    "slice_twice": r"s03\.dcm and s99\.dcm lie at the same position",
    "slice_broken": r"s02\.dcm: not a readable DICOM slice",
    "slice_other_series": r"differ in size, pixel spacing or direction",
    "slice_cut": r"s04\.dcm: pixels cannot be decoded",
    "png_count": r"7 PNG slices in the reference, 8 slices in the image",
    "png_grey": r"unknown label value: grey outside of every range of the card: 100 \(1 voxels\)",
    "png_size": r"m03\.png: size \(5, 5\)",
    "roi_missing": r"no region of interest 'GTV'; it has: Heart",
    "map_not_share": r"map_not_share_liver\.nii\.gz: values from -3 to -?0 are no probabilities",
}
GOOD = {"good", "good_cine_ED", "good_mr", "good_rt", "good_brain"}


def save_pair(raw, name, image=None, label=None, affine=fabricate.LPS, label_affine=None):
    whole, classes = fabricate.anatomy()
    values = fabricate.published(classes) if label is None else label
    image = whole if image is None else image
    fabricate.save_nifti(raw / "img" / f"{name}.nii.gz", image, affine)
    label_affine = affine if label_affine is None else label_affine
    fabricate.save_nifti(raw / "label" / f"{name}.nii.gz", values, label_affine)


def cut(path, keep):
    """Keep the first part of a file: a share of it, or a number of bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])


def broken_files(raw):
    for name in ("truncated", "cut_header", "not_nifti", "zero_bytes", "label_truncated"):
        save_pair(raw, name)
    cut(raw / "img" / "truncated.nii.gz", 0.7)
    cut(raw / "img" / "cut_header.nii.gz", 40)
    cut(raw / "label" / "label_truncated.nii.gz", 0.7)
    (raw / "img" / "not_nifti.nii.gz").write_text("<html>please log in</html>")
    (raw / "img" / "zero_bytes.nii.gz").write_bytes(b"")


def bad_labels(raw):
    _, classes = fabricate.anatomy()
    label = fabricate.published(classes)
    save_pair(raw, "label_shape", label=label[:-1])
    moved = fabricate.LPS.copy()
    moved[2, 3] += 3
    save_pair(raw, "label_grid", label_affine=moved)
    unknown = label.copy()
    unknown[0, 0, :3] = 77
    save_pair(raw, "label_unknown", label=unknown)
    save_pair(raw, "label_fraction", label=label * np.float32(0.5))
    holed = label.astype(np.float32)
    holed[0, 0, 0] = np.nan
    save_pair(raw, "label_nan", label=holed)
    save_pair(raw, "label_missing")
    (raw / "label" / "label_missing.nii.gz").unlink()


def set_affine(path, affine):
    """Write an affine into a file's header that nibabel itself would refuse to write."""
    image = nib.load(path)
    data, header = np.asarray(image.dataobj), image.header.copy()
    header["qform_code"], header["sform_code"] = 0, 1
    for row, values in zip(("srow_x", "srow_y", "srow_z"), affine, strict=False):
        header[row] = values
    raw = header.binaryblock + b"\0" * 4 + data.tobytes(order="F")
    opened = nib.openers.ImageOpener(str(path), "wb")
    opened.write(raw)
    opened.close()


def bad_images(raw):
    image, _ = fabricate.anatomy()
    for name in ("nan_affine", "singular_affine"):
        save_pair(raw, name)
        affine = fabricate.LPS.copy()
        affine[0, :3] = np.nan if name == "nan_affine" else 0
        set_affine(raw / "img" / f"{name}.nii.gz", affine)
    holed = image.astype(np.float32)
    holed[4, 4, 4] = np.nan
    save_pair(raw, "nan_voxels", image=holed)
    save_pair(raw, "constant", image=np.full_like(image, 7))
    save_pair(raw, "four_dimensions", image=np.stack([image, image]))


def cine(raw):
    image, classes = fabricate.anatomy()
    label = fabricate.published(classes)
    for name in ("good_cine", "frame_beyond", "frame_blank", "frame_unlisted"):
        stem = raw / "cine" / name
        fabricate.save_nifti(stem / f"{name}_sa.nii.gz", np.stack([0 * image, image, image]))
        fabricate.save_nifti(stem / f"{name}_gt.nii.gz", np.stack([0 * label, label, label]))
    with open(raw / "frames.csv", "w", newline="") as handle:
        rows = [["Code", "ED"], ["good_cine", 1], ["frame_beyond", 3], ["frame_blank", ""]]
        csv.writer(handle).writerows(rows)


def series(raw):
    image, classes = fabricate.anatomy()
    names = [f"s{k:02d}.dcm" for k in range(len(image))]
    grey = np.array([0, 63, 252])[classes]
    cases = ("good_mr", "slice_missing", "slice_twice", "slice_broken", "slice_other_series")
    for case in (*cases, "slice_cut", "png_count", "png_grey", "png_size"):
        folder = raw / "mr" / case
        fabricate.save_series(folder / "DICOM_anon", image, names)
        for k, picture in enumerate(grey):
            fabricate.save_png(folder / "Ground" / f"m{k:02d}.png", picture)
    (raw / "mr/slice_missing/DICOM_anon/s03.dcm").unlink()
    cut(raw / "mr/slice_broken/DICOM_anon/s02.dcm", 100)
    cut(raw / "mr/slice_cut/DICOM_anon/s04.dcm", 0.9)
    stored = image[3].astype(np.int32) + 1024
    place = (0.0, 0.0, 9.0)
    fabricate.save_slice(raw / "mr/slice_twice/DICOM_anon/s99.dcm", stored, place, instance=99)
    fabricate.save_slice(
        raw / "mr/slice_other_series/DICOM_anon/s99.dcm", stored[:5], (0, 0, 24.0), instance=99
    )
    (raw / "mr/png_count/Ground/m03.png").unlink()
    odd = grey[3].copy()
    odd[0, 0] = 100
    fabricate.save_png(raw / "mr/png_grey/Ground/m03.png", odd)
    fabricate.save_png(raw / "mr/png_size/Ground/m03.png", np.zeros((5, 5)))


def structure_sets(raw):
    image, _ = fabricate.anatomy()
    square = np.array([[3, 3, 6], [11, 3, 6], [11, 9, 6], [3, 9, 6]], float)
    for case, region in (("good_rt", "GTV"), ("roi_missing", "Heart")):
        folder = raw / "rt" / case
        names = [f"s{k:02d}.dcm" for k in range(len(image))]
        fabricate.save_series(folder / "images", image, names)
        fabricate.save_structure_set(folder / "set_7.dcm", {region: [square]})


def probability_maps(raw):
    image, classes = fabricate.anatomy()
    for case, scale in (("good_brain", 1), ("map_not_share", -3)):
        share = (classes == 1).astype(np.float32) * scale
        fabricate.save_nifti(raw / "brain" / f"{case}_img.nii.gz", image)
        fabricate.save_nifti(raw / "brain" / f"{case}_liver.nii.gz", share)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    raw = folder / "raw"
    save_pair(raw, "good")
    for fabricated in (broken_files, bad_labels, bad_images, cine, series):
        fabricated(raw)
    structure_sets(raw)
    probability_maps(raw)
    return raw, fabricate.write_card(folder / "toy.yaml", IMAGES)


@pytest.fixture(scope="module")
def converted(tree):
    return fabricate.convert(*tree)


@pytest.mark.parametrize(("case", "reason"), REASONS.items())
def test_bad_case_is_rejected_with_its_reason(converted, case, reason):
    assert re.search(reason, converted.rejected[case]), converted.rejected[case]


def test_only_the_bad_ones_are_rejected(converted):
    assert set(converted.cases) == GOOD
    assert set(converted.rejected) == set(REASONS)
    assert not [r for r in converted.rejected.values() if "unexpected" in r]


def test_good_ones_are_whole(converted):
    image, classes = fabricate.anatomy()
    for case in ("good", "good_cine_ED", "good_mr"):
        assert np.array_equal(converted.image(case), image)
        assert np.array_equal(converted.label(case), classes)
    assert np.array_equal(converted.label("good_brain") == 1, classes == 1)
    assert np.count_nonzero(converted.label("good_rt")) > 0


def test_rejected_cases_leave_no_file(converted):
    names = {path.name for path in converted.out.iterdir() if path.is_file()}
    assert names == {f"{case}{end}" for case in GOOD for end in (".nii.gz", "_label.nii.gz")}


def test_every_rejection_is_one_line_of_the_log(tree, caplog):
    caplog.set_level(logging.WARNING, logger="hermes.convert")
    fabricate.convert(*tree)
    lines = [r.message for r in caplog.records if r.message.startswith("toy: rejected ")]
    assert len(lines) == len(REASONS)
    assert all("\n" not in line for line in lines)


def test_rerun_and_parallel_run_give_the_same_files(tree, converted):
    before = {path.name: path.read_bytes() for path in converted.out.glob("*.nii.gz")}
    (converted.out / ".records" / "good.json").unlink()
    again = fabricate.convert(*tree, workers=2)
    assert {path.name: path.read_bytes() for path in again.out.glob("*.nii.gz")} == before
    assert (again.cases, again.rejected) == (converted.cases, converted.rejected)


def test_nothing_usable_is_an_error_with_folder_patterns_and_reasons(tmp_path):
    raw = tmp_path / "raw"
    save_pair(raw, "truncated")
    cut(raw / "img" / "truncated.nii.gz", 0.7)
    card = fabricate.write_card(tmp_path / "toy.yaml", IMAGES[:1])
    with pytest.raises(ConvertError, match=r"raw: none of the 1 cases(.|\n)*truncated\.nii\.gz"):
        fabricate.convert(raw, card)
    assert (tmp_path / "rejected.tsv").is_file()
    assert not (tmp_path / "cases.tsv").exists()


def test_file_that_changed_after_the_manifest_is_rejected(tmp_path):
    raw = tmp_path / "raw"
    for name in ("kept", "changed"):
        save_pair(raw, name)
    card = fabricate.write_card(tmp_path / "toy.yaml", IMAGES[:1])
    manifest = fabricate.write_manifest(raw)
    cut(raw / "img" / "changed.nii.gz", 0.7)
    done = fabricate.convert(raw, card, manifest=manifest)
    assert list(done.cases) == ["kept"]
    assert "but the manifest says" in done.rejected["changed"]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_process_that_is_killed_rejects_one_case(tmp_path, monkeypatch, workers):
    raw, original = tmp_path / "raw", hermes.convert.convert_case
    for name in ("a", "b", "c", "d"):
        save_pair(raw, name)
    card = fabricate.write_card(tmp_path / "toy.yaml", IMAGES[:1])

    def killed(case, *rest):
        if case.name == "b":
            os.kill(os.getpid(), signal.SIGKILL)
        return original(case, *rest)

    monkeypatch.setattr(hermes.convert, "convert_case", killed)
    done = fabricate.convert(raw, card, workers=workers)
    assert list(done.cases) == ["a", "c", "d"]
    assert done.rejected["b"].startswith("its process was killed; was memory short? With more of ")
    monkeypatch.undo()
    image = done.out / "a.nii.gz"
    before = image.stat().st_mtime_ns
    again = fabricate.convert(raw, card, workers=workers)
    assert list(again.cases) == ["a", "b", "c", "d"]
    assert not again.rejected
    assert image.stat().st_mtime_ns == before
