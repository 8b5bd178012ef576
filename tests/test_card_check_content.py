"""Check of a card: values, sides, patients and headers, and the converter agrees."""

import os
import signal

import fabricate
import numpy as np
import pytest
from card_folder import NIFTI, STRUCTURES, fill, grey_values, only_problem, shares
from test_convert_bad_input import GOOD, tree  # noqa: F401  (a folder with every kind of bad case)

import hermes.card_check.scan
from hermes.card_check import check
from hermes.card_check.layout import lay_out
from hermes.card_check.listing import read_folder
from hermes.card_check.scan import scan, scan_all
from hermes.card_check.text import WIDTH, render
from hermes.config.registry import RegistryError, load_card, load_structures

pytest_plugins = ["card_folder_fixtures"]


def test_values_are_held_against_the_card(raw, tmp_path):
    def with_nine(label, number):
        return np.where(label == 1, 9, label).astype(np.uint8) if number <= 2 else label

    labels = [{"value": 6, "structure": "liver"}, {"value": 1, "structure": "spleen"}]
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI], labels=labels)
    report = check(card, fill(raw, make_label=with_nine), STRUCTURES)
    finding = only_problem(report)
    assert finding.what.startswith("2 cases with values that the card does not list: 9 (")
    assert "unlisted_values: background" in finding.change
    fabricate.write_card(card, [NIFTI], labels=labels, ignored_values=[9])
    assert check(card, raw, STRUCTURES).fits


@pytest.mark.parametrize("cases", [None, 2])
def test_a_structure_that_no_reference_has(raw, tmp_path, cases):
    card = fabricate.write_card(
        tmp_path / "toy.yaml",
        [NIFTI],
        labels=[{"value": 6, "structure": "liver"}, {"value": 3, "structure": "spleen"}],
        unlisted_values="background",
    )
    report = check(card, fill(raw), STRUCTURES, cases=cases)
    (finding,) = report.findings
    assert "3 (spleen)" in finding.what
    assert finding.problem == (cases is None)  # the cases that were not read may have it
    assert ("of the first 2" in report.verdict) == (cases == 2)


def ones_as_255(label, number):
    return np.where(label > 0, 255, 0).astype(np.uint8)


@pytest.mark.parametrize(
    ("make_label", "what", "change"),
    [
        (ones_as_255, "masks of 0 and 255", "write 255 as the structure's `value`"),
        (shares, "label values are not integers", "`format: probability`"),
        (grey_values, "an image or a probability map, not labels", "to label volumes"),
    ],
)
def test_files_that_are_no_labels(raw, tmp_path, make_label, what, change):
    labels = [{"value": 1, "structure": "liver"}]
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI], labels=labels)
    finding = only_problem(check(card, fill(raw, make_label=make_label), STRUCTURES))
    assert what in finding.what
    assert change in finding.change


@pytest.mark.parametrize(("side", "fits"), [("right", True), ("left", False)])
def test_sides_that_most_cases_contradict(raw, tmp_path, side, fits):
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI], sides={"liver": side})
    report = check(card, fill(raw), STRUCTURES)
    assert report.fits == fits
    if not fits:
        assert only_problem(report).what.startswith("liver lies on the patient's right: 6 of 6")


def test_patients_splits_and_published_counts(raw, tmp_path):
    for part in ("a", "b"):
        name = f"p{{:02d}}_{part}.nii.gz"
        fill(raw, image=f"images/{name}", label=f"labels/{name}", cases=4)
    split = {"rule": "official_test", "train": 95, "val": 5}
    counts = {"images": 9, "patients": 4, "classes": 2, "size": 4}
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI], split=split, published=counts)
    report = check(card, raw, STRUCTURES)
    assert "official test set, but no case is in it" in only_problem(report).what
    looked = " ".join(finding.what for finding in report.findings if not finding.problem)
    assert "4 patients with several images: p01_a, p01_b" in looked
    assert "8 images of 9, 8 patients of 4 that are published" in looked
    source = NIFTI | {"pattern": "images/{patient}_{part}.nii.gz", "case": "{patient}_{part}"}
    source |= {
        "patient": "{patient}",
        "label": NIFTI["label"] | {"path": "labels/{patient}_{part}.nii.gz"},
    }
    rule = {"rule": "fraction", "train": 2, "val": 1, "test": 1}
    fabricate.write_card(card, [source], split=rule)
    report = check(card, raw, STRUCTURES)
    assert report.findings == ()
    assert report.sections["Patients of the 8 cases that can be used"] == [
        "4 patients, 8 images",
        "split (fraction): 2 train, 1 val, 1 test (patients)",
    ]


def test_the_card_itself(raw, tmp_path):
    fill(raw)
    labels = [{"value": 6, "structure": "TODO_6"}, {"value": 1, "structure": "TODO_1"}]
    with pytest.raises(RegistryError, match=r"name the structures of the values 6, 1"):
        card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI], labels=labels)
        check(card, raw, STRUCTURES)
    with pytest.raises(RegistryError, match=r"unlisted_value: unknown key; did you mean"):
        card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI], unlisted_value="background")
        check(card, raw, STRUCTURES)
    with pytest.raises(RegistryError, match=r"\{1\}.*begins with a letter"):
        card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI | {"pattern": "{1}.nii.gz"}])
        check(card, raw, STRUCTURES)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        check(fabricate.write_card(tmp_path / "toy.yaml", [NIFTI]), tmp_path / "no", STRUCTURES)


def test_cases_are_refused_for_the_converters_own_reasons(tree):  # noqa: F811
    raw, path = tree
    card = load_card(path)
    layout = lay_out(card, read_folder(raw))
    scans = {seen.case.name: seen for seen in scan_all(card, layout.jobs, workers=2)}
    done = fabricate.convert(raw, path)
    refused = {name: seen.reason for name, seen in scans.items() if seen.step}
    assert refused == done.rejected
    assert set(scans) - set(refused) == GOOD
    report = check(path, raw, load_structures("config/structures.tsv"))
    assert not report.fits
    text = render(report)
    assert text.splitlines()[-1].startswith("The card does not fit yet: ")
    for line in text.split("\n\nFiles\n")[0].splitlines():
        assert len(line) <= WIDTH or " " not in line.strip()


def test_a_case_whose_process_is_killed_is_one_of_those_that_are_left_out(
    raw, tmp_path, monkeypatch
):
    def killed(case, *rest):
        if case.name == "img0002":
            os.kill(os.getpid(), signal.SIGKILL)
        return original(case, *rest)

    original = hermes.card_check.scan.examine
    monkeypatch.setattr(hermes.card_check.scan, "examine", killed)
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI])
    finding = only_problem(check(card, fill(raw), STRUCTURES, workers=2))
    assert finding.what == "1 case (img0002): its process was killed; was memory short?"


def test_warnings_are_the_converters_own(raw, tmp_path):
    label = NIFTI["label"] | {"geometry": "image"}
    sides = {"liver": "left", "spleen": "left"}
    card = fabricate.write_card(tmp_path / "toy.yaml", [NIFTI | {"label": label}], sides=sides)
    grey, classes = fabricate.anatomy()
    sheared = fabricate.LPS.copy()
    sheared[0, 1] = 0.1
    upside_down = fabricate.published(classes)[::-1]
    for name, affine in (("plain", fabricate.LPS), ("bare", np.eye(4)), ("sheared", sheared)):
        fabricate.save_nifti(raw / "images" / f"{name}.nii.gz", grey, affine)
        fabricate.save_nifti(raw / "labels" / f"{name}.nii.gz", upside_down, affine)
    done = fabricate.convert(raw, card)
    assert set(done.cases) == {"plain", "bare", "sheared"}
    what = load_card(card)
    for job in lay_out(what, read_folder(raw)).jobs:
        seen, told = scan(what, job), done.cases[job.case.name]["warnings"]
        assert all(warning in told for warning in (*seen.warnings, seen.doubt))
        assert seen.skewed == ("off the right angle" in told) == (job.case.name == "sheared")
        assert bool(seen.doubt) == (job.case.name == "bare")
        assert told.count("; ") + 1 == len(seen.warnings) + seen.skewed + bool(seen.doubt)
