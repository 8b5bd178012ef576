"""Sound data pass; a scan turned over, exchanged labels or a wrong volume stand out in words."""

from dataclasses import replace

import numpy as np
import pytest
from quality_bodies import (
    CONFIG,
    RELATIONS,
    bodies,
    exchange,
    facts,
    findings,
    measured,
    only,
)

from hermes.config.registry import RegistryError, load_structures
from hermes.quality.anatomy import AnatomyError, judge_case, load_relations
from hermes.quality.finding import worst


def test_sound_data_have_no_finding_and_say_what_was_checked(tmp_path):
    found = findings(tmp_path, bodies())
    assert worst(found) == "ok"
    assert {f.check for f in found} == {
        "counts", "rejected", "references", "pairing", "position", "volumes", "spacing",
        "grey values", "conversion",
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


def test_a_mirrored_scan_may_be_situs_inversus_and_is_no_odd_pair(tmp_path):
    cases = bodies()
    cases["case_3"] = cases["case_3"].both(lambda a: np.ascontiguousarray(a[:, :, ::-1]))
    found = findings(tmp_path, cases)
    assert not only(found, "pairing")
    (said,) = only(found, "position")
    assert said.message == (
        "mirrored left to right: scan and reference; or organs on the other side from birth "
        "(situs inversus)"
    )


@pytest.mark.parametrize("words", FLIPS)
def test_an_image_turned_over_against_its_reference_is_an_error(tmp_path, words):
    cases = bodies()
    turned = np.ascontiguousarray(FLIPS[words](cases["case_3"].image))
    cases["case_3"] = replace(cases["case_3"], image=turned)
    found = findings(tmp_path, cases)
    assert [(f.case, f.level, f.message) for f in only(found, "pairing")] == [
        (
            "case_3",
            "error",
            f"the reference fits the scan better {words}: image and reference do not belong "
            "together as they lie",
        )
    ]
    assert not only(found, "position")
    assert found[0].check == "pairing"


def test_a_reference_mirrored_alone_is_told_from_a_mirrored_scan(tmp_path):
    cases = bodies()
    cases["case_3"] = cases["case_3"].relabelled(lambda a: np.ascontiguousarray(a[:, :, ::-1]))
    found = findings(tmp_path, cases)
    assert [f.level for f in only(found, "pairing")] == ["error"]
    (said,) = only(found, "position")
    assert said.message == (
        "mirrored left to right: the reference alone, for the scan fits it better when it is "
        "turned back"
    )


def test_images_that_are_all_mirrored_against_their_references_are_said_once(tmp_path):
    cases = {
        name: replace(each, image=np.ascontiguousarray(each.image[:, :, ::-1]))
        for name, each in bodies(4).items()
    }
    found = only(findings(tmp_path, cases), "pairing")
    assert [f.case for f in found] == [""]
    assert found[0].message.startswith("in 4 of 4 cases the reference fits the scan better ")


def test_what_the_comparison_could_not_see_is_said(tmp_path):
    cases = bodies(2)
    even = np.where(cases["case_1"].image > -500, 30, -1000).astype(np.int16)
    both = np.maximum(even, even[:, :, ::-1])  # no organ stands out
    cases["case_1"] = replace(cases["case_1"], image=both)
    (said,) = [f.message for f in findings(tmp_path, cases) if f.check == "pairing"]
    assert said.endswith("one that is mirrored would be seen in 1 of 2 cases")


def test_where_no_case_could_show_it_there_is_a_note(tmp_path):
    labels = [label | {"kind": "lesion"} for label in facts()["labels"]]
    found = [f for f in findings(tmp_path, bodies(2), labels=labels) if f.check == "pairing"]
    assert [f.level for f in found] == ["note"]
    assert found[0].message.startswith("whether an image is mirrored against its reference cannot")


def test_lesions_say_nothing_of_whether_image_and_reference_belong_together(tmp_path):
    labels = [label | {"kind": "lesion"} for label in facts()["labels"]]
    cases = bodies(2)
    cases["case_0"] = replace(cases["case_0"], image=cases["case_0"].image[:, :, ::-1].copy())
    assert not only(findings(tmp_path, cases, labels=labels), "pairing")


def test_a_broken_relation_that_is_the_only_one_tells_of_a_mirrored_scan(tmp_path):
    labels = [label for label in facts()["labels"] if label["structure"] == "liver"]
    cases = {}
    for name, each in bodies(3).items():
        one = each.relabelled(lambda a: (a == 1).astype(np.uint8))
        cases[name] = one.both(lambda a: a[:, :, ::-1].copy()) if name == "case_1" else one
    found = findings(tmp_path, cases, labels=labels, sides={"liver": "right"})
    assert [(f.case, f.level, f.message) for f in only(found, "position")] == [
        ("case_1", "warning", "liver lies on the patient's left: the scan may be mirrored")
    ]
    texts = [f.message for f in found if f.level == "note"]
    assert "head and foot, front and back cannot be checked: look at the pictures" in texts


def test_without_relations_the_orientation_cannot_be_checked(tmp_path):
    labels = [label for label in facts()["labels"] if label["structure"] == "liver"]
    cases = {n: b.relabelled(lambda a: (a == 1).astype(np.uint8)) for n, b in bodies(2).items()}
    found = findings(tmp_path, cases, labels=labels, sides={})
    assert worst(found) == "note"
    texts = [f.message for f in found if f.check == "position"]
    assert texts == ["orientation cannot be checked: look at the pictures"]


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
    said = [f for f in only(found, "volumes") if f.case == "case_6"]
    assert [f.level for f in said] == ["error"]
    assert said[0].message.startswith("all 9 structures have about ")
    assert "the spacing may be wrong" in said[0].message
    if factor == 1.6:
        assert [f.case for f in only(found, "spacing")] == ["case_6"] * 3


def test_a_median_is_held_against_the_card(tmp_path):
    labels = facts()["labels"]
    labels[3] |= {"median_ml": 64.0}  # gallbladder: in truth near 14 ml, and the bladder near 64
    labels[8] |= {"median_ml": 14.0}
    exchanged = exchange("gallbladder", "bladder")
    wrong = {name: each.relabelled(exchanged) for name, each in bodies().items()}
    right = {4: 14.0, 9: 64.0}
    labels_right = [x | {"median_ml": right.get(x["value"])} for x in facts()["labels"]]
    found = only(findings(tmp_path / "wrong", wrong, labels=labels_right), "published volumes")
    assert [f.level for f in found] == ["error", "error"]
    assert "values 4 and 9 (bladder) may be exchanged" in found[0].message
    # the bladder lies where a bladder lies, below all: it cannot be the gallbladder
    found = only(findings(tmp_path / "right", bodies(), labels=labels), "published volumes")
    assert [f.message.partition(" (")[0] for f in found] == ["gallbladder", "bladder"]
    assert found[1].level == "warning"
    assert not any("values 4 and 9" in f.message or "values 9 and 4" in f.message for f in found)


def test_lesions_may_have_any_size(tmp_path):
    labels = [label | {"kind": "lesion"} for label in facts()["labels"]]
    cases = bodies()
    cases["case_5"] = cases["case_5"].relabelled(lambda a: np.where(a == 1, 0, a).astype(np.uint8))
    assert not only(findings(tmp_path, cases, labels=labels), "volumes")


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
