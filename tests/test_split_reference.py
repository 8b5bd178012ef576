"""The published lists followed patient by patient, their mistakes named and mended."""

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from hermes.config.registry import load_card
from hermes.config.schema import ReferenceList
from hermes.files.tables import read_tsv, write_tsv
from hermes.split import SplitError, run
from hermes.split.reference import assign_listed, patient_of

CONFIG = Path(__file__).parents[1] / "config"
SOURCE = CONFIG / "published" / "split_lists.yaml"
# dataset: an entry of its published lists, and our name of the patient
ENTRIES = {
    "bcv": ("img0030", "img0030"),
    "amos_ct": (70, "amos_0070"),
    "amos_mr": (553, "amos_0553"),
    "ss_t": (5, "thorax_5"),
    "ss_h": (25, "han_25"),
    "lits": (6, "volume-6"),
    "kits": (2, "case_00002"),
    "chaos": ("20", "mr_20"),
    "mnms": ("A4B5U4", "A4B5U4"),
    "autopet": ("PETCT_b5923963ac_1", "PETCT_b5923963ac"),
    "dlbs": ("dlbs_0028401", "dlbs_0028401"),
}
TOY = ReferenceList(key="toy", patient="p{id:02d}")
LISTS = {"toy_train": [1, 2, 3], "toy_val": [4], "toy_test": [5, 6]}


def here(*numbers):
    return {f"p{n:02d}": 1 for n in numbers}


def noted(notes):
    return [(note.topic, note.patients) for note in notes]


@pytest.mark.parametrize("dataset", ENTRIES)
def test_a_card_names_its_patients_as_the_lists_do(dataset):
    reference = load_card(CONFIG / "datasets" / f"{dataset}.yaml").split.reference
    entry, patient = ENTRIES[dataset]
    assert patient_of(entry, reference, dataset) == patient
    assert reference.key in yaml.safe_load(SOURCE.read_text())["counts"]


def test_patients_go_to_the_side_that_names_them():
    split, notes = assign_listed(here(1, 2, 3, 4, 5, 6), TOY, LISTS, dataset="toy")
    assert split == {
        **dict.fromkeys(("p01", "p02", "p03"), "train"),
        "p04": "val",
        **dict.fromkeys(("p05", "p06"), "test"),
    }
    assert noted(notes) == [("protocol", ())]


def test_an_entry_named_twice_counts_once_and_is_noted():
    doubled = LISTS | {"toy_val": [4, 4]}
    split, notes = assign_listed(here(1, 2, 3, 4, 5, 6), TOY, doubled, dataset="toy")
    assert Counter(split.values()) == {"train": 3, "val": 1, "test": 2}
    assert noted(notes)[1:] == [("mended", ("p04",))]
    assert "val list names 4 2 times" in notes[1].note


@pytest.mark.parametrize(
    ("twice", "side"),
    [
        ({"toy_val": [4, 6]}, "test"),
        ({"toy_train": [1, 2, 3, 6]}, "test"),
        ({"toy_val": [4, 1]}, "val"),
    ],
)
def test_a_patient_on_two_sides_goes_to_the_one_further_from_training(twice, side):
    split, notes = assign_listed(here(1, 2, 3, 4, 5, 6), TOY, LISTS | twice, dataset="toy")
    patient = "p01" if side == "val" else "p06"
    assert split[patient] == side
    assert noted(notes)[1:] == [("mended", (patient,))]


def test_studies_of_one_patient_go_together_however_the_lists_divide_them():
    reference = ReferenceList(key="pet", patient="{id}", strip="_[0-9]+$")
    entries = {"pet_train": ["A_0", "A_1"], "pet_val": ["B_0"], "pet_test": ["B_1", "C_0"]}
    split, notes = assign_listed({"A": 2, "B": 2, "C": 2}, reference, entries, dataset="pet")
    assert split == {"A": "train", "B": "test", "C": "test"}
    assert noted(notes)[1:] == [("mended", ("B",)), ("count", ("C",))]


def test_who_is_listed_but_not_here_and_here_but_not_listed_is_said():
    split, notes = assign_listed(here(1, 2, 5, 6, 8, 9), TOY, LISTS, dataset="toy")
    assert set(split) == {"p01", "p02", "p05", "p06"}
    assert noted(notes)[1:] == [
        ("missing", ("p03",)),
        ("missing", ("p04",)),
        ("unused", ("p08", "p09")),
    ]


@pytest.mark.parametrize(("numbers", "side"), [((4, 5, 6), "train"), ((1, 2, 4), "test")])
def test_nobody_to_train_or_test_on_is_an_error_that_shows_both_names(numbers, side):
    with pytest.raises(SplitError, match=f"published {side} list is here.*name p0.*here are p0"):
        assign_listed(here(*numbers), TOY, LISTS, dataset="toy")


def test_a_key_or_a_template_that_does_not_fit_is_an_error_that_names_the_cards_entry():
    with pytest.raises(SplitError, match=r"no list 'tot_train'.*split\.reference\.key"):
        assign_listed({}, ReferenceList(key="tot", patient="{id}"), LISTS, dataset="toy")
    with pytest.raises(SplitError, match=r"split\.reference\.patient 'p{id:02d}'.*'x1'"):
        patient_of("x1", TOY, "toy")


def stage(folder, patients, reference=TOY):
    rows = [
        {"case": f"{p}_{k}", "patient": p, "subset": "", "structures": "a", "label_sha256": "a"}
        for p in patients
        for k in "ab"
    ]
    write_tsv(folder / "cases.tsv", tuple(rows[0]), rows)
    (folder / "raw.json").write_text('{"source": "copy"}')
    (folder / "lists.json").write_text(json.dumps({"lists": LISTS}))
    rule = {"rule": "fraction", "train": 2, "val": 1, "test": 1}
    run(
        dataset="toy",
        protocol="reference",
        rule=rule | {"reference": reference and reference.model_dump()},
        seed=0,
        expected={},
        unsure=[],
        cases=folder / "cases.tsv",
        manifest=folder / "raw.json",
        lists=folder / "lists.json" if reference else "",
        out=folder / "split.tsv",
        notes=folder / "notes.tsv",
    )
    return read_tsv(folder / "split.tsv"), read_tsv(folder / "notes.tsv")


def test_every_case_stands_in_the_table_and_unlisted_ones_are_unused(tmp_path, caplog):
    table, notes = stage(tmp_path, here(1, 2, 5, 9))
    assert Counter(row["split"] for row in table) == {"train": 4, "test": 2, "unused": 2}
    assert {row["patient"] for row in table if row["split"] == "unused"} == {"p09"}
    assert [row["topic"] for row in notes] == ["protocol", *["missing"] * 3, "unused"]
    assert notes[-1]["patients"] == "p09"
    assert "toy: 1 patient in no published list, left out: p09" in caplog.text


def test_a_dataset_that_is_not_in_the_lists_follows_the_papers_rule(tmp_path):
    table, notes = stage(tmp_path, here(1, 2, 3, 4, 7, 8, 9, 10), reference=None)
    assert Counter(row["split"] for row in table) == {"train": 8, "val": 4, "test": 4}
    assert "not in the published lists" in notes[0]["note"]
