"""Numbers, references, spacing, grey values, copies, and what is measured of a volume."""

from dataclasses import replace

import numpy as np
import pytest
from quality_bodies import (
    NAMES,
    RELATIONS,
    bodies,
    facts,
    findings,
    measured,
    only,
    write,
)

from hermes.quality import measure
from hermes.quality.duplicates import find_duplicates
from hermes.quality.facts import DatasetFacts
from hermes.quality.finding import Finding, figure
from hermes.quality.judge import judge, telling_cases
from hermes.quality.measurements import PERCENTILES, histogram


def test_one_spacing_everywhere_is_a_resampled_copy_where_it_should_differ(tmp_path):
    alike = {name: replace(each, spacing_mm=(8.0,) * 3) for name, each in bodies().items()}
    assert not only(findings(tmp_path, alike), "spacing")
    found = only(findings(tmp_path, alike, varying_spacing=True), "spacing")
    assert [f.level for f in found] == ["error"]
    assert "resampled copy" in found[0].message


def test_numbers_are_held_against_the_card(tmp_path):
    expected = {"images": 12, "patients": 10, "empty": 3}
    found = findings(tmp_path, bodies(), expected=expected, unsure=("empty",))
    said = [(f.level, f.message) for f in found if f.check == "counts"]
    assert said == [
        ("warning", "10 images instead of 12"),
        (
            "note",
            "0 images without any annotated voxel instead of 3; sources disagree on this number",
        ),
    ]


@pytest.mark.parametrize("source", ["download", "phantom"])
def test_a_number_that_refuses_the_split_must_be_cleared_up(tmp_path, source):
    rejected = [{"case": "case_90", "source": "a.nii", "reason": "damaged"}]
    expected = {"images": 11, "patients": 12}
    known = {"expected": expected, "unsure": ("patients",), "rejected": rejected}
    found = findings(tmp_path, bodies(), source=source, **known)
    said = {f.message: f.level for f in found if f.check == "counts"}
    assert said == {
        "10 images instead of 11; 1 case could not be used, see below; the split is refused, and "
        "so is training": "error",
        "10 patients instead of 12; sources disagree on this number": "note",
    }


def test_rejected_cases_are_told_with_their_reasons(tmp_path):
    rejected = [{"case": f"case_{i}", "source": "a.nii", "reason": "damaged"} for i in (90, 91)]
    found = only(findings(tmp_path, bodies(), rejected=rejected), "rejected")
    assert [(f.case, f.level) for f in found] == [
        ("", "error"),
        ("case_90", "warning"),
        ("case_91", "warning"),
    ]
    assert found[0].message == "2 of 12 cases could not be used"
    assert found[1].message == "left out: damaged"


def test_empty_references_and_absent_structures(tmp_path):
    cases = {
        name: each.relabelled(lambda a: np.where(a == 4, 0, a).astype(np.uint8))
        for name, each in bodies().items()
    }
    cases["case_0"] = cases["case_0"].relabelled(np.zeros_like)
    found = only(findings(tmp_path, cases), "references")
    assert [(f.case, f.level) for f in found] == [("", "error"), ("case_0", "warning")]
    assert "gallbladder (value 4) is in no case" in found[0].message


@pytest.mark.parametrize(
    ("modality", "change", "words"),
    [
        ("ct", lambda a: (a + 1200).astype(np.int16), "an offset left in"),
        ("pet", lambda a: (a.clip(0) * 100).astype(np.int16), "no standardised uptake values"),
    ],
)
def test_grey_values_in_another_unit_are_seen(tmp_path, modality, change, words):
    cases = bodies()
    cases["case_7"] = replace(cases["case_7"], image=change(cases["case_7"].image))
    cases = {name: each for name, each in cases.items() if modality == "ct" or name == "case_7"}
    found = only(findings(tmp_path, cases, modality=modality), "grey values")
    assert found[0].case == "case_7"
    assert words in found[0].message


def test_a_reference_of_another_scan_is_seen(tmp_path):
    cases = bodies()
    cases["case_8"] = cases["case_8"].relabelled(lambda a: np.roll(a, (5, 5), (0, 1)))
    found = only(findings(tmp_path, cases), "grey values")
    assert [(f.case, f.level) for f in found] == [("case_8", "warning")]
    assert "does the reference belong to this scan?" in found[0].message


def test_copies_are_found_within_and_between_datasets(tmp_path):
    cases = measured(tmp_path, bodies(4))
    twin = replace(cases[0], row=cases[0].row | {"case": "twin", "patient": "twin"})
    other = replace(cases[1], row=cases[1].row | {"case": "x", "label_sha256": "drawn anew"})
    splits = {"a": {"case_0": "train", "twin": "test"}, "b": {"x": "test"}}
    found = find_duplicates({"a": [*cases, twin], "b": [other]}, splits, trained=())
    assert [(f.dataset, f.case, f.level) for f in found] == [
        ("a", "case_0", "error"),
        ("a", "case_1", "warning"),
        ("b", "x", "warning"),
    ]
    assert found[0].message == (
        "same image, same reference: a case_0 (train), a twin (test); a test scan is trained on"
    )
    assert found[1].message == "same image, different references: a case_1, b x (test)"


@pytest.mark.parametrize(
    ("trained", "sides", "level"),
    [
        (["a"], ("train", "test"), "error"),
        (["b"], ("train", "test"), "warning"),
        (["b"], ("test", "train"), "error"),
        (["a", "b"], ("train", "val"), "warning"),
        (["a", "b"], ("test", "test"), "warning"),
    ],
)
def test_a_test_scan_that_another_dataset_trains_the_networks_on_is_grave(
    tmp_path, trained, sides, level
):
    case = measured(tmp_path, bodies(1))[0]
    splits = {name: {"case_0": side} for name, side in zip("ab", sides, strict=True)}
    found = find_duplicates({"a": [case], "b": [case]}, splits, trained)
    assert [(f.dataset, f.level) for f in found] == [("a", level), ("b", level)]
    leaks = set(sides) == {"train", "test"}
    assert all(("; a test scan is trained on" in f.message) == leaks for f in found)


def test_a_reference_may_be_shared_by_the_images_of_one_patient(tmp_path):
    case = measured(tmp_path, bodies(1))[0]

    def echo(name, patient):
        return replace(
            case, row=case.row | {"case": name, "patient": patient, "image_sha256": name}
        )

    assert not find_duplicates({"a": [echo("in", "1"), echo("out", "1")]}, {}, ())
    found = find_duplicates({"a": [echo("in", "1"), echo("out", "2")]}, {}, ())
    assert [f.message for f in found] == ["same reference, different images: a in, a out"]


def test_empty_references_are_no_copies_of_each_other(tmp_path):
    cases = {name: each.relabelled(np.zeros_like) for name, each in bodies(3).items()}
    assert not find_duplicates({"a": measured(tmp_path, cases)}, {}, ())


def test_remarks_of_the_conversion_are_said_once_for_many_cases(tmp_path):
    cases = measured(tmp_path, bodies(3))
    remark = "axes {} degrees off the right angle: straightened"
    cases = [
        replace(case, row=case.row | {"warnings": remark.format(0.2 + i)})
        for i, case in enumerate(cases)
    ]
    found = judge(DatasetFacts.model_validate(facts()), cases, [], RELATIONS, "copy")
    said = [f.message for f in found if f.check == "conversion"]
    assert len(said) == 1
    assert said[0].startswith("3 cases: axes # degrees off the right angle")


def test_the_cases_in_doubt_are_shown_first_and_a_typical_one_last(tmp_path):
    cases = measured(tmp_path, bodies())
    found = [Finding("bodies", "case_7", "error", "position", "upside down")]
    shown = telling_cases(cases, found)
    assert (shown[0][0].name, *shown[0][1:]) == ("case_7", "error", "upside down")
    assert shown[-1][2] == "nearest to the usual volumes"
    assert len({case.name for case, _, _ in shown}) == 3


def test_measurements_are_what_was_drawn(tmp_path):
    case = measured(tmp_path, bodies(1))[0]
    drawn = bodies(1)["case_0"]
    liver = case.structures["liver"]
    assert liver.voxels == (drawn.label == 1).sum()
    assert liver.volume_ml == pytest.approx(liver.voxels * np.prod(drawn.spacing_mm) / 1000, 1e-4)
    z, y, x = (axis.mean() * mm for axis, mm in zip(np.nonzero(drawn.label == 1),
                                                    drawn.spacing_mm, strict=True))  # fmt: skip
    assert liver.centroid_mm == pytest.approx((x, y, z), abs=0.01)
    assert liver.mean_intensity == pytest.approx(drawn.image[drawn.label == 1].mean(), 1e-3)
    assert liver.touches == ""
    assert case.quantiles[PERCENTILES.index(50)] == np.percentile(drawn.image, 50)
    shows = [len(np.unique(plane)) for plane in drawn.label]
    assert shows[case.slices[0]] == max(shows)


def test_a_volume_that_is_not_what_the_table_says_is_refused(tmp_path):
    cases = bodies(1)
    cases["case_0"] = replace(cases["case_0"], label=cases["case_0"].label[1:])
    with pytest.raises(measure.QualityError, match=r"case_0_label\.nii\.gz: size"):
        measured(tmp_path, cases)
    cases["case_0"] = replace(bodies(1)["case_0"], label=bodies(1)["case_0"].label + np.uint8(3))
    with pytest.raises(measure.QualityError, match="value 12 of 9 structures"):
        measured(tmp_path, cases)


def test_every_case_that_cannot_be_measured_is_named(tmp_path):
    cases = bodies(3)
    write(tmp_path, cases)
    (tmp_path / "case_0.nii.gz").unlink()
    (tmp_path / "case_2_label.nii.gz").write_bytes(b"half")
    with pytest.raises(measure.QualityError) as told:
        measure.run(
            dataset="bodies",
            canonical=tmp_path,
            structures=list(NAMES),
            cases=tmp_path / "cases.tsv",
            measured=tmp_path / "m.tsv",
            measured_structures=tmp_path / "s.tsv",
            workers=2,
        )
    assert "bodies: 2 of 3 cases cannot be measured" in str(told.value)
    assert "case_0.nii.gz: no such file" in str(told.value)
    assert "case_2_label.nii.gz: " in str(told.value)
    assert not (tmp_path / "m.tsv").exists()


def test_a_histogram_from_quantiles_is_near_the_true_one():
    values = np.random.default_rng(1).normal(50, 20, 100_000)
    values[:40_000] = -1000  # air, all alike
    edges = np.linspace(-1010, 150, 30)
    true = np.histogram(values, edges)[0] / len(values)
    assert histogram(np.percentile(values, PERCENTILES), edges) == pytest.approx(true, abs=0.012)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0423, "0.0423"), (12.34, "12.3"), (1534.0, "1,530"), (0.0, "0")]
)
def test_figures_have_no_exponent(value, text):
    assert figure(value) == text


def test_one_slice_thickness_among_many_is_only_a_note(tmp_path):
    cases = {
        name: replace(each, spacing_mm=(2.0 * 1.3 ** int(name[-1]), 8.0, 8.0))
        for name, each in bodies().items()
    }
    cases["case_9"] = replace(cases["case_9"], spacing_mm=(60.0, 8.0, 8.0))
    found = [f for f in findings(tmp_path, cases) if f.check == "spacing"]
    assert [(f.case, f.level) for f in found if "no other scan" in f.message] == [
        ("case_9", "note")
    ]


def test_the_pictures_are_of_three_patients_where_there_are(tmp_path):
    cases = measured(tmp_path, bodies())
    twice = [replace(c, row=c.row | {"patient": str(int(c.name[-1]) // 2)}) for c in cases]
    assert len({case.patient for case, _, _ in telling_cases(twice, [])}) == 3
    alone = [replace(c, row=c.row | {"patient": "1"}) for c in cases]
    assert len(telling_cases(alone, [])) == 3
