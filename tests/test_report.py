"""Tables are arithmetic on the scores; a missing cell is an error and never a blank."""

import json

import pandas as pd
import pytest

from hermes.report import statistics, tables

STUDY = {"study": "s", "title": "S", "label": "a label", "protocol": "paper", "seed": 1}
LAYOUT = {
    "title": "Dice per dataset",
    "columns": [
        {"key": "a", "title": "A", "dataset": "a", "structures": []},
        {"key": "b_t", "title": "B T", "dataset": "b", "structures": ["tumor"]},
    ],
    "rows": [{"model": "Net", "runs": {"a": "net-a", "b": "net-b"}}],
    "average": "avg",
}


def score_file(path, rows):
    frame = pd.DataFrame(rows, columns=["case", "structure", "metric", "value", "grid"])
    frame.to_csv(path, sep="\t", index=False)
    return str(path)


@pytest.fixture
def files(tmp_path):
    a = [
        ("1", "liver", "dice", 0.8, "model"),
        ("2", "liver", "dice", 0.6, "model"),
        ("1", "spleen", "dice", 1.0, "model"),
        ("2", "spleen", "dice", None, "model"),  # not in the reference: drops out
        ("1", "liver", "dice", 0.5, "native"),
        ("1", "liver", "nsd", 0.1, "model"),
    ]
    b = [
        ("1", organ, "dice", value, grid)
        for organ, value in (("liver", 0.9), ("tumor", 0.25))
        for grid in ("model", "native")
    ]
    (tmp_path / "model.json").write_text(json.dumps({"extra": {"seed": 1}}))
    return {
        "scores": {
            "net-a": {"a": score_file(tmp_path / "a.tsv", a)},
            "net-b": {"b": score_file(tmp_path / "b.tsv", b)},
        },
        "models": [str(tmp_path / "model.json")],
    }


def render(files, tmp_path, layout=LAYOUT):
    tables.run(
        table=layout,
        published="",
        study=STUDY,
        csv=tmp_path / "t.csv",
        markdown=tmp_path / "t.md",
        sidecar=tmp_path / "t.json",
        **files,
    )


def test_mean_over_cases_then_classes_then_columns(files, tmp_path):
    render(files, tmp_path)
    assert (tmp_path / "t.csv").read_text() == "model,a,b_t,avg\nNet,85.00,25.00,55.00\n"


def test_markdown_says_what_the_numbers_are(files, tmp_path):
    render(files, tmp_path)
    text = (tmp_path / "t.md").read_text()
    assert "a label" in text
    assert "50.00" in text  # the native grid


def test_columns_with_one_scan_on_both_sides_are_named(files, tmp_path):
    render(files, tmp_path)
    assert "both sides" not in (tmp_path / "t.md").read_text()
    columns = [LAYOUT["columns"][0], {**LAYOUT["columns"][1], "within_patient": True}]
    render(files, tmp_path, {**LAYOUT, "columns": columns})
    text = (tmp_path / "t.md").read_text()
    assert "Parts of one scan on both sides of the split: B T.\n" in text
    assert json.loads((tmp_path / "t.json").read_text())["table"]["columns"] == columns


def test_sidecar_names_study_inputs_and_versions(files, tmp_path):
    render(files, tmp_path)
    facts = json.loads((tmp_path / "t.json").read_text())
    assert facts["study"] == "s"
    assert set(facts["inputs_sha256"]) >= {files["scores"]["net-a"]["a"], files["models"][0]}
    assert facts["versions"]["torch"].startswith("2.")


def test_a_cell_without_any_value_is_an_error(files, tmp_path):
    missing = {**LAYOUT, "columns": [{**LAYOUT["columns"][0], "structures": ["heart"]}]}
    with pytest.raises(tables.ReportError, match="Net has no Dice on a"):
        render(files, tmp_path, missing)
    assert not (tmp_path / "t.csv").exists()


FACTS = {
    "title": "A",
    "region": "Abdomen",
    "modality": "CT",
    "clinical_target": "Organs",
    "classes": 2,
    "role": "upstream",
    "paper_size": 30,
}
CASES = [
    {"case": "1a", "patient": "1", "spacing_mm": "3 1 1", "size": "10 20 30"},
    {"case": "1b", "patient": "1", "spacing_mm": "5 1 1", "size": "10 22 30"},
]


def test_statistics_count_images_and_patients():
    split = [{"case": "1a", "split": "train"}, {"case": "1b", "split": "train"}]
    row = statistics.dataset_row(FACTS, CASES, [{"case": "x"}], split)
    assert (row["size"], row["patients"], row["train"], row["test"]) == (2, 1, 2, 0)
    assert (row["rejected"], row["median_spacing_mm"]) == (1, "4 1 1")


@pytest.mark.parametrize(("facts", "answer"), [({}, "no"), ({"within_patient": True}, "yes")])
def test_statistics_say_where_one_scan_is_on_both_sides(facts, answer):
    split = [{"case": "1a", "split": "train"}, {"case": "1b", "split": "test"}]
    row = statistics.dataset_row(FACTS | facts, CASES, [], split)
    assert row["within_patient"] == answer
    assert tuple(row) == statistics.COLUMNS


def test_statistics_refuse_a_stale_split():
    with pytest.raises(ValueError, match="the split and the cases disagree"):
        statistics.dataset_row(FACTS, CASES, [], [{"case": "1a", "split": "train"}])
