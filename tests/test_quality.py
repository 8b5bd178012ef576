"""Sound data pass; a scan turned over, exchanged labels, a wrong spacing and copies stand out."""

from dataclasses import replace

import numpy as np
import pytest
from quality_bodies import CONFIG, bodies, exchange, facts, write

from hermes.quality import measure
from hermes.quality.anatomy import AnatomyError, judge_case, load_relations
from hermes.quality.duplicates import find_duplicates
from hermes.quality.facts import DatasetFacts
from hermes.quality.finding import Finding, figure, worst
from hermes.quality.judge import judge, telling_cases
from hermes.quality.measurements import LEVELS, histogram, read_measurements
from hermes.registry import RegistryError, load_structures

RELATIONS = load_relations(CONFIG / "anatomy.tsv")


def measured(folder, cases, modality="ct"):
    table = write(folder, cases, modality)
    tables = folder / "measured.tsv", folder / "structures.tsv"
    names = [label["structure"] for label in facts()["labels"]]
    measure.run(
        dataset="bodies",
        canonical=folder,
        structures=names,
        cases=table,
        measured=tables[0],
        measured_structures=tables[1],
    )
    return read_measurements(*tables)


def findings(folder, cases, rejected=(), modality="ct", **changes):
    known = DatasetFacts.model_validate(facts(**changes))
    return judge(known, measured(folder, cases, modality), list(rejected), RELATIONS)


def doubts(found):
    return [(f.case, f.level, f.check) for f in found if f.severity > 1]


def only(found, check):
    return [f for f in found if f.check == check and f.severity > 1]


def test_sound_data_have_no_finding_and_say_what_was_checked(tmp_path):
    found = findings(tmp_path, bodies())
    assert worst(found) == "ok"
    assert {f.check for f in found} == {
        "counts", "rejected", "references", "position", "volumes", "spacing", "grey values",
        "conversion",
    }  # fmt: skip
    text = next(f.message for f in found if f.check == "position")
    assert text.endswith("left and right in 10, head and foot in 10, front and back in 10 cases")


FLIPS = {
    "mirrored left to right": lambda a: a[:, :, ::-1],
    "upside down": lambda a: a[::-1],
    "turned front to back": lambda a: a[:, ::-1],
}


@pytest.mark.parametrize("words", FLIPS)
def test_a_case_that_is_turned_over_is_named_so(tmp_path, words):
    cases = bodies()
    cases["case_3"] = cases["case_3"].both(lambda a: np.ascontiguousarray(FLIPS[words](a)))
    found = only(findings(tmp_path, cases), "position")
    assert [(f.case, f.level) for f in found] == [("case_3", "error")]
    assert found[0].message.startswith(words)


def test_a_dataset_that_is_mirrored_is_said_once(tmp_path):
    turned = {
        name: each.both(lambda a: np.ascontiguousarray(a[:, :, ::-1]))
        for name, each in bodies().items()
    }
    found = only(findings(tmp_path, turned), "position")
    assert [(f.case, f.message) for f in found] == [
        ("", "in 10 of 10 cases: mirrored left to right")
    ]


def test_exchanged_labels_of_one_case_are_named(tmp_path):
    cases = bodies()
    cases["case_2"] = cases["case_2"].relabelled(exchange("left_kidney", "right_kidney"))
    found = only(findings(tmp_path, cases), "position")
    assert [(f.case, f.level, f.message) for f in found] == [
        ("case_2", "error", "left kidney and right kidney look exchanged")
    ]


def test_a_wrong_label_map_is_named_with_its_values(tmp_path):
    cases = {n: b.relabelled(exchange("liver", "spleen")) for n, b in bodies().items()}
    found = [f for f in findings(tmp_path, cases) if f.severity > 1 and not f.case]
    assert {f.check for f in found} == {"position", "adult volumes"}
    assert "liver and spleen look exchanged (values 1 and 2)" in "".join(f.message for f in found)
    assert any("values 1 and 2 (spleen) may be exchanged" in f.message for f in found)


def test_a_structure_out_of_place_is_one_warning(tmp_path):
    cases = bodies()
    label = cases["case_1"].label.copy()
    label[label == 9] = 0  # the bladder, drawn again near the top
    label[36:39, 11:16, 22:27] = 9
    cases["case_1"] = replace(cases["case_1"], label=label)
    found = only(findings(tmp_path, cases), "position")
    assert [(f.case, f.level) for f in found] == [("case_1", "warning")]
    assert "does not lie above bladder" in found[0].message


def test_what_the_field_of_view_cuts_is_not_held_against_a_case(tmp_path):
    cases = bodies()
    whole = cases["case_4"]
    cases["case_4"] = whole.both(lambda a: np.ascontiguousarray(a[24:]))  # from the liver upwards
    case = next(c for c in measured(tmp_path, cases) if c.name == "case_4")
    assert "I" in case.structures["liver"].touches
    assert judge_case(case, RELATIONS).sound
    assert not [f for f in findings(tmp_path, cases) if f.case == "case_4" and f.severity > 1]


def test_air_that_is_called_an_organ_is_seen_on_ct_alone(tmp_path):
    path = tmp_path / "anatomy.tsv"
    path.write_text("structure\trelation\tother\ngallbladder\tdarker_on_ct\tliver\n")
    relations = load_relations(path)
    cases = {n: b.relabelled(exchange("gallbladder", "liver")) for n, b in bodies(2).items()}
    for modality, sound in (("ct", False), ("t1", True)):
        case = measured(tmp_path, cases, modality)[0]
        assert judge_case(case, relations).sound is sound


def test_a_structure_that_shrank_is_named(tmp_path):
    cases = bodies()
    label = cases["case_5"].label.copy()
    label[(label == 1) & (np.indices(label.shape)[2] > 10)] = 0
    cases["case_5"] = replace(cases["case_5"], label=label)
    found = only(findings(tmp_path, cases), "volumes")
    assert [(f.case, f.level) for f in found] == [("case_5", "warning")]
    assert found[0].message.startswith("liver: ")


@pytest.mark.parametrize("factor", [0.7, 1.6])
def test_a_wrong_spacing_shows_in_the_spacing_and_in_all_volumes(tmp_path, factor):
    cases = bodies()
    spacing = tuple(mm * factor for mm in cases["case_6"].spacing_mm)
    cases["case_6"] = replace(cases["case_6"], spacing_mm=spacing)
    found = findings(tmp_path, cases)
    texts = [f.message for f in only(found, "volumes") if f.case == "case_6"]
    assert len(texts) == 1
    assert "the spacing may be wrong" in texts[0]
    if factor == 1.6:
        assert [f.case for f in only(found, "spacing")] == ["case_6"] * 3


def test_one_spacing_everywhere_is_a_resampled_copy_where_it_should_differ(tmp_path):
    alike = {name: replace(each, spacing_mm=(8.0,) * 3) for name, each in bodies().items()}
    assert not only(findings(tmp_path, alike), "spacing")
    found = only(findings(tmp_path, alike, varying_spacing=True), "spacing")
    assert [f.level for f in found] == ["error"]
    assert "resampled copy" in found[0].message


def test_a_median_is_held_against_the_card(tmp_path):
    labels = facts()["labels"]
    labels[3] |= {"median_ml": 64.0}  # gallbladder: in truth near 14 ml, and the bladder near 64
    labels[8] |= {"median_ml": 14.0}
    found = only(findings(tmp_path, bodies(), labels=labels), "published volumes")
    assert [f.level for f in found] == ["error", "error"]
    assert "values 4 and 9 (bladder) may be exchanged" in found[0].message


def test_lesions_may_have_any_size(tmp_path):
    labels = [label | {"kind": "lesion"} for label in facts()["labels"]]
    cases = bodies()
    cases["case_5"] = cases["case_5"].relabelled(lambda a: np.where(a == 1, 0, a).astype(np.uint8))
    assert not only(findings(tmp_path, cases, labels=labels), "volumes")


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
        ("ct", lambda a: (a + 1200).astype(np.int16), "not Hounsfield units"),
        ("pet", lambda a: (a.clip(0) * 100).astype(np.int16), "not SUV"),
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
    found = find_duplicates({"a": [*cases, twin], "b": [other]}, splits)
    assert [(f.dataset, f.case, f.level) for f in found] == [
        ("a", "case_0", "error"),
        ("a", "case_1", "warning"),
        ("b", "x", "warning"),
    ]
    assert found[0].message == (
        "same image, same reference: a case_0 (train), a twin (test); a test scan is trained on"
    )
    assert found[1].message == "same image, different references: a case_1, b x (test)"


def test_a_reference_may_be_shared_by_the_images_of_one_patient(tmp_path):
    case = measured(tmp_path, bodies(1))[0]

    def echo(name, patient):
        return replace(
            case, row=case.row | {"case": name, "patient": patient, "image_sha256": name}
        )

    assert not find_duplicates({"a": [echo("in", "1"), echo("out", "1")]}, {})
    found = find_duplicates({"a": [echo("in", "1"), echo("out", "2")]}, {})
    assert [f.message for f in found] == ["same reference, different images: a in, a out"]


def test_empty_references_are_no_copies_of_each_other(tmp_path):
    cases = {name: each.relabelled(np.zeros_like) for name, each in bodies(3).items()}
    assert not find_duplicates({"a": measured(tmp_path, cases)}, {})


def test_remarks_of_the_conversion_are_said_once_for_many_cases(tmp_path):
    cases = measured(tmp_path, bodies(3))
    remark = "axes {} degrees off the right angle: straightened"
    cases = [
        replace(case, row=case.row | {"warnings": remark.format(0.2 + i)})
        for i, case in enumerate(cases)
    ]
    found = judge(DatasetFacts.model_validate(facts()), cases, [], RELATIONS)
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
    assert case.quantiles[LEVELS.index(50)] == np.percentile(drawn.image, 50)
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


def test_a_histogram_from_quantiles_is_near_the_true_one():
    values = np.random.default_rng(1).normal(50, 20, 100_000)
    values[:40_000] = -1000  # air, all alike
    edges = np.linspace(-1010, 150, 30)
    true = np.histogram(values, edges)[0] / len(values)
    assert histogram(np.percentile(values, LEVELS), edges) == pytest.approx(true, abs=0.012)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0423, "0.0423"), (12.34, "12.3"), (1534.0, "1,530"), (0.0, "0")]
)
def test_figures_have_no_exponent(value, text):
    assert figure(value) == text


def test_relations_speak_of_known_structures_and_none_contradicts_another():
    known = load_structures(CONFIG / "structures.tsv")
    for relation in RELATIONS:
        assert relation.structure in known, relation
        assert relation.other in known, relation
    ordered = {(r.structure, r.relation, r.other) for r in RELATIONS}
    assert len(ordered) == len(RELATIONS)
    assert not {(b, kind, a) for a, kind, b in ordered} & ordered


def test_a_relation_that_does_not_exist_is_refused(tmp_path):
    path = tmp_path / "anatomy.tsv"
    path.write_text("structure\trelation\tother\nliver\tleft\tspleen\n")
    with pytest.raises(AnatomyError, match="liver left spleen"):
        load_relations(path)


def test_a_range_of_volumes_must_be_one(tmp_path):
    path = tmp_path / "structures.tsv"
    head = "name\ttitle\tregion\tkind\tcolour\tvolume_ml_low\tvolume_ml_high\n"
    path.write_text(f"{head}liver\tLiver\tAbdomen\torgan\t#ffffff\t4000\t500\n")
    with pytest.raises(RegistryError, match="volumes from 4000 to 500 ml cannot be"):
        load_structures(path)
