"""Pictures and charts of the quality page: seen through, legible, with ticks that have numbers."""

import io
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from quality_bodies import NAMES, bodies, facts, measured

from hermes.files.volume import Volume
from hermes.quality.facts import DatasetFacts
from hermes.quality.finding import Finding
from hermes.quality.pictures import GAP, LEAST, PANEL, draw, shown_values
from hermes.report.quality import add_split
from hermes.report.quality_charts import LogScale, round_values
from hermes.report.quality_sections import Dataset, caveats, folded, section, structures

COLOURS = ["#ff0000"] * len(NAMES)


def drawn(case, image, label, spacing=(8.0, 8.0, 8.0)):
    """The picture of a case as an array [row, column, rgb]."""
    z, y, x = spacing
    data = draw(Volume(image, np.diag([-x, -y, z, 1.0])), label, case, COLOURS)
    return np.asarray(Image.open(io.BytesIO(b64decode(data.split(",")[1]))), dtype=float)


def test_areas_are_seen_through_and_only_edges_are_painted(tmp_path):
    case, each = measured(tmp_path, bodies(1))[0], bodies(1)["case_0"]
    flat = np.full_like(each.image, 40)
    axial = drawn(case, flat, each.label)[:, :PANEL]
    redness = axial[..., 0] - axial[..., 1]
    assert 0.005 < (redness > 90).mean() < 0.06  # the edges
    assert (redness > 8).mean() > 1.5 * (redness > 90).mean()  # areas, faint


def test_lungs_and_trachea_are_shown_in_the_window_of_lungs(tmp_path):
    case, each = measured(tmp_path, bodies(1))[0], bodies(1)["case_0"]
    lung = np.full_like(each.image, -800)
    assert drawn(case, lung, None)[PANEL // 2, PANEL // 2].max() < 10
    airy = replace(case, structures={"trachea": case.structures["liver"]})
    assert drawn(airy, lung, None)[PANEL // 2, PANEL // 2].min() > 60


def test_slices_stand_apart_and_a_slab_is_no_hairline(tmp_path):
    case, each = measured(tmp_path, bodies(1))[0], bodies(1)["case_0"]
    flat = np.full_like(each.image, 240)
    sheet = drawn(replace(case, slices=(0, 16, 24)), flat[:2], None)
    assert sheet[5:-5, PANEL + 3 : PANEL + GAP - 3].min() > 240
    coronal = sheet[:, PANEL + GAP : 2 * PANEL + GAP].mean(axis=2)
    assert abs((coronal[:, 60] > 128).sum() - LEAST) <= 3


def test_the_legend_names_what_the_slices_show(tmp_path):
    case, each = measured(tmp_path, bodies(1))[0], bodies(1)["case_0"]
    planes = [np.take(each.label, index, axis) for axis, index in enumerate(case.slices)]
    assert shown_values(each.label, case) == sorted({*np.concatenate(planes, None)} - {0})
    assert shown_values(None, case) == []


@pytest.mark.parametrize(("low", "high"), [(1, 1), (3, 3.2), (0.7, 5.9), (20, 900), (0.01, 5000)])
def test_an_axis_has_three_numbers_at_least(low, high):
    assert 3 <= len(LogScale([low, high], 0, 300).ticks()) <= 8


@pytest.mark.parametrize(("low", "high"), [(-1050.0, 800.0), (0.0, 1.0), (3.3, 1999.0)])
def test_linear_axes_have_round_numbers(low, high):
    values = round_values(low, high)
    assert 3 <= len(values) <= 8
    assert low <= values[0] < values[-1] <= high


def dataset(tmp_path, cases=None, **changes):
    """A dataset of bodies as the page knows it."""
    known = DatasetFacts.model_validate(facts(**changes))
    return Dataset(known, measured(tmp_path, cases or bodies(2)), [], [])


def test_a_split_within_a_patient_is_told_in_findings_and_overview(tmp_path):
    each = dataset(tmp_path)
    each.cases = [
        replace(case, row=case.row | {"patient": "one", "subset": side})
        for case, side in zip(each.cases, ("train", "test"), strict=True)
    ]
    rule = {"rule": "official", "train": 1, "test": 1, "within_patient": True}
    add_split(each, {"protocol": "paper", "rule": rule, "seed": 0}, "")
    assert each.split == {"case_0": "train", "case_1": "test"}
    (note,) = [f for f in each.findings if f.message.startswith("parts of one scan")]
    assert (note.level, "(1 patient: one)" in note.message) == ("note", True)
    assert section(each)["caveats"] == ["parts of one scan are trained on and tested on"]


def test_an_orientation_that_cannot_be_checked_is_no_green_sound():
    note = Finding(
        "d", "", "note", "position", "orientation cannot be checked: look at the pictures"
    )
    assert caveats([note]) == [note.message]
    assert caveats([Finding("d", "", "note", "position", "other")]) == []


def test_what_a_scan_shows_comes_before_counts(tmp_path):
    each = dataset(tmp_path)
    each.findings = [
        Finding("bodies", "", "error", "counts", "1 image instead of 2"),
        Finding("bodies", "case_0", "error", "position", "upside down"),
        Finding("bodies", "case_1", "error", "pairing", "apart"),
    ]
    found = section(each)
    assert found["headline"] == "case_1: apart"
    assert [line.check for line in found["groups"][0][1]] == ["pairing", "position", "counts"]


def test_one_note_on_many_cases_and_many_on_one_are_one_line_each():
    found = [
        *(Finding("d", case, "note", "conversion", "same") for case in ("a", "b", "c")),
        *(Finding("d", "a", "note", "spacing", text) for text in ("along z", "along y")),
        *(Finding("d", "", "note", "references", text) for text in ("one", "other")),
    ]
    assert [(line.case, line.message) for line in folded(found)] == [
        ("a, b, c", "same"),
        ("a", "along z; along y"),
        ("", "one"),
        ("", "other"),
    ]


def test_a_structure_that_every_scan_cuts_is_not_judged(tmp_path):
    above = {n: b.both(lambda a: a[24:].copy()) for n, b in bodies(2).items()}
    said = {row["label"].structure: row["adults"] for row in structures(dataset(tmp_path, above))}
    assert said["liver"] == "cut: not judged"
    assert "–" in said["left_kidney"]
