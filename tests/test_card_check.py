"""Check of a card: files that its patterns miss are named with what to change."""

import fabricate
import numpy as np
import pytest
from card_folder import NIFTI, STRUCTURES, fill, only_problem, shares

from hermes.card_check import check
from hermes.card_check.layout import lay_out
from hermes.card_check.listing import read_folder
from hermes.card_check.nearest import correct, pairs
from hermes.card_check.text import render
from hermes.config.registry import load_card

pytest_plugins = ["card_folder_fixtures"]


def test_a_card_that_fits_gets_a_verdict_and_nothing_is_written(raw, tmp_path):
    split = {"rule": "fraction", "train": 75, "val": 5, "test": 20}
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI], split=split)
    fill(raw)
    before = sorted(tmp_path.rglob("*"))
    report = check(card, raw, STRUCTURES, workers=2)
    assert report.fits
    assert not report.findings
    assert report.verdict == "The card fits: 6 cases, 2 structures."
    assert sorted(tmp_path.rglob("*")) == before
    lines = render(report).splitlines()
    assert lines[-1] == report.verdict
    assert "  split (fraction): 4 train, 1 val, 1 test (patients)" in lines
    assert "  spacing_mm         3, 1.5, 2" in lines
    liver = next(line.split() for line in lines if "liver" in line)
    _, classes = fabricate.anatomy()
    voxels = 6 * np.count_nonzero(classes == 1)
    assert liver[:4] == ["6", "liver", "6", str(voxels)]


@pytest.mark.parametrize(
    ("image", "pattern", "change"),
    [
        ("top/images/{:d}.nii.gz", "images/{case}.nii.gz", "top/images/{case}.nii.gz"),
        ("s{:d}/images/ct.nii.gz", "images/{case}.nii.gz", "{case}/images/ct.nii.gz"),
        ("s{:d}/images/{:d}.nii.gz", "images/{case}.nii.gz", "{folder}/images/{case}.nii.gz"),
        ("images/{:d}.nii", "images/{case}.nii.gz", "images/{case}.nii"),
        ("images/{:d}.nii.gz", "data/images/{case}.nii.gz", "images/{case}.nii.gz"),
        ("images/{:d}.nii.gz", "./images/{case}.nii.gz", "images/{case}.nii.gz"),
        ("Images/{:d}.nii.gz", "images/{case}.nii.gz", "Images/{case}.nii.gz"),
        ("images/p{:d}/ct.nii.gz", "images/{case}.nii.gz", "images/{case}/ct.nii.gz"),
        ("p{:d}/p{:d}.nii.gz", "{case}.nii.gz", "{case}/{case}.nii.gz"),
        ("imagesTr/{:d}.nii.gz", "imageTr/{case}.nii.gz", "imagesTr/{case}.nii.gz"),
        ("images/scan_{:d}.nii.gz", "images/img_{case}.nii.gz", "images/{case}.nii.gz"),
    ],
)
def test_a_pattern_that_misses_is_answered_with_one_that_fits(
    raw, tmp_path, image, pattern, change
):
    grey, _ = fabricate.anatomy()
    for number in (1, 2, 3):
        fabricate.save_nifti(raw / image.format(number, number), grey)
    source = {"pattern": pattern, "label": {"format": "none"}}
    card = fabricate.write_card(tmp_path / "toy.yaml", [source])
    finding = only_problem(check(card, raw, STRUCTURES))
    assert finding.what.startswith(f"{pattern}: matches no file; ")
    assert finding.change == f"pattern: {change} (matches 3)"
    fabricate.write_card(card, [source | {"pattern": change}])
    assert check(card, raw, STRUCTURES).fits


@pytest.mark.parametrize(
    ("label", "change"),
    [
        ("masks/img{:04d}.nii.gz", "label path: masks/{case}.nii.gz"),
        ("labels/img{:04d}.nii", "label path: labels/{case}.nii"),
        (
            "labels/seg{:04d}.nii.gz",
            "pattern: images/img{case}.nii.gz and label path: labels/seg{case}.nii.gz",
        ),
        ("labels/img{:d}.nii.gz", "rename the files, or link them"),
    ],
)
def test_references_elsewhere_are_answered_with_where_they_are(raw, card, label, change):
    finding = only_problem(check(card, fill(raw, label=label), STRUCTURES))
    assert "6 of 6 images without a reference: images/img0001.nii.gz needs" in finding.what
    assert finding.change == change


@pytest.mark.parametrize(
    ("folder", "pattern", "change"),
    [
        ("mr/{:d}/T2", "mr/{case}", "mr/{case}/T2"),
        ("mr/{:d}", "mr/{case}/T2", "mr/{case}"),
        ("top/mr/{:d}", "mr/{case}", "top/mr/{case}"),
    ],
)
def test_series_that_lie_in_another_folder(raw, tmp_path, folder, pattern, change):
    image, _ = fabricate.anatomy()
    for number in (1, 2):
        names = [f"s{k}.dcm" for k in range(len(image))]
        fabricate.save_series(raw / folder.format(number), image, names)
    source = {"pattern": pattern, "format": "dicom", "label": {"format": "none"}}
    card = fabricate.write_card(tmp_path / "toy.yaml", [source])
    assert only_problem(check(card, raw, STRUCTURES)).change == f"pattern: {change} (matches 2)"


def test_one_of_several_probability_maps_has_another_name(raw, tmp_path):
    fill(raw, label="maps/img{:04d}_liver.nii.gz", make_label=shares)
    fill(raw, label="maps/img{:04d}_spleen.nii.gz", make_label=shares)
    maps = {6: "maps/{case}_liver.nii.gz", 1: "maps/{case}_milt.nii.gz"}
    source = NIFTI | {"label": {"format": "probability", "maps": maps}}
    card = fabricate.write_card(tmp_path / "toy.yaml", [source])
    finding = only_problem(check(card, raw, STRUCTURES))
    assert "needs maps/img0001_milt.nii.gz, which is not there" in finding.what
    assert finding.change == "label path: maps/{case}_spleen.nii.gz"


def test_nnunet_names_differ_by_the_channel(raw, card):
    fill(raw, image="images/x_{:03d}_0000.nii.gz", label="labels/x_{:03d}.nii.gz")
    change = only_problem(check(card, raw, STRUCTURES)).change
    assert change == "pattern: images/{case}_0000.nii.gz and label path: labels/{case}.nii.gz"


def test_references_beside_their_images_are_no_images(raw, tmp_path):
    fill(raw, image="{:02d}.nii.gz", label="{:02d}_seg.nii.gz")
    source = {"pattern": "{case}.nii.gz", "label": NIFTI["label"] | {"path": "{case}_seg.nii.gz"}}
    card = fabricate.write_card(tmp_path / "toy.yaml", [source])
    report = check(card, raw, STRUCTURES)
    assert report.fits
    assert report.verdict.startswith("The card fits: 6 ")


def test_a_pattern_for_another_copy_is_no_problem(raw, tmp_path):
    other = {"pattern": "imagesTr/{case}.nii.gz", "label": {"format": "none"}}
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI, other])
    report = check(card, fill(raw), STRUCTURES)
    assert report.fits
    assert report.findings[0].what == "imagesTr/{case}.nii.gz: matches no file"


def test_numbers_that_leave_nothing_are_named(raw, tmp_path):
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI | {"numbers": [10, 20]}])
    finding = only_problem(check(card, fill(raw), STRUCTURES))
    assert "no case's last number lies in `numbers` [10, 20]" in finding.what


def test_two_images_of_one_name_are_named(raw, tmp_path):
    other = {"pattern": "b/{case}.nii.gz", "label": {"format": "none"}}
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI, other])
    fill(fill(raw), image="b/img{:04d}.nii.gz", label="")
    finding = only_problem(check(card, raw, STRUCTURES))
    assert finding.what.startswith("images/img0001.nii.gz and b/img0001.nii.gz both give the case")


def test_format_and_files_that_disagree(raw, tmp_path):
    source = {"pattern": "images/{case}.nii.gz", "format": "dicom", "label": {"format": "none"}}
    card = fabricate.write_card(tmp_path / "toy.yaml", [source])
    assert only_problem(check(card, fill(raw, label=""), STRUCTURES)).change == "format: nifti"


def test_unused_files_orphans_and_a_list_out_of_date(raw, card):
    fabricate.write_manifest(fill(raw))
    (raw / "notes.txt").write_text("seen by two readers")
    fabricate.save_nifti(raw / "labels" / "img0099.nii.gz", fabricate.anatomy()[1])
    report = check(card, raw, STRUCTURES)
    assert report.fits
    assert "not used: 2 files" in report.sections["Files"]
    said = " ".join(finding.what for finding in report.findings)
    assert "1 reference without an image: labels/img0099.nii.gz" in said
    assert "2 files came, went or changed after raw.json listed the folder" in said


def test_nothing_near_is_no_correction():
    assert correct("images/{case}.nii.gz", ["notes.txt", "a/b/c.pdf"]) is None
    assert list(pairs("a/ct.nii.gz", "b/heart.nii.gz")) == []


def test_scans_that_are_there_twice_are_named_and_fit(raw, tmp_path):
    copy = NIFTI | {"pattern": "b/x{case}.nii.gz", "copy_of": NIFTI["pattern"]}
    copy |= {"label": {"format": "nifti", "path": "b/y{case}.nii.gz"}}
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI, copy])
    fill(fill(raw), image="b/ximg{:04d}.nii.gz", label="b/yimg{:04d}.nii.gz", cases=2)
    report = check(card, raw, STRUCTURES)
    assert report.fits
    (finding,) = report.findings
    assert finding.what == (
        "2 cases there twice, such as images/img0001.nii.gz and b/ximg0001.nii.gz"
    )
    jobs = lay_out(load_card(card), read_folder(raw)).jobs
    assert [job.case.path for job in jobs[:3]] == [
        "b/ximg0001.nii.gz",
        "b/ximg0002.nii.gz",
        "images/img0003.nii.gz",
    ]
