"""Tables are arithmetic on the scores; a missing cell is an error and never a blank."""

import json

import numpy as np
import pandas as pd
import pytest

from hermes.report import dice, statistics, tables

GRIDS = ("model", "native")

STUDY = {"study": "s", "title": "S", "label": "a label", "protocol": "paper", "seed": 1}


def column(key, *parts, mean="classes", below=None, left_out=()):
    return {
        "key": key,
        "title": key.replace("_", " ").upper(),
        "parts": [{"dataset": dataset, "structures": names} for dataset, names in parts],
        "mean": mean,
        "below": below,
        "left_out": list(left_out),
    }


LAYOUT = {
    "title": "Dice per dataset",
    "columns": [column("a", ("a", [])), column("b_t", ("b", ["tumor"]))],
    "rows": [{"model": "Net", "runs": {"a": "net-a", "b": "net-b"}}],
    "average": "avg",
    "reference": "Net",
    "left_out": [],
    "within_patient": [],
}


def score_file(path, rows):
    frame = pd.DataFrame(rows, columns=["case", "structure", "metric", "value", "grid"])
    frame.to_csv(path, sep="\t", index=False)
    return str(path)


def model_file(folder, method="traditional"):
    """The description of a model that `folder` holds."""
    spec = {
        "method": method,
        "backbone": "resunet",
        "base_channels": 4,
        "tasks": ["a/liver"],
        "datasets": {"a": ["a/liver"]},
        "modalities": ["unknown"],
    }
    folder.mkdir(exist_ok=True)
    (folder / "model.json").write_text(json.dumps({"spec": spec, "extra": {"seed": 1}}))
    return str(folder / "model.json")


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
    (tmp_path / "split.tsv").write_text("case\tpatient\tsplit\n1\tx\ttest\n2\ty\ttest\n")
    return {
        "scores": {
            "net-a": {"a": score_file(tmp_path / "a.tsv", a)},
            "net-b": {"b": score_file(tmp_path / "b.tsv", b)},
        },
        "splits": dict.fromkeys("ab", str(tmp_path / "split.tsv")),
        "models": [model_file(tmp_path / run) for run in ("net-a", "net-b", "net-c")],
    }


def render(files, tmp_path, layout=LAYOUT):
    tables.run(
        table=layout,
        published="",
        study=STUDY,
        csv=tmp_path / "t.csv",
        intervals=tmp_path / "i.csv",
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
    render(files, tmp_path, {**LAYOUT, "within_patient": ["B"]})
    text = (tmp_path / "t.md").read_text()
    assert "Parts of one scan on both sides of the split: B.\n" in text
    assert json.loads((tmp_path / "t.json").read_text())["table"]["within_patient"] == ["B"]


def test_sidecar_names_study_inputs_and_versions(files, tmp_path):
    render(files, tmp_path)
    facts = json.loads((tmp_path / "t.json").read_text())
    assert facts["study"] == "s"
    assert set(facts["inputs_sha256"]) >= {files["scores"]["net-a"]["a"], files["models"][0]}
    assert facts["versions"]["torch"].startswith("2.")


def test_a_cell_without_any_value_is_an_error(files, tmp_path):
    missing = {**LAYOUT, "columns": [column("a", ("a", ["heart"]))]}
    with pytest.raises(tables.ReportError, match="Net has no Dice for A"):
        render(files, tmp_path, missing)
    assert not (tmp_path / "t.csv").exists()


def test_a_column_of_parts_weighs_datasets_and_one_of_classes_weighs_classes(files, tmp_path):
    both = (("a", []), ("b", []))
    columns = [column("classes", *both), column("parts", *both, mean="parts")]
    render(files, tmp_path, {**LAYOUT, "columns": columns, "average": ""})
    # liver 70, spleen 100 in a; liver 90, tumor 25 in b
    assert (tmp_path / "t.csv").read_text() == "model,classes,parts\nNet,71.25,71.25\n"
    columns = [column("classes", ("a", []), ("b", ["tumor"]))]
    columns += [column("parts", ("a", []), ("b", ["tumor"]), mean="parts")]
    render(files, tmp_path, {**LAYOUT, "columns": columns, "average": ""})
    assert (tmp_path / "t.csv").read_text() == "model,classes,parts\nNet,65.00,55.00\n"


def test_difficult_classes_are_those_of_the_reference_row(files, tmp_path):
    other = {"model": "Other", "runs": {"a": "net-c", "b": "net-b"}}
    better = [("1", organ, "dice", 0.9, grid) for organ in ("liver", "spleen") for grid in GRIDS]
    files["scores"]["net-c"] = {"a": score_file(tmp_path / "c.tsv", better)}
    layout = {
        **LAYOUT,
        "rows": [*LAYOUT["rows"], other],
        "columns": [column("difficult", ("a", []), ("b", []), below=80.0)],
        "average": "",
    }
    render(files, tmp_path, layout)
    # liver of a (70) and tumor of b (25) are below 80 in the row Net
    assert (tmp_path / "t.csv").read_text() == "model,difficult\nNet,47.50\nOther,57.50\n"


def test_intervals_are_paired_over_patients(files, tmp_path):
    other = {"model": "Other", "runs": {"a": "net-c", "b": "net-b"}}
    worse = [("1", "liver", "dice", 0.7, "model"), ("2", "liver", "dice", 0.5, "model")]
    files["scores"]["net-c"] = {"a": score_file(tmp_path / "c.tsv", worse)}
    layout = {**LAYOUT, "rows": [*LAYOUT["rows"], other]}
    layout |= {"columns": [column("liver", ("a", ["liver"]))], "average": ""}
    render(files, tmp_path, layout)
    rows = pd.read_csv(tmp_path / "i.csv").set_index("model")
    assert list(rows.loc["Net", ["dice", "low", "high", "difference"]]) == [70, 60, 80, 0]
    # 10 points less on each patient, so no draw differs, though each interval is 20 wide
    apart = ["difference", "difference_low", "difference_high"]
    assert list(rows.loc["Other", apart]) == [-10, -10, -10]
    assert "-10.00* (-10.00 to -10.00)" in (tmp_path / "t.md").read_text()


def test_a_row_says_what_its_networks_go_without(files, tmp_path):
    files["models"] = [model_file(tmp_path / run, "clip_driven") for run in ("net-a", "net-b")]
    render(files, tmp_path)
    assert (tmp_path / "t.csv").read_text().splitlines()[1].startswith("Net (no text),85.00")
    assert "| Net (no text) |" in (tmp_path / "t.md").read_text()


def test_images_of_one_patient_are_drawn_together():
    one = dice.DiceScores(np.array([[80.0], [60.0], [40.0]]), ("liver",), ("x", "x", "y"))
    means = dice.class_means({"a": one}, seed=1)["a", "liver"]
    assert set(np.unique(means)) == {40.0, 60.0, 70.0}  # y y, x y, x x


def test_what_is_left_out_is_said(files, tmp_path):
    columns = [column("a", ("a", []), left_out=["ss_h"])]
    render(files, tmp_path, {**LAYOUT, "columns": columns, "left_out": ["SS T"]})
    text = (tmp_path / "t.md").read_text()
    assert "A goes without ss_h." in text
    assert "from this study: SS T." in text


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
