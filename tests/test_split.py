"""The paper's rule and the counts of the card: patients disjoint, draws seeded."""

import json
from collections import Counter
from pathlib import Path

import pytest

from hermes.config.registry import load_card, read_yaml
from hermes.config.schema import Split
from hermes.files.tables import read_tsv, write_tsv
from hermes.split import SplitError, run
from hermes.split.counts import check_counts
from hermes.split.rule import SIDES, assign

CONFIG = Path(__file__).parents[1] / "config"
LISTED = read_yaml(CONFIG / "published" / "split_lists.yaml")["counts"]
FRACTION = Split(rule="fraction", train=75, val=5, test=20)

# dataset: patients outside the official subsets or in train, val, test; our counts of patients
RULED = {
    "bcv": ([30], (23, 1, 6)),
    "ss_t": ([50], (38, 2, 10)),
    "ss_h": ([50], (38, 2, 10)),
    "lits": ([131], (99, 6, 26)),
    "kits": ([210], (158, 10, 42)),
    "amos_ct": ([200, 0, 100], (190, 10, 100)),
    "amos_mr": ([40, 0, 20], (38, 2, 20)),
    "chaos": ([20], (15, 1, 4)),
    "mnms": ([150, 0, 170], (143, 7, 170)),
    "dlbs": ([129, 43, 43], (129, 43, 43)),
    "autopet": ([900], (675, 45, 180)),
    "segthor": ([40], (0, 0, 40)),
    "msd_pancreas": ([281], (214, 10, 57)),
}
# where the published lists hold other counts: the paper's percentages, rounded in no one way (kits,
# ss_h, amos_ct), and other sets (dlbs: 172 of the scans; autopet: 961 studies, not 900 patients)
OTHERWISE_LISTED = {"kits", "ss_h", "amos_ct", "dlbs", "autopet"}


def official(counts):
    """Patients in official subsets: train, val, test; or in none."""
    names = ("train", "val", "test") if len(counts) == 3 else ("",)
    return {
        f"{name}{i:03d}": {name}
        for name, count in zip(names, counts, strict=True)
        for i in range(count)
    }


@pytest.mark.parametrize("dataset", RULED)
def test_the_papers_rule_on_the_papers_patients(dataset):
    card = load_card(CONFIG / "datasets" / f"{dataset}.yaml")
    patients, expected = RULED[dataset]
    assert sum(patients) == card.published.patients
    split = assign(official(patients), card.split, seed=2024, dataset=dataset)
    held = Counter(split.values())
    assert tuple(held[side] for side in SIDES) == expected


@pytest.mark.parametrize(
    "dataset", [name for name in RULED if name not in ("segthor", "msd_pancreas")]
)
def test_a_card_says_what_the_published_lists_hold_and_where_the_rule_differs(dataset):
    card = load_card(CONFIG / "datasets" / f"{dataset}.yaml")
    train, val, test = LISTED[card.split.reference.key]
    if dataset == "ss_h":
        val -= 1  # one patient twice
    notes = " ".join(card.notes)
    assert f"lists hold {train}/{val}/{test} " in notes
    ours = RULED[dataset][1]
    assert (ours != (train, val, test)) == (dataset in OTHERWISE_LISTED)
    if dataset in OTHERWISE_LISTED:
        assert "{}/{}/{}".format(*ours) in notes


def test_same_seed_same_split_and_other_seed_other_split():
    patients = {f"p{i:02d}": {""} for i in range(40)}
    first = assign(patients, FRACTION, seed=1, dataset="bcv")
    assert first == assign(dict(reversed(patients.items())), FRACTION, seed=1, dataset="bcv")
    assert first != assign(patients, FRACTION, seed=2, dataset="bcv")
    assert first != assign(patients, FRACTION, seed=1, dataset="kits")


def stage(folder, rows, source="download", **given):
    """Run the stage on the rows of a `cases.tsv`; returns the split's rows."""
    known = {"label_sha256": "0", "structures": "liver", "subset": ""}
    rows = [known | row for row in rows]
    write_tsv(folder / "cases.tsv", tuple(rows[0]), rows)
    (folder / "raw.json").write_text(json.dumps({"source": source}))
    arguments = {
        "dataset": "toy",
        "protocol": "paper",
        "rule": FRACTION.model_dump(),
        "seed": 0,
        "expected": {},
        "unsure": [],
        "lists": "",
    }
    run(
        **arguments | given,
        cases=folder / "cases.tsv",
        manifest=folder / "raw.json",
        out=folder / "split.tsv",
        notes=folder / "split.notes.tsv",
    )
    return read_tsv(folder / "split.tsv")


def test_images_of_a_patient_stay_together(tmp_path):
    rows = [
        {"case": f"{p}_{image}", "patient": p, "subset": ""}
        for p in map(str, range(20))
        for image in ("T1in", "T1out", "T2")
    ]
    table = stage(tmp_path, rows, expected={"patients": 20, "images": 60})
    sides: dict[str, set[str]] = {}
    for row in table:
        sides.setdefault(row["patient"], set()).add(row["split"])
    assert all(len(side) == 1 for side in sides.values())
    assert sorted(next(iter(side)) for side in sides.values()).count("test") == 4


def test_official_test_set_is_the_test_set():
    patients = {f"a{i}": {"train"} for i in range(40)} | {f"b{i}": {"test"} for i in range(20)}
    split = assign(
        patients, Split(rule="official_test", train=95, val=5), seed=3, dataset="amos_mr"
    )
    assert {p for p, s in split.items() if s == "test"} == {f"b{i}" for i in range(20)}
    assert list(split.values()).count("val") == 2


def test_a_patient_in_two_official_subsets_is_an_error():
    with pytest.raises(SplitError, match="more than one official subset: a"):
        assign({"a": {"train", "test"}}, Split(rule="official"), seed=0, dataset="dlbs")


def test_too_few_patients_is_an_error():
    with pytest.raises(SplitError, match="1 patients are too few"):
        assign({"a": {""}}, FRACTION, seed=0, dataset="bcv")


OFFICIAL = Split(rule="official", train=1, val=1, test=1)


@pytest.mark.parametrize("lost", ["train", "val", "test"])
def test_an_official_share_with_a_weight_holds_a_patient(lost):
    patients = {name: {name} for name in ("train", "val", "test") if name != lost}
    with pytest.raises(SplitError, match=f"dlbs: no patient for {lost}, which"):
        assign(patients, OFFICIAL, seed=0, dataset="dlbs")
    without = OFFICIAL.model_copy(update={lost: 0})
    assert assign(patients, without, seed=0, dataset="dlbs") == {p: p for p in patients}


@pytest.mark.parametrize(
    ("train", "test", "reason"),
    [(40, 0, "names an official test set"), (1, 2, "1 patients are too few"), (0, 2, "too few")],
)
def test_no_share_of_an_official_test_rule_is_empty(train, test, reason):
    patients = {f"a{i}": {"train"} for i in range(train)} | {f"b{i}": {"test"} for i in range(test)}
    with pytest.raises(SplitError, match=reason):
        assign(patients, Split(rule="official_test", train=95, val=5), seed=0, dataset="mnms")


def test_a_fraction_too_small_for_a_test_patient_is_an_error():
    with pytest.raises(SplitError, match="bcv: no patient for test, which"):
        assign({"a": {""}, "b": {""}}, FRACTION, seed=0, dataset="bcv")


COUNTED = [
    {"patient": "1", "structures": "liver", "label_sha256": "a"},
    {"patient": "1", "structures": "", "label_sha256": "b"},
    {"patient": "2", "structures": "", "label_sha256": ""},  # no reference, so not an empty one
]
TRUE = {"patients": 2, "images": 3, "empty": 1}


@pytest.mark.parametrize("source", ["download", "copy", "phantom"])
def test_counts_as_expected_leave_nothing_to_say(source):
    assert check_counts("toy", COUNTED, TRUE, source=source) == []


@pytest.mark.parametrize("source", ["download", "phantom"])
@pytest.mark.parametrize("key", TRUE)
def test_what_is_fetched_or_made_has_the_expected_counts(key, source):
    expected = TRUE | {key: 9}
    with pytest.raises(
        SplitError, match=f"toy: {TRUE[key]} .* instead of 9.*c/rejected.tsv"
    ) as told:
        check_counts("toy", COUNTED, expected, source=source, rejected="c/rejected.tsv")
    assert "correct `published` in its card" in str(told.value)
    assert [note.topic for note in check_counts("toy", COUNTED, expected, source="copy")] == [
        "count"
    ]


def test_an_unsure_count_is_reported_and_a_sure_one_beside_it_still_an_error():
    given = {"source": "download", "unsure": ["patients"]}
    (note,) = check_counts("toy", COUNTED, TRUE | {"patients": 30}, **given)
    assert note.note == "2 patients instead of 30 (sources disagree)"
    with pytest.raises(SplitError, match="3 images instead of 4") as told:
        check_counts("toy", COUNTED, {"patients": 30, "images": 4}, **given)
    assert "2 patients" not in str(told.value)


def test_a_persons_own_copy_that_differs_is_noted_and_split(tmp_path, caplog):
    rows = [{"case": f"c{i}", "patient": f"p{i}"} for i in range(20)]
    table = stage(tmp_path, rows, source="copy", expected={"patients": 30})
    assert Counter(row["split"] for row in table) == {"train": 15, "val": 1, "test": 4}
    notes = {row["topic"]: row["note"] for row in read_tsv(tmp_path / "split.notes.tsv")}
    assert notes == {
        "protocol": "paper: patients drawn 75/5/20 (train/val/test) with seed 0",
        "count": "20 patients instead of 30 (your own copy)",
    }
    assert "toy: 20 patients instead of 30" in caplog.text


def test_no_split_is_left_of_a_download_that_differs(tmp_path):
    rows = [{"case": f"c{i}", "patient": f"p{i}"} for i in range(20)]
    with pytest.raises(SplitError, match="20 images instead of 21"):
        stage(tmp_path, rows, expected={"images": 21})
    assert not list(tmp_path.glob("split*"))
