"""Parts of the training patients: their number, nested in each draw, all images of a patient."""

from collections import Counter

import pytest

from hermes.files.tables import read_tsv, write_tsv
from hermes.split import SplitError, fractions

PANCREAS = {f"p{i:03d}" for i in range(214)}


@pytest.mark.parametrize(("percent", "count"), [(1.0, 2), (10.0, 21), (50.0, 107), (100.0, 214)])
def test_fractions_of_214_patients(percent, count):
    assert len(fractions.drawn(PANCREAS, percent, 1, seed=0, dataset="msd_pancreas")) == count


def test_draws_are_nested_seeded_and_differ():
    def parts(draw, seed=0):
        shares = (1.0, 10.0, 50.0, 100.0)
        return [fractions.drawn(PANCREAS, p, draw, seed=seed, dataset="toy") for p in shares]

    draws = [parts(draw) for draw in range(1, 6)]
    for small, larger, half, whole in draws:
        assert small < larger < half < whole == PANCREAS
    assert len({frozenset(half) for _, _, half, _ in draws}) == 5
    assert parts(1) == draws[0] != parts(1, seed=1)


def test_a_fraction_leaves_out_training_patients_with_all_their_images_and_no_others(tmp_path):
    sides = [*["train"] * 15, "val", *["test"] * 4]
    whole = [
        {"case": f"{i}_{k}", "patient": f"p{i}", "split": side}
        for i, side in enumerate(sides)
        for k in "ab"
    ]
    write_tsv(tmp_path / "split.tsv", ("case", "patient", "split"), whole)
    out = tmp_path / "toy_10pct_1.tsv"
    fractions.run(
        dataset="toy", percent=10.0, draw=1, seed=0, split=tmp_path / "split.tsv", out=out
    )
    part = read_tsv(out)
    assert [row["case"] for row in part] == [row["case"] for row in whole]
    changed = [new for old, new in zip(whole, part, strict=True) if old != new]
    assert {row["split"] for row in changed} == {"unused"}
    assert Counter(row["split"] for row in part) == {"train": 4, "val": 2, "test": 8, "unused": 26}


@pytest.mark.parametrize(("patients", "percent"), [([], 10.0), (["a"], 0.0), (["a"], 101.0)])
def test_a_fraction_that_cannot_be_drawn(patients, percent):
    with pytest.raises(SplitError, match="toy: "):
        fractions.drawn(patients, percent, 1, seed=0, dataset="toy")
