"""Split rules: counts, disjoint patients, seeds."""

import pytest

from hermes.schema import Split
from hermes.split import SplitError, assign, check_counts, run, share_counts
from hermes.tables import read_tsv, write_tsv

FRACTION = Split(rule="fraction", train=75, val=5, test=20)


@pytest.mark.parametrize(
    ("patients", "expected"),
    [
        (30, (23, 1, 6)),
        (131, (99, 6, 26)),
        (210, (158, 10, 42)),
        (50, (38, 2, 10)),
        (20, (15, 1, 4)),
    ],
)
def test_fraction_gives_the_papers_counts(patients, expected):
    counts = share_counts(patients, FRACTION)
    assert (counts["train"], counts["val"], counts["test"]) == expected


def test_weights_give_msd_counts():
    counts = share_counts(281, Split(rule="fraction", train=214, val=10, test=57))
    assert counts == {"train": 214, "val": 10, "test": 57}


def test_same_seed_same_split_and_other_seed_other_split():
    patients = {f"p{i:02d}": {""} for i in range(40)}
    first = assign(patients, FRACTION, seed=1, dataset="bcv")
    assert first == assign(dict(reversed(patients.items())), FRACTION, seed=1, dataset="bcv")
    assert first != assign(patients, FRACTION, seed=2, dataset="bcv")
    assert first != assign(patients, FRACTION, seed=1, dataset="kits")


def test_images_of_a_patient_stay_together(tmp_path):
    rows = [
        {"case": f"{p}_{image}", "patient": p, "subset": ""}
        for p in map(str, range(20))
        for image in ("T1in", "T1out", "T2")
    ]
    write_tsv(tmp_path / "cases.tsv", ("case", "patient", "subset"), rows)
    run(
        dataset="chaos",
        cases=tmp_path / "cases.tsv",
        rule=FRACTION.model_dump(),
        seed=0,
        out=tmp_path / "chaos.tsv",
        expected={"patients": 20, "images": 60},
        exact=True,
    )
    sides: dict[str, set[str]] = {}
    for row in read_tsv(tmp_path / "chaos.tsv"):
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


def test_other_counts_than_expected_are_an_error_or_a_warning(caplog):
    rows = [{"patient": "1"}, {"patient": "1"}, {"patient": "2"}]
    check_counts("bcv", rows, {"patients": 2, "images": 3}, exact=True)
    assert not caplog.records
    check_counts("bcv", rows, {"patients": 30, "images": 3}, exact=False)
    assert "bcv: 2 patients instead of 30" in caplog.text
    with pytest.raises(SplitError, match="3 images instead of 4"):
        check_counts("bcv", rows, {"images": 4}, exact=True)
