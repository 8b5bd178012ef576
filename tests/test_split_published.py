"""A file of the published form, as long as the published one: read, checked, split by the cards.

Its entries are made here, but for the two mistakes, which are those of the published lists.
"""

import hashlib
import json
from collections import Counter
from pathlib import Path
from pprint import pformat

import pytest
import yaml

from hermes.config.registry import load_card
from hermes.files.tables import read_tsv, write_tsv
from hermes.split import lists, run
from hermes.split.rule import SIDES

CONFIG = Path(__file__).parents[1] / "config"
KNOWN = yaml.safe_load((CONFIG / "published" / "split_lists.yaml").read_text())
ENTRIES = {
    "bcv": "img{:04d}".format,
    "amos_ct": int,
    "amos_mr": lambda n: 500 + n,
    "structseg_oar": int,
    "structseg_head_oar": int,
    "lits": int,
    "kits": int,
    "chaos": str,
    "mnm": lambda n: hashlib.sha256(b"%d" % n).hexdigest()[:6].upper(),
    "brain_structure": "dlbs_{:07d}".format,
}
"""Key -> how an entry is written: numbers, or names."""

TWO_SIDED = "PETCT_b5923963ac"
PATIENTS = {"train": 637, "val": 18, "test": 199}
"""AutoPET's listed patients, by the side that each is taken for."""


def pet_lists():
    """Studies by side; the patient on two sides has one study in each."""
    found = {}
    for side, patients in PATIENTS.items():
        size = dict(zip(SIDES, KNOWN["counts"]["autopet"], strict=True))[side]
        names = [f"PETCT_{hashlib.sha256(f'{side}{i}'.encode()).hexdigest()[:10]}"
                 for i in range(patients - (side == "test"))]  # fmt: skip
        twice = {"train": [], "val": [f"{TWO_SIDED}_0"], "test": [f"{TWO_SIDED}_1"]}[side]
        first = [f"{name}_0" for name in names]
        second = [f"{name}_1" for name in names][: size - len(first) - len(twice)]
        found[f"autopet_{side}"] = [*first, *second, *twice]
    return found


def published():
    """All 33 lists, with as many entries as the published ones."""
    found = pet_lists()
    for key, form in ENTRIES.items():
        numbers = iter(range(1, 1000))
        for side, size in zip(SIDES, KNOWN["counts"][key], strict=True):
            found[f"{key}_{side}"] = [form(next(numbers)) for _ in range(size)]
    rest = [n for n in range(1, 51) if n != 25]
    found |= {
        "structseg_head_oar_train": rest[:39],
        "structseg_head_oar_val": [25, 25],
        "structseg_head_oar_test": rest[39:],
    }
    return found


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """What the stage makes of the file, and where."""
    folder = tmp_path_factory.mktemp("lists")
    made = published()
    text = (
        "import os\nfrom .nothing import *\n\n\n"
        "dataset_list = ['bcv', 'amos_ct']\n"
        f"train_test_split = {pformat(made, compact=True, sort_dicts=False)}\n\n"
        "class_number = {name: len(name) for name in dataset_list}\n"
    )
    (folder / KNOWN["filename"]).write_text(text)
    source = folder / "known.yaml"
    source.write_text(yaml.safe_dump(KNOWN | {"sha256": lists.content_sha256(made)}))
    out = folder / "out.json"
    lists.run(source=source, out=out, cache=folder / "cache", mirror=str(folder))
    return out


def test_all_lists_are_read_with_numbers_and_names_as_they_are(read):
    found = json.loads(read.read_text())["lists"]
    assert found == published()
    assert {name: len(entries) for name, entries in found.items()} == {
        f"{key}_{side}": count
        for key, counts in KNOWN["counts"].items()
        for side, count in zip(SIDES, counts, strict=True)
    }
    assert found["structseg_head_oar_val"] == [25, 25]
    assert {type(found[f"{key}_test"][0]) for key in ("bcv", "chaos", "mnm")} == {str}
    assert {type(found[f"{key}_test"][0]) for key in ("amos_ct", "kits")} == {int}


def split(folder, dataset, rows, read):
    """Run the stage with a real card on cases; images by side, patients by side, notes."""
    card = load_card(CONFIG / "datasets" / f"{dataset}.yaml")
    known = card.published
    write_tsv(folder / "cases.tsv", tuple(rows[0]), rows)
    (folder / "raw.json").write_text(json.dumps({"source": "download"}))
    keys = ("patients", "images", "empty")
    counts = {key: getattr(known, key) for key in keys}
    run(
        dataset=dataset,
        protocol="reference",
        rule=card.split.model_dump(exclude={"fractions", "draws"}),
        seed=2024,
        expected={key: n for key, n in counts.items() if n is not None},
        unsure=known.unsure,
        cases=folder / "cases.tsv",
        manifest=folder / "raw.json",
        lists=read,
        out=folder / "split.tsv",
        notes=folder / "notes.tsv",
    )
    table = read_tsv(folder / "split.tsv")
    patients = {row["patient"]: row["split"] for row in table}
    assert all(patients[row["patient"]] == row["split"] for row in table)
    return table, Counter(patients.values()), read_tsv(folder / "notes.tsv")


def case(name, patient, structures="a"):
    return {
        "case": name, "patient": patient, "subset": "", "structures": structures,
        "label_sha256": "a",
    }  # fmt: skip


def topics(notes, topic):
    return [(note["note"], note["patients"]) for note in notes if note["topic"] == topic]


def test_ss_h_counts_the_case_named_twice_once(tmp_path, read):
    rows = [case(f"han_{n}", f"han_{n}") for n in range(1, 51)]
    table, patients, notes = split(tmp_path, "ss_h", rows, read)
    assert patients == {"train": 39, "val": 1, "test": 10}
    assert [row["case"] for row in table if row["split"] == "val"] == ["han_25"]
    assert topics(notes, "mended") == [
        ("the published val list names 25 2 times; counted once", "han_25")
    ]
    assert {note["topic"] for note in notes} == {"protocol", "mended"}
    assert "39/2/10 entries" in notes[0]["note"]


def pet_cases():
    """1014 studies of 900 patients, 513 of them empty; 46 patients are in no list."""
    studies = Counter(
        entry.rsplit("_", 1)[0] for entries in pet_lists().values() for entry in entries
    )
    assert (len(studies), studies.total()) == (854, 961)
    studies |= {f"PETCT_unlisted{i:02d}": 2 if i < 7 else 1 for i in range(46)}
    named = [(f"{patient}_study{k}", patient) for patient, n in studies.items() for k in range(n)]
    return [case(*names, "lesion" if i < 501 else "") for i, names in enumerate(named)]


def test_autopet_tests_the_patient_of_two_sides_with_all_studies(tmp_path, read):
    table, patients, notes = split(tmp_path, "autopet", pet_cases(), read)
    assert patients == {**PATIENTS, "unused": 46}
    assert Counter(row["split"] for row in table) == {
        "train": 705, "val": 20, "test": 236, "unused": 53,
    }  # fmt: skip
    assert [row["split"] for row in table if row["patient"] == TWO_SIDED] == ["test", "test"]
    assert topics(notes, "mended") == [
        ("the published lists have one patient in val and test; taken for test", TWO_SIDED)
    ]
    ((text, names),) = topics(notes, "unused")
    assert text == "46 patients in no published list, left out"
    assert len(names.split(",")) == 46
    assert {note["topic"] for note in notes} == {"protocol", "mended", "unused"}
    assert "705/21/235 entries" in notes[0]["note"]
